import type { SocketKind } from "./event.ts";
import { encodeSocketMessage } from "./socket-message.ts";

/**
 * A client's socket as the machinery gives it to a class: the surface of Bun's `ServerWebSocket`, whoever holds the
 * connection. The client is connected to its edge; this is the owner's end.
 *
 * What numbers mean on it: `send` and `publish` return the bytes handed on, be it to the output gate, 0 where the socket is closed (nothing was
 * sent), -1 where the way to the edge is congested and the message was not sent, in which case the socket is being
 * closed as a slow reader. `readyState` is 1 from the moment the edge reports the connection open until either side
 * closes. `getBufferedAmount` counts what waits at this end only.
 */
export interface RawSocket {
  readonly id: string;
  readonly kind: SocketKind;
  readonly data: object;
  readonly remoteAddress: string;
  readonly readyState: 0 | 1 | 2 | 3;
  readonly subscriptions: string[];
  binaryType: "nodebuffer" | "arraybuffer" | "uint8array";
  attachment: unknown;
  tags: readonly string[];
  send(data: string | BufferSource): number;
  sendText(data: string): number;
  sendBinary(data: BufferSource): number;
  /** What the machinery itself says to a client that speaks frames (`subscription-message.ts`). */
  tell(data: string): number;
  /** What has been encoded. On a topic with a schema it has to be JSON, as a client's. */
  publish(topic: string, data: string | BufferSource): number;
  /** What a handler says, as it says it: the topic's schema has to see that. */
  publishMessage(topic: string, message: unknown): number;
  publishText(topic: string, data: string): number;
  publishBinary(topic: string, data: BufferSource): number;
  subscribe(topic: string): void;
  /**
   * Subscribes a client of the topic's own address (`topics/PROTOCOL.md`): what came after `since` goes before what is new.
   * `watches`: it is told who else is there.
   */
  listen(topic: string, since: string | undefined, watches: boolean): void;
  unsubscribe(topic: string): void;
  isSubscribed(topic: string): boolean;
  close(code?: number, reason?: string): void;
  terminate(): void;
  ping(data?: string | BufferSource): number;
  pong(data?: string | BufferSource): number;
  cork<T>(callback: (socket: RawSocket) => T): T;
  getBufferedAmount(): number;
}

/** Decides whether a value may be sent; returns what is wrong with it, undefined when nothing is. */
export type ResponseCheck = (value: unknown) => string | undefined;

/**
 * What an author's socket handlers get: the surface of Elysia's own `ElysiaWS`, which these handlers are typed with.
 * Elysia builds one per message and binds some sixteen functions to it; this one has two fields more than none.
 */
export class ObjectSocket {
  readonly raw: RawSocket;
  /** The message, in a `message` handler; undefined elsewhere. */
  readonly body: unknown;
  readonly #check: ResponseCheck | undefined;

  constructor(raw: RawSocket, check: ResponseCheck | undefined, body?: unknown) {
    this.raw = raw;
    this.body = body;
    this.#check = check;
  }

  get id() {
    return this.raw.id;
  }
  get data() {
    return this.raw.data;
  }
  get readyState() {
    return this.raw.readyState;
  }
  get remoteAddress() {
    return this.raw.remoteAddress;
  }
  get subscriptions() {
    return this.raw.subscriptions;
  }
  get binaryType() {
    return this.raw.binaryType;
  }

  get attachment(): unknown {
    return this.raw.attachment;
  }
  set attachment(value: unknown) {
    this.raw.attachment = value;
  }
  get tags(): readonly string[] {
    return this.raw.tags;
  }
  set tags(tags: readonly string[]) {
    this.raw.tags = tags;
  }

  send(message: unknown): number {
    return this.raw.send(this.#outgoing(message));
  }
  sendText(text: string): number {
    return this.raw.sendText(text);
  }
  sendBinary(bytes: BufferSource): number {
    return this.raw.sendBinary(bytes);
  }

  /**
   * To every subscriber of the topic but this one, as Bun's own `ws.publish` does. Elysia's types know neither topics nor their
   * messages: those are checked here, and what a topic's schema refuses is thrown.
   */
  publish(topic: string, message: unknown): number {
    return this.raw.publishMessage(topic, this.#checked(message));
  }
  publishText(topic: string, text: string): number {
    return this.raw.publishText(topic, text);
  }
  publishBinary(topic: string, bytes: BufferSource): number {
    return this.raw.publishBinary(topic, bytes);
  }

  subscribe(topic: string): void {
    this.raw.subscribe(topic);
  }
  unsubscribe(topic: string): void {
    this.raw.unsubscribe(topic);
  }
  isSubscribed(topic: string): boolean {
    return this.raw.isSubscribed(topic);
  }
  close(code?: number, reason?: string): void {
    this.raw.close(code, reason);
  }
  terminate(): void {
    this.raw.terminate();
  }
  ping(data?: string | BufferSource): number {
    return this.raw.ping(data);
  }
  pong(data?: string | BufferSource): number {
    return this.raw.pong(data);
  }
  cork<T>(callback: (socket: this) => T): T {
    return this.raw.cork(() => callback(this));
  }

  #outgoing(message: unknown): string | BufferSource {
    return encodeSocketMessage(this.#checked(message)) as string | BufferSource; // a shared buffer, which has no other type, is copied below
  }

  /** Elysia answers with the validation message instead of sending what does not match; so do we. */
  #checked(message: unknown): unknown {
    return this.#check?.(message) ?? message;
  }
}
