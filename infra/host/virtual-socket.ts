import type { RawSocket } from "../object/object-socket.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { SocketBehaviour } from "../object/socket-route.ts";
import type { SocketAtEdge, TopicEdge } from "../topics/topic-hub.ts";
import type { Activation } from "./activation.ts";
import { checkSubscriptionCount, checkTopicName } from "./topic-limits.ts";

/**
 * How the owner reaches one client's connection: this host's own edge, or a channel to another. Calls take effect at the
 * edge in the order in which they are made.
 */
export interface SocketCarrier extends SocketAtEdge {
  /** Bytes handed on; -1 where the way is congested and nothing was sent. */
  send(message: SocketData): number;
  subscribe(topic: string): void;
  unsubscribe(topic: string): void;
  ping(data: SocketData): void;
  pong(data: SocketData): void;
  close(code: number, reason: string): void;
  terminate(): void;
  bufferedBytes(): number;
}

export const slowReaderCloseCode = 4408;
const closeReasonBytesMax = 123; // RFC 6455, section 5.5: a control frame carries 125 bytes, two of them the code.

/**
 * The owner's end of a client's socket. It lives with the activation; the connection lives at the edge. Everything that
 * it sends passes the activation's release check first (rule L3).
 */
export class VirtualSocket implements RawSocket {
  readonly id: string;
  readonly data: object;
  readonly remoteAddress: string;
  readonly carrier: SocketCarrier;
  binaryType: RawSocket["binaryType"] = "uint8array";
  #readyState: RawSocket["readyState"] = 0;
  #wasOpened = false;
  #subscriptions: Set<string> | undefined;
  readonly #activation: Activation;
  readonly #behaviour: SocketBehaviour;

  constructor(activation: Activation, carrier: SocketCarrier, accepted: VirtualSocketSetup) {
    this.id = accepted.id;
    this.data = accepted.data;
    this.remoteAddress = accepted.remoteAddress;
    this.carrier = carrier;
    this.#activation = activation;
    this.#behaviour = accepted.behaviour;
  }

  get readyState() {
    return this.#readyState;
  }
  get subscriptions() {
    return [...(this.#subscriptions ?? [])];
  }
  get edge(): TopicEdge {
    return this.carrier.edge;
  }

  // -- what the edge reports

  opened(): void | Promise<void> {
    if (this.#readyState !== 0) return;
    this.#readyState = 1;
    this.#wasOpened = true;
    return this.#activation.runSocketEvent(this, () => this.#behaviour.open(this));
  }

  /** A client that has been closed says no more, whatever was on its way. */
  received(message: SocketData): void | Promise<void> {
    if (this.#readyState >= 2) return;
    return this.#activation.runSocketEvent(this, () => this.#behaviour.message(this, message));
  }

  drained(): void | Promise<void> {
    if (this.#readyState >= 2) return;
    return this.#activation.runSocketEvent(this, () => this.#behaviour.drain(this));
  }

  /** The connection is gone: closed by the client, lost with its edge, or closed by us and confirmed. Runs once. */
  closed(code: number, reason: string): void | Promise<void> {
    if (this.#readyState === 3) return;
    this.#readyState = 3;
    for (const topic of this.#subscriptions ?? []) this.#activation.hub.unsubscribe(topic, this.edge);
    this.#subscriptions = undefined;
    this.#activation.forgetSocket(this);
    if (this.#wasOpened)
      return this.#activation.runSocketEvent(this, () => this.#behaviour.close(this, code, reason));
  }

  // -- what handlers do

  send(data: string | BufferSource): number {
    return this.#send(typeof data === "string" ? data : asBytes(data));
  }
  sendText(data: string): number {
    return this.#send(data);
  }
  sendBinary(data: BufferSource): number {
    return this.#send(asBytes(data));
  }

  publish(topic: string, data: string | BufferSource): number {
    return this.#publish(topic, typeof data === "string" ? data : asBytes(data));
  }
  publishText(topic: string, data: string): number {
    return this.#publish(topic, data);
  }
  publishBinary(topic: string, data: BufferSource): number {
    return this.#publish(topic, asBytes(data));
  }

  subscribe(topic: string): void {
    if (this.#readyState > 1 || this.isSubscribed(topic)) return;
    this.#activation.checkRelease();
    checkTopicName(topic);
    checkSubscriptionCount(this.#subscriptions?.size ?? 0);
    this.#subscriptions ??= new Set();
    this.#subscriptions.add(topic);
    this.#activation.hub.subscribe(topic, this.edge);
    this.carrier.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    if (!this.#subscriptions?.delete(topic)) return;
    this.#activation.hub.unsubscribe(topic, this.edge);
    this.carrier.unsubscribe(topic);
  }

  isSubscribed(topic: string): boolean {
    return this.#subscriptions?.has(topic) ?? false;
  }

  close(code = 1000, reason = ""): void {
    if (this.#readyState >= 2) return;
    this.#readyState = 2;
    this.carrier.close(sendableCloseCode(code), truncateUtf8(reason, closeReasonBytesMax));
  }

  terminate(): void {
    if (this.#readyState === 3) return;
    this.#readyState = 2;
    this.carrier.terminate();
  }

  ping(data: string | BufferSource = ""): number {
    return this.#control(() => this.carrier.ping(typeof data === "string" ? data : asBytes(data)));
  }
  pong(data: string | BufferSource = ""): number {
    return this.#control(() => this.carrier.pong(typeof data === "string" ? data : asBytes(data)));
  }

  cork<T>(callback: (socket: RawSocket) => T): T {
    return callback(this); // Links and edges batch by themselves, per turn of the event loop.
  }

  getBufferedAmount(): number {
    return this.carrier.bufferedBytes();
  }

  #send(message: SocketData): number {
    if (this.#readyState > 1) return 0;
    this.#activation.checkRelease();
    const sent = this.carrier.send(message);
    if (sent === -1) this.close(slowReaderCloseCode, "The reader is too slow.");
    return sent;
  }

  #publish(topic: string, message: SocketData): number {
    if (this.#readyState > 1) return 0;
    this.#activation.publish(topic, message, this.carrier);
    return message.length;
  }

  #control(send: () => void): number {
    if (this.#readyState > 1) return 0;
    this.#activation.checkRelease();
    send();
    return 1;
  }
}

export interface VirtualSocketSetup {
  readonly id: string;
  readonly remoteAddress: string;
  readonly data: object;
  readonly behaviour: SocketBehaviour;
}

/** A copy: whoever passed the bytes may reuse them at once, while ours may still wait to be sent. */
function asBytes(data: BufferSource): Uint8Array {
  return data instanceof ArrayBuffer
    ? new Uint8Array(data.slice(0))
    : new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
}

/** RFC 6455, section 7.4: what an endpoint may send. Anything else becomes 1011, for it is a mistake in the handler. */
function sendableCloseCode(code: number): number {
  const standard = code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code);
  return standard || (code >= 3000 && code <= 4999) ? code : 1011;
}

function truncateUtf8(text: string, bytesMax: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax));
  return text.slice(0, read);
}
