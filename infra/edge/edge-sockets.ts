import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import { EdgeSocket, nativeTopic } from "./edge-socket.ts";
import { EventStream, type EventStreamTopics, eventStreamPingMs } from "./event-stream.ts";

export interface EdgeSocketsSetup {
  readonly clock: Clock;
  /** To all WebSockets of this process that subscribe to `name`; Bun's own fan-out. */
  readonly publishNatively: (name: string, message: SocketData) => void;
  /** Sockets and event streams open at once. Past it an upgrade is refused with `host_full`. */
  readonly socketsMax: number;
  /** What may wait for one slow client. Past it the client is closed with 4408. */
  readonly backpressureLimitBytes: number;
}

const slowReaderSweepMs = 250;

/** Every client connection of this host, and the native fan-out of topics to them. */
export class EdgeSockets implements TopicEdge {
  readonly #setup: EdgeSocketsSetup;
  readonly #byNumber = new Map<number, EdgeSocket>();
  readonly #streams = new Map<string, Set<EventStream>>();
  #lastNumber = 0;
  #cancelSweep: CancelTimer;
  #pingDueMs: number;

  constructor(setup: EdgeSocketsSetup) {
    this.#setup = setup;
    this.#pingDueMs = setup.clock.monotonicMs() + eventStreamPingMs;
    this.#cancelSweep = this.#sweepLater();
  }

  get size(): number {
    return this.#byNumber.size;
  }
  /** What waits here for all clients together. */
  get bufferedBytes(): number {
    let bytes = 0;
    for (const socket of this.#byNumber.values()) bytes += socket.bufferedBytes();
    return bytes;
  }
  get isFull(): boolean {
    return this.#byNumber.size >= this.#setup.socketsMax;
  }

  /** A socket that is about to be upgraded. It must be `connected` or `disconnected` in the end. */
  add(ref: ObjectRef): EdgeSocket {
    const number = ++this.#lastNumber;
    const socket = new EdgeSocket(number, ref, this, () => this.#byNumber.delete(number));
    this.#byNumber.set(number, socket);
    return socket;
  }

  eventStream(socket: EdgeSocket): EventStream {
    return new EventStream(socket, this.#streamTopics, this.#setup.backpressureLimitBytes);
  }

  publish(objectKey: string, topic: string, message: SocketData, exceptSocketId: number): boolean {
    const name = nativeTopic(objectKey, topic);
    const except = exceptSocketId === 0 ? undefined : this.#byNumber.get(exceptSocketId);
    if (!except?.publishToOthers(name, message)) this.#setup.publishNatively(name, message);
    for (const stream of this.#streams.get(name) ?? []) if (stream.socket !== except) stream.send(message);
    return true;
  }

  /** Closes every connection, as a host does that goes away. */
  closeAll(code: number, reason: string): void {
    for (const socket of [...this.#byNumber.values()]) socket.close(code, reason);
  }

  stop(): void {
    this.#cancelSweep();
    for (const socket of [...this.#byNumber.values()]) {
      socket.terminate();
      socket.disconnected(1006, "");
    }
  }

  readonly #streamTopics: EventStreamTopics = {
    add: (name, stream) => {
      const streams = this.#streams.get(name);
      if (streams) streams.add(stream);
      else this.#streams.set(name, new Set([stream]));
    },
    remove: (name, stream) => {
      const streams = this.#streams.get(name);
      streams?.delete(stream);
      if (streams?.size === 0) this.#streams.delete(name);
    },
    publishNatively: (name, message) => this.#setup.publishNatively(name, message),
  };

  #sweepLater(): CancelTimer {
    return this.#setup.clock.after(slowReaderSweepMs, () => {
      this.#cancelSweep = this.#sweepLater();
      this.#sweep(this.#setup.clock.monotonicMs());
    });
  }

  /** Native fan-out cannot say which of its readers are behind, so that is looked at here. */
  #sweep(nowMs: number): void {
    for (const socket of [...this.#byNumber.values()]) {
      // Bun gives a client some seconds to read that, and then cuts it off.
      if (socket.bufferedBytes() > this.#setup.backpressureLimitBytes)
        socket.close(slowReaderCloseCode, "The reader is too slow.");
    }
    if (nowMs < this.#pingDueMs) return;
    this.#pingDueMs = nowMs + eventStreamPingMs;
    for (const streams of this.#streams.values()) for (const stream of streams) stream.ping();
  }
}
