import { StatefulError } from "../lib/errors.ts";
import type { AcceptedUpgrade } from "../object/event.ts";
import type { RawSocket } from "../object/object-socket.ts";
import type { SocketData } from "../object/socket-message.ts";
import { authorsMessage } from "../object/subscription-message.ts";
import type { SocketBehaviour } from "../object/socket-route.ts";
import { type EncodeMessage, encodedPayload, topicPayload } from "../object/topic-payload.ts";
import type { SocketAtEdge, TopicEdge } from "../topics/topic-hub.ts";
import type { TopicStart } from "../topics/topic-message.ts";
import type { Activation } from "./activation.ts";
import type { SocketRecord, UpgradeHead } from "./edge-port.ts";
import { KeptWithSocket } from "./kept-with-socket.ts";
import { asBytes, sendableCloseCode, sendableCloseReason } from "./sendable.ts";
import { SocketTopics } from "./socket-topics.ts";

/**
 * How the owner reaches one client's connection: this host's own edge, or a channel to another. Calls take effect at the
 * edge in the order in which they are made.
 */
export interface SocketCarrier {
  /** Bytes handed on; -1 where the way is congested and nothing was sent. */
  send(message: SocketData): number;
  subscribe(topic: string): void;
  /** The same for a topic with a history: what was missed goes before what is new. False where the way is congested. */
  listen(topic: string, start: TopicStart): boolean;
  unsubscribe(topic: string): void;
  ping(data: SocketData): void;
  pong(data: SocketData): void;
  close(code: number, reason: string): void;
  terminate(): void;
  /** So many more of the client's messages are dealt with: their handlers have settled, and what they changed is safe. */
  handled(count: number): void;
  /** What the edge is to keep for the socket's next activation, and give back with its record. */
  keep(attachment: Uint8Array | undefined, tags: readonly string[]): void;
  bufferedBytes(): number;
}

export const slowReaderCloseCode = 4408;
/** What a ping or a pong carries: RFC 6455, section 5.5. */
export const controlBytesMax = 125;

/**
 * The owner's end of a client's socket. It lives with the activation; the connection lives at the edge, and is attached to the
 * next activation when this one has slept, moved or been lost. Everything that it sends passes the activation's release check
 * and output gate first (rule L3).
 */
export class VirtualSocket implements RawSocket, SocketAtEdge {
  readonly id: string;
  readonly remoteAddress: string;
  readonly kind: SocketRecord["kind"];
  readonly carrier: SocketCarrier;
  readonly edge: TopicEdge;
  readonly socketId: number;
  binaryType: RawSocket["binaryType"] = "uint8array";
  #hooks: SocketHooks | undefined;
  /** Its hooks run again: what happens to it meanwhile waits for that. */
  #waiting: (() => void)[] | undefined;
  #head: UpgradeHead | undefined;
  #readyState: RawSocket["readyState"] = 0;
  #wasOpened = false;
  /** Messages of the client that were taken, since the socket began: the edge sends what comes after them. */
  #taken: number;
  /** Those of them whose handlers have begun: what waits its turn when the object moves, the next owner takes. */
  #begun: number;
  #topics: SocketTopics | undefined;
  #kept: KeptWithSocket | undefined;
  #isCloseSent = false;
  readonly #activation: Activation;

  constructor(activation: Activation, setup: VirtualSocketSetup) {
    const { record, carrier, edge, hooks } = setup;
    this.id = record.id;
    this.remoteAddress = record.remoteAddress;
    this.kind = record.kind;
    this.socketId = record.number;
    this.carrier = carrier;
    this.edge = edge;
    this.#activation = activation;
    this.#hooks = hooks;
    this.#taken = record.handled;
    this.#begun = record.handled;
    if (record.phase === "opened") {
      this.#readyState = 1;
      this.#wasOpened = true;
    }
    if (record.tags.length > 0 || record.attachment !== undefined)
      this.#kept = new KeptWithSocket(record.tags, record.attachment);
    if (record.subscriptions.length > 0) this.#topics = new SocketTopics(activation, this, record);
  }

  get readyState() {
    return this.#readyState;
  }
  get subscriptions() {
    return this.#topics?.names ?? [];
  }
  /** Messages taken so far. */
  get taken(): number {
    return this.#taken;
  }

  /** The context of its upgrade, which its handlers know as `ws.data`. */
  get data(): object {
    if (this.#hooks) return this.#hooks.data;
    throw new StatefulError("internal", `The hooks of socket ${this.id} have not run yet.`);
  }

  /** What the next owner has to know of it. */
  record(): SocketRecord {
    return {
      number: this.socketId,
      id: this.id,
      remoteAddress: this.remoteAddress,
      kind: this.kind,
      phase: this.#wasOpened ? "opened" : "accepted",
      ...(this.#topics?.record ?? noTopics),
      tags: this.tags,
      attachment: this.#kept?.bytes,
      handled: this.#begun,
    };
  }

  // -- what the edge reports

  /** Whether nothing is known that its hooks could be run with. */
  get isHeadless(): boolean {
    return this.#hooks === undefined && this.#head === undefined && this.#waiting === undefined;
  }

  /** With this its hooks can be run again, which they are before its next event. */
  upgradedBy(head: UpgradeHead): void {
    if (this.#hooks === undefined) this.#head = head;
  }

  opened(): void | Promise<void> {
    if (this.#readyState !== 0) return;
    this.#readyState = 1;
    this.#wasOpened = true;
    return this.#run((behaviour) => behaviour.open(this));
  }

  /** A client that has been closed says no more, whatever was on its way. Undefined where it was handled in this call. */
  received(message: SocketData): void | Promise<void> {
    this.#taken += 1;
    const number = this.#taken;
    if (this.#readyState >= 2) {
      this.#begun = number;
      return;
    }
    return this.#run((behaviour) => {
      this.#begun = number;
      return behaviour.message(this, message);
    });
  }

  drained(): void | Promise<void> {
    if (this.#readyState >= 2 || this.#hooks === undefined) return;
    return this.#run((behaviour) => behaviour.drain(this));
  }

  /** The connection is gone: closed by the client, lost with its edge, or closed by us and confirmed. Runs once. */
  closed(code: number, reason: string): void | Promise<void> {
    if (this.#readyState === 3) return;
    this.#readyState = 3;
    this.left();
    if (this.#wasOpened) return this.#run((behaviour) => behaviour.close(this, code, reason));
  }

  /** It is no longer this activation's. */
  left(): void {
    this.#topics?.left();
    this.#topics = undefined;
    this.#activation.forgetSocket(this);
  }

  /** As an event of the object, once the hooks of its upgrade have run here. Events keep their order over that. */
  #run(event: SocketEvent): void | Promise<void> {
    const hooks = this.#hooks;
    if (hooks && this.#waiting === undefined)
      return this.#activation.runSocketEvent(this, () => event(hooks.behaviour));
    return new Promise((resolve) => {
      const run = () => resolve(this.#hooks && this.#run(event));
      if (this.#waiting) this.#waiting.push(run);
      else {
        this.#waiting = [run];
        void this.#runHooks();
      }
    });
  }

  /** Never rejects. Counts as an open event until all that waited has begun. */
  async #runHooks(): Promise<void> {
    const replayed = await this.#activation.replayUpgrade(this.#head);
    this.#head = undefined;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    if (replayed.kind === "accepted") this.#hooks = replayed.hooks;
    else if (replayed.kind === "refused") this.close(replayed.closeCode, replayed.reason);
    for (const run of waiting) run();
    this.#activation.replayEnded();
  }

  // -- what handlers do

  /** A structured-cloneable value of 16 KiB at most once encoded, kept by the edge. Set it anew to change it. */
  get attachment(): unknown {
    return this.#kept?.value;
  }
  set attachment(value: unknown) {
    this.#keep((this.#kept ?? nothingKept).withValue(value));
  }
  get tags(): readonly string[] {
    return this.#kept?.tags ?? [];
  }
  set tags(tags: readonly string[]) {
    this.#keep((this.#kept ?? nothingKept).withTags(tags));
  }

  #keep(kept: KeptWithSocket): void {
    if (this.#readyState >= 2) return;
    this.#activation.pass(() => this.carrier.keep(kept.bytes, kept.tags), kept.bytes?.length ?? 0);
    this.#kept = kept;
  }

  send(data: string | BufferSource): number {
    return this.#sendAuthors(typeof data === "string" ? data : asBytes(data));
  }
  sendText(data: string): number {
    return this.#sendAuthors(data);
  }
  sendBinary(data: BufferSource): number {
    return this.#send(asBytes(data));
  }
  tell(data: string): number {
    return this.#send(data);
  }

  publish(topic: string, data: string | BufferSource): number {
    return this.#publish(topic, data, encodedPayload);
  }
  publishMessage(topic: string, message: unknown): number {
    return this.#publish(topic, message, topicPayload);
  }
  publishText(topic: string, data: string): number {
    return this.publish(topic, data);
  }
  publishBinary(topic: string, data: BufferSource): number {
    return this.publish(topic, data);
  }

  subscribe(topic: string): void {
    this.#topicsOf().subscribe(topic);
  }
  listen(topic: string, since: string | undefined, watches: boolean): void {
    this.#topicsOf().listen(topic, since, watches);
  }
  unsubscribe(topic: string): void {
    this.#topics?.unsubscribe(topic);
  }
  isSubscribed(topic: string): boolean {
    return this.#topics?.has(topic) ?? false;
  }

  /** Most sockets of many classes subscribe to nothing. */
  #topicsOf(): SocketTopics {
    this.#topics ??= new SocketTopics(this.#activation, this);
    return this.#topics;
  }

  close(code = 1000, reason = ""): void {
    if (this.#readyState >= 2) return;
    this.#readyState = 2;
    const close = () => this.#sendClose(code, reason);
    try {
      this.#activation.pass(close, 0);
    } catch {
      close(); // The line is full: better early than never.
    }
  }

  /** Its client is to come again, and to hear nothing before that; nor to wait for what may not leave. */
  closeAtOnce(code: number, reason: string): void {
    if (this.#readyState < 2) this.#readyState = 2;
    this.#sendClose(code, reason);
  }

  /** The activation is over: whatever waited for it is never sent, and this is the last that the client hears. */
  ended(code: number, reason: string): void {
    this.#readyState = 2;
    this.#sendClose(code, reason);
    void this.closed(code, reason);
  }

  #sendClose(code: number, reason: string): void {
    if (this.#isCloseSent) return;
    this.#isCloseSent = true;
    this.carrier.close(sendableCloseCode(code), sendableCloseReason(reason));
  }

  terminate(): void {
    if (this.#readyState === 3) return;
    this.#readyState = 2;
    this.carrier.terminate();
  }

  ping(data: string | BufferSource = ""): number {
    return this.#control(data, (bytes) => this.carrier.ping(bytes));
  }
  pong(data: string | BufferSource = ""): number {
    return this.#control(data, (bytes) => this.carrier.pong(bytes));
  }

  cork<T>(callback: (socket: RawSocket) => T): T {
    return callback(this); // Links and edges batch by themselves, per turn of the event loop.
  }

  getBufferedAmount(): number {
    return this.carrier.bufferedBytes();
  }

  #sendAuthors(message: SocketData): number {
    return this.#send(this.kind === "subscription" ? authorsMessage(message) : message);
  }

  #send(message: SocketData): number {
    if (this.#readyState > 1) return 0;
    let sent = message.length;
    this.#activation.pass(() => {
      sent = this.#sendNow(message);
    }, message.length);
    return sent;
  }

  #sendNow(message: SocketData): number {
    if (this.#readyState === 3) return 0;
    const sent = this.carrier.send(message);
    if (sent === -1) this.closeAtOnce(slowReaderCloseCode, "The reader is too slow.");
    return sent;
  }

  #publish<Message>(topic: string, message: Message, encode: EncodeMessage<Message>): number {
    if (this.#readyState > 1) return 0;
    const payload = encode(this.#activation.runtime.definition.topics.get(topic)?.schema, message);
    this.#activation.publish(topic, payload, this);
    return payload.data.length;
  }

  #control(data: string | BufferSource, send: (bytes: Uint8Array) => void): number {
    if (this.#readyState > 1) return 0;
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : asBytes(data);
    if (bytes.length > controlBytesMax)
      throw new StatefulError("bad_request", `A ping or pong has ${controlBytesMax} bytes at most.`);
    this.#activation.pass(() => send(bytes), 0);
    return 1;
  }
}

export interface VirtualSocketSetup {
  readonly record: SocketRecord;
  readonly carrier: SocketCarrier;
  /** What publishes to the others of its edge go to. */
  readonly edge: TopicEdge;
  /** Undefined for a socket that was opened at an activation before this one. */
  readonly hooks: SocketHooks | undefined;
}

/** What the hooks of an upgrade have made: its context, and the handlers of its route. */
export type SocketHooks = Pick<AcceptedUpgrade, "behaviour" | "data">;

/** What came of running the hooks of an open socket's upgrade again. `gone`: there is nobody to ask any more. */
export type ReplayedUpgrade =
  | { readonly kind: "accepted"; readonly hooks: SocketHooks }
  | { readonly kind: "refused"; readonly closeCode: number; readonly reason: string }
  | { readonly kind: "gone" };

type SocketEvent = (behaviour: SocketBehaviour) => void | Promise<void>;

const noTopics = { subscriptions: [], presence: [] };
const nothingKept = new KeptWithSocket([], undefined);
