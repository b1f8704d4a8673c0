import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import { StatefulError } from "../lib/errors.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicPayload, TopicStart } from "../topics/topic-message.ts";
import type { ClientConnection, EdgeSocket } from "./edge-socket.ts";
import { ReplayAllowance } from "./replay-allowance.ts";

/** Native topics know WebSockets only; these are their equals for event streams. */
export interface EventStreamTopics {
  /** It is open, and is to be pinged until it is `closed`. */
  opened(stream: EventStream): void;
  closed(stream: EventStream): void;
  add(name: string, stream: EventStream): void;
  remove(name: string, stream: EventStream): void;
  /** To the WebSockets that subscribe to the same name. */
  publishNatively(name: string, message: SocketData): void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** A comment line (HTML standard, section 9.2.6) often enough that no proxy takes the stream for dead. */
export const eventStreamPingMs = 15_000;
/** A client that takes nothing from one of so many pings to the next, though something waits for it, is gone or as good as that. */
const untakenPingsMax = 8;

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
  #writtenBytes = 0;
  #takenAtPing = 0;
  #untakenPings = 0;

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
          this.#topics.opened(this);
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

  /** A message of a topic that is told to this client alone. */
  hear(message: PlacedPayload): void {
    this.#write(topicEvent(message));
  }

  /** One that is told to many, encoded once for all of them: what waits for slow readers is then in memory once. */
  hearEncoded(event: EncodedEvent): void {
    this.#write(event);
  }

  skipped(_: string, count: number): void {
    this.#write(`event: skipped\ndata: ${JSON.stringify({ count })}\n\n`);
  }

  listen(name: string, _: string, start: TopicStart, presenceName: string): void {
    const { position, recovered, missed, presence } = start;
    if (!this.#isOpen) return;
    const id = position === undefined ? "" : `id: ${position}\n`;
    this.#write(`event: subscribed\n${id}data: ${JSON.stringify({ position, recovered })}\n\n`);
    this.#allowance.replay(
      () => this.#waitingBytes,
      () => {
        for (const message of missed) this.#enqueue(eventOf(message.data, message.position));
      },
    );
    // Any of these may have been too much for its client.
    if (this.#isOpen && start.slowReaders === undefined) this.subscribe(name);
    if (presence?.snapshot === undefined) return;
    this.#write(presenceEvent(presence.snapshot));
    if (this.#isOpen) this.subscribe(presenceName);
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
    if (this.#isUntaken()) this.terminate(slowReaderCloseCode, "The reader is too slow.");
    else this.#write(": ping\n\n");
  }

  /** Nothing that is sent here is answered, so that something waits and nothing moves is all that can be seen of a client that is gone. */
  #isUntaken(): boolean {
    const taken = this.#writtenBytes - this.#waitingBytes;
    const hasMoved = taken !== this.#takenAtPing || this.#waitingBytes === 0;
    this.#takenAtPing = taken;
    this.#untakenPings = hasMoved ? 0 : this.#untakenPings + 1;
    return this.#untakenPings >= untakenPingsMax;
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
    if (code === slowReaderCloseCode) this.socket.noteTooSlow();
    this.#controller?.error(new StatefulError("backpressure", "The event stream was broken off."));
    this.#over(code, reason);
  }
  getBufferedAmount(): number {
    return this.#allowance.counted(this.#waitingBytes);
  }

  get #isOpen(): boolean {
    return this.#controller !== undefined;
  }

  get #waitingBytes(): number {
    return this.#controller === undefined ? 0 : this.#bufferedBytesMax - (this.#controller.desiredSize ?? 0);
  }

  #write(event: string | EncodedEvent): number {
    if (this.#controller === undefined) return 0;
    if (this.getBufferedAmount() > this.#bufferedBytesMax) {
      this.terminate(slowReaderCloseCode, "The reader is too slow.");
      return 0;
    }
    return this.#enqueue(event);
  }

  #enqueue(event: string | EncodedEvent): number {
    const bytes = typeof event === "string" ? encoder.encode(event) : event;
    this.#controller?.enqueue(bytes);
    this.#writtenBytes += bytes.length;
    return bytes.length;
  }

  #over(code: number, reason: string): void {
    this.#controller = undefined;
    this.#topics.closed(this);
    for (const name of this.#names) this.#topics.remove(name, this);
    this.#names.clear();
    this.socket.disconnected(code, reason);
  }
}

/** An event as it is sent. Nobody changes it: it may wait in many streams. */
export type EncodedEvent = Uint8Array;

type PlacedPayload = TopicPayload & { readonly position: string | undefined };

/** A message of a topic. Its position is the event's id, which a browser's EventSource says when it comes again. */
export function topicEvent({ data, position }: PlacedPayload): EncodedEvent {
  return encoder.encode(eventOf(data, position));
}

/** Who is there. */
export function presenceEvent(json: string): EncodedEvent {
  return encoder.encode(`event: presence\ndata: ${json}\n\n`);
}

function eventOf(data: SocketData, position: string | undefined): string {
  const text = typeof data === "string" ? data : decoder.decode(data);
  const lines = text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `${position === undefined ? "" : `id: ${position}\n`}${lines.join("")}\n`;
}
