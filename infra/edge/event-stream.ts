import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import { StatefulError } from "../lib/errors.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicPayload, TopicStart } from "../topics/topic-message.ts";
import type { ClientConnection, EdgeSocket } from "./edge-socket.ts";
import { ReplayAllowance } from "./replay-allowance.ts";

/** Native topics know WebSockets only; these are their equals for event streams. */
export interface EventStreamTopics {
  add(name: string, stream: EventStream): void;
  remove(name: string, stream: EventStream): void;
  /** To the WebSockets that subscribe to the same name. */
  publishNatively(name: string, message: SocketData): void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** A comment line (HTML standard, section 9.2.6) often enough that no proxy takes the stream for dead. */
export const eventStreamPingMs = 15_000;

/**
 * A client that listens with server-sent events (HTML standard, section 9.2). Each message is one event; bytes are sent as
 * the text they decode to. What a slow client has not read yet is bounded like a socket's: past the limit the stream is
 * broken off, so that no client takes one with a gap for a whole one.
 */
export class EventStream implements ClientConnection {
  readonly socket: EdgeSocket;
  readonly #topics: EventStreamTopics;
  readonly #bufferedBytesMax: number;
  readonly #names = new Set<string>();
  readonly #allowance = new ReplayAllowance();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(socket: EdgeSocket, topics: EventStreamTopics, bufferedBytesMax: number) {
    this.socket = socket;
    this.#topics = topics;
    this.#bufferedBytesMax = bufferedBytesMax;
  }

  /** The response. The socket is connected when the client begins to read, and gone when it stops. */
  response(headers: Headers | undefined): Response {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          this.#write(": connected\n\n");
          this.socket.connected(this);
        },
        cancel: () => this.#over(1001, "The client left."),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: this.#bufferedBytesMax }),
    );
    const answer = new Headers(headers);
    answer.set("content-type", "text/event-stream; charset=utf-8");
    answer.set("cache-control", "no-store");
    return new Response(body, { headers: answer });
  }

  send(message: SocketData): number {
    return this.#write(eventOf(message, undefined));
  }

  /** A message of a topic. Its position is the event's id, which a browser's EventSource says when it comes again. */
  hear({ data, position }: TopicPayload & { readonly position: string | undefined }): void {
    this.#write(eventOf(data, position));
  }

  /** Who is there. */
  hearPresence(json: string): void {
    this.#write(`event: presence\ndata: ${json}\n\n`);
  }

  skipped(_: string, count: number): void {
    this.#write(`event: skipped\ndata: ${JSON.stringify({ count })}\n\n`);
  }

  listen(name: string, _: string, start: TopicStart, presenceName: string): void {
    const { position, recovered, missed, presence } = start;
    const id = position === undefined ? "" : `id: ${position}\n`;
    this.#write(`event: subscribed\n${id}data: ${JSON.stringify({ position, recovered })}\n\n`);
    this.#allowance.replay(
      () => this.#waitingBytes,
      () => {
        for (const message of missed) this.#enqueue(eventOf(message.data, message.position));
      },
    );
    if (start.slowReaders === undefined) this.subscribe(name);
    if (presence?.snapshot === undefined) return;
    this.hearPresence(presence.snapshot);
    this.subscribe(presenceName);
  }

  subscribe(name: string): void {
    this.#names.add(name);
    this.#topics.add(name, this);
  }
  unsubscribe(name: string): void {
    this.#names.delete(name);
    this.#topics.remove(name, this);
  }
  isSubscribed(name: string): boolean {
    return this.#names.has(name);
  }
  publish(name: string, message: SocketData): void {
    this.#topics.publishNatively(name, message);
  }
  ping(): void {
    this.#write(": ping\n\n");
  }
  pong(): void {
    // The protocol has no pong.
  }

  /** Says why, as an event named `close`, and ends the stream after what was sent. */
  close(code: number, reason: string): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    if (code === slowReaderCloseCode) return this.terminate(code, reason); // It would not read that either.
    controller.enqueue(encoder.encode(`event: close\ndata: ${JSON.stringify({ code, reason })}\n\n`));
    controller.close();
    this.#over(code, reason);
  }
  /** Breaks the stream off: what the client has not read is thrown away. */
  terminate(code = 1006, reason = ""): void {
    this.#controller?.error(new StatefulError("backpressure", "The event stream was broken off."));
    this.#over(code, reason);
  }
  getBufferedAmount(): number {
    return this.#allowance.counted(this.#waitingBytes);
  }

  get #waitingBytes(): number {
    return this.#controller === undefined ? 0 : this.#bufferedBytesMax - (this.#controller.desiredSize ?? 0);
  }

  #write(text: string): number {
    if (this.#controller === undefined) return 0;
    if (this.getBufferedAmount() > this.#bufferedBytesMax) {
      this.terminate(slowReaderCloseCode, "The reader is too slow.");
      return 0;
    }
    return this.#enqueue(text);
  }

  #enqueue(text: string): number {
    const bytes = encoder.encode(text);
    this.#controller?.enqueue(bytes);
    return bytes.length;
  }

  #over(code: number, reason: string): void {
    this.#controller = undefined;
    for (const name of this.#names) this.#topics.remove(name, this);
    this.#names.clear();
    this.socket.disconnected(code, reason);
  }
}

function eventOf(data: SocketData, position: string | undefined): string {
  const text = typeof data === "string" ? data : decoder.decode(data);
  const lines = text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `${position === undefined ? "" : `id: ${position}\n`}${lines.join("")}\n`;
}
