import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { TopicMessage } from "../topics/topic-message.ts";
import type { ClientConnection, EdgeSocket } from "./edge-socket.ts";

/** What becomes of messages that a subscriber is too slow for; without a policy it is closed. */
export type LenientPolicy = "drop-oldest" | "conflate";

/** What its connection may have buffered before a subscriber counts as behind, as a share of what closes others. */
const behindShare = 0.25;
/** How often those that are behind are looked at. */
export const behindPollMs = 25;

export interface LenientTopicsSetup {
  readonly clock: Clock;
  /** What may wait for one slow client: a quarter of it in its connection, and a quarter here. */
  readonly backpressureLimitBytes: number;
}

/** For whoever runs the host. */
export interface LenientFigures {
  /** Subscribers that are behind now. */
  readonly behind: number;
  /** Messages left out, since the start. */
  readonly skipped: number;
}

/**
 * Topics whose slow subscribers are not closed: a fast publisher goes on, and they are told how many messages were left out.
 * Native fan-out can neither pass over one of its readers nor say which is behind, so these are told one by one; that is what
 * such a topic costs more.
 */
export class LenientTopics {
  readonly #setup: LenientTopicsSetup;
  /** By native name. */
  readonly #readers = new Map<string, Map<EdgeSocket, LenientReader>>();
  readonly #behind = new Set<LenientReader>();
  #cancelPoll: CancelTimer | undefined;
  #skipped = 0;

  constructor(setup: LenientTopicsSetup) {
    this.#setup = setup;
  }

  get figures(): LenientFigures {
    return { behind: this.#behind.size, skipped: this.#skipped };
  }

  /** From here on the socket hears the topic here, and not natively. What waited for it before is forgotten. */
  add(
    name: string,
    socket: EdgeSocket,
    topic: string,
    connection: ClientConnection,
    policy: LenientPolicy,
  ): void {
    this.remove(name, socket);
    const bytesMax = this.#setup.backpressureLimitBytes * behindShare;
    const reader = new LenientReader(topic, connection, policy, bytesMax, (count) => {
      this.#skipped += count;
    });
    const readers = this.#readers.get(name);
    if (readers) readers.set(socket, reader);
    else this.#readers.set(name, new Map([[socket, reader]]));
  }

  remove(name: string, socket: EdgeSocket): void {
    const readers = this.#readers.get(name);
    const reader = readers?.get(socket);
    if (!readers || !reader) return;
    readers.delete(socket);
    this.#behind.delete(reader);
    if (readers.size === 0) this.#readers.delete(name);
  }

  publish(name: string, message: TopicMessage, except: EdgeSocket | undefined): void {
    for (const [socket, reader] of this.#readers.get(name) ?? []) {
      if (socket === except || !reader.hear(message)) continue;
      this.#behind.add(reader);
      this.#cancelPoll ??= this.#setup.clock.after(behindPollMs, () => this.#poll());
    }
  }

  stop(): void {
    this.#cancelPoll?.();
    this.#readers.clear();
    this.#behind.clear();
  }

  #poll(): void {
    for (const reader of this.#behind) if (reader.catchUp()) this.#behind.delete(reader);
    this.#cancelPoll =
      this.#behind.size > 0 ? this.#setup.clock.after(behindPollMs, () => this.#poll()) : undefined;
  }
}

class LenientReader {
  readonly #topic: string;
  readonly #connection: ClientConnection;
  readonly #policy: LenientPolicy;
  readonly #bytesMax: number;
  readonly #leftOut: (count: number) => void;
  #waiting: TopicMessage[] = [];
  #bytes = 0;
  /** Left out before the first that waits. */
  #skipped = 0;

  constructor(
    topic: string,
    connection: ClientConnection,
    policy: LenientPolicy,
    bytesMax: number,
    leftOut: (count: number) => void,
  ) {
    this.#topic = topic;
    this.#connection = connection;
    this.#policy = policy;
    this.#bytesMax = bytesMax;
    this.#leftOut = leftOut;
  }

  /** Whether it is behind with that. */
  hear(message: TopicMessage): boolean {
    if (this.#waiting.length === 0 && this.#keepsUp) {
      this.#deliver(message);
      return false;
    }
    this.#waiting.push(message);
    this.#bytes += message.data.length;
    // The latest stays, however long it is.
    while (this.#waiting.length > 1 && this.#isTooMuch) this.#skipOldest();
    return true;
  }

  /** Sends what there is room for. Whether nothing waits any more. */
  catchUp(): boolean {
    while (this.#keepsUp) {
      const next = this.#waiting.shift();
      if (next === undefined) return true;
      this.#bytes -= next.data.length;
      if (this.#skipped > 0) this.#connection.skipped?.(this.#topic, this.#skipped);
      this.#skipped = 0;
      this.#deliver(next);
    }
    return this.#waiting.length === 0;
  }

  get #keepsUp(): boolean {
    return this.#connection.getBufferedAmount() <= this.#bytesMax;
  }
  get #isTooMuch(): boolean {
    return this.#policy === "conflate" || this.#bytes > this.#bytesMax;
  }

  #skipOldest(): void {
    this.#bytes -= this.#waiting.shift()?.data.length ?? 0;
    this.#skipped += 1;
    this.#leftOut(1);
  }

  #deliver(message: TopicMessage): void {
    if (this.#connection.hear) this.#connection.hear(message);
    else this.#connection.send(message.data);
  }
}
