import type { SocketCarrier } from "../host/virtual-socket.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicStart } from "../topics/topic-message.ts";
import {
  encodeCloseOf,
  encodeControl,
  encodeCount,
  encodeKeep,
  encodeNumberedBytes,
  encodeNumberedText,
  encodeTopicOf,
  type Payload,
  toEdge,
} from "./socket-protocol.ts";
import { encodeStartOf } from "./topic-protocol.ts";

/** The attachment on which a socket's commands travel. */
export interface CommandLine {
  /** Whether the edge can be told of histories, and of presence. */
  readonly knowsHistories: boolean;
  readonly bufferedBytes: number;
  /** False, and nothing is sent, where too much waits. */
  offer(kind: number, payload: Payload): boolean;
  /** The same for what is long: encoded only where it is sent. */
  offerLate(kind: number, encode: () => Payload): boolean;
  command(kind: number, payload: Payload): void;
  handled(socketNumber: number, count: number): void;
}

/** What a handler here does to a socket that another host holds. */
export class ServedCarrier implements SocketCarrier {
  readonly #line: CommandLine;
  readonly #number: number;

  constructor(line: CommandLine, socketNumber: number) {
    this.#line = line;
    this.#number = socketNumber;
  }

  send(message: SocketData): number {
    const isSent =
      typeof message === "string"
        ? this.#line.offer(toEdge.sendText, encodeNumberedText(this.#number, message))
        : this.#line.offer(toEdge.sendBytes, encodeNumberedBytes(this.#number, message));
    return isSent ? message.length : -1;
  }
  subscribe(topic: string): void {
    this.#line.command(toEdge.subscribe, encodeTopicOf(this.#number, topic));
  }
  listen(topic: string, start: TopicStart): boolean {
    if (!this.#line.knowsHistories) return this.#listenPlainly(topic, start);
    return this.#line.offerLate(toEdge.listen, () => encodeStartOf({ number: this.#number, topic, start }));
  }
  /** At an edge of a release without histories: what was missed comes like anything that is sent. */
  #listenPlainly(topic: string, { missed }: TopicStart): boolean {
    this.subscribe(topic);
    return missed.every(({ data }) => this.send(data) !== -1);
  }
  unsubscribe(topic: string): void {
    this.#line.command(toEdge.unsubscribe, encodeTopicOf(this.#number, topic));
  }
  ping(data: SocketData): void {
    this.#line.offer(toEdge.ping, encodeControl(this.#number, data));
  }
  pong(data: SocketData): void {
    this.#line.offer(toEdge.pong, encodeControl(this.#number, data));
  }
  close(code: number, reason: string): void {
    this.#line.command(toEdge.close, encodeCloseOf({ number: this.#number, code, reason }));
  }
  terminate(): void {
    this.#line.command(toEdge.terminate, encodeCount(this.#number));
  }
  handled(count: number): void {
    this.#line.handled(this.#number, count);
  }
  keep(attachment: Uint8Array | undefined, tags: readonly string[]): void {
    this.#line.command(toEdge.keep, encodeKeep({ number: this.#number, attachment, tags }));
  }
  bufferedBytes(): number {
    return this.#line.bufferedBytes;
  }
}
