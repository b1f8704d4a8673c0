import type { SocketRecord, UpgradeHead } from "../host/edge-port.ts";
import { type SocketCarrier, slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicStart } from "../topics/topic-message.ts";
import type { PresentIn } from "../topics/topic-presence.ts";
import type { EdgeSocket, SocketOwner } from "./edge-socket.ts";
import { isTopicTarget } from "./object-target.ts";
import type { OwnerLine } from "./owner-line.ts";

/** Bytes and count of one client's messages that no owner has handled yet; past either it is closed with 1013. */
export const socketInflightBytesMax = 1024 * 1024;
export const socketInflightCountMax = 4096;

/** The object that a socket belongs to, as the edge has it. */
export interface HeldObject {
  /** A text that the edge answers by itself. */
  readonly autoResponse: { readonly request: string; readonly response: string } | undefined;
  /** The owner, where a message may go straight to it. */
  readonly direct: OwnerLine | undefined;
  /** Something is to be told of the socket: now, or when there is an owner to tell. */
  flush(socket: HeldSocket): void;
  /** A client of its has left. */
  closing(): void;
  forget(socket: HeldSocket): void;
}

/** What an edge keeps of a client for its whole life. */
export interface HeldClient {
  readonly id: string;
  readonly remoteAddress: string;
  readonly head: UpgradeHead;
  /** The client is connected, or will never be, and the owner has been told. */
  readonly settled: (() => void) | undefined;
}

/** What a line's owner knows of a socket when the line begins. */
export interface SocketStart {
  /** The same owner as before, after its way broke. */
  readonly isSame: boolean;
  /** Messages it has taken; undefined where it does not know the socket. */
  readonly cursor: number | undefined;
  /** It has accepted the upgrade itself, and its hooks have run. */
  readonly isAccepted: boolean;
  /** Whether what a lost owner was sent is sent again. */
  readonly redeliver: boolean;
}

/**
 * A client's socket between its connection and whoever owns its object. It keeps what an owner needs to go on with it, and the
 * client's messages until one has handled them: an owner that comes next is sent what the last has not taken.
 */
export class HeldSocket implements SocketOwner, Omit<SocketCarrier, "listen"> {
  readonly socket: EdgeSocket;
  readonly client: Omit<HeldClient, "settled">;
  /** Where its upgrade was accepted. */
  acceptedOn: OwnerLine | undefined;
  readonly #object: HeldObject;
  #phase: SocketRecord["phase"] = "accepted";
  #subscriptions: Map<string, PresentIn | undefined> | undefined;
  #tags: readonly string[] = [];
  #attachment: Uint8Array | undefined;
  /** Messages that are behind us, since the socket began. */
  #handled = 0;
  #unhandled: SocketData[] = [];
  #unhandledBytes = 0;
  /** How many of those the owner on the line was sent. */
  #sent = 0;
  #isHeadDue = false;
  /** How many messages went before the head that was sent, until one after it is handled: only then has it certainly arrived. */
  #headAfter: number | undefined;
  /** An owner has heard that the client is connected: then nobody has to hear it again. */
  #isOpenedKnown = false;
  #isOpenedSent = false;
  #isDrainedDue = false;
  #closing: { readonly code: number; readonly reason: string } | undefined;
  #settled: (() => void) | undefined;
  #isOver = false;

  constructor(object: HeldObject, socket: EdgeSocket, client: HeldClient) {
    this.#object = object;
    this.socket = socket;
    // Only for as long as it is needed: the whole request of the upgrade hangs on it.
    const { settled, ...kept } = client;
    this.client = kept;
    this.#settled = settled;
  }

  get number(): number {
    return this.socket.socketId;
  }
  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether it has said something that no owner has handled. */
  get isUnhandled(): boolean {
    return this.#unhandled.length > 0;
  }

  /** What the next owner has to know. Where the last has not said that it knows of the opening, `open` is still to run. */
  record(): SocketRecord {
    return {
      number: this.number,
      id: this.client.id,
      remoteAddress: this.client.remoteAddress,
      kind: this.client.head.kind,
      phase: this.#isOpenedKnown ? "opened" : "accepted",
      subscriptions: [...(this.#subscriptions?.keys() ?? [])],
      presence: this.#presence(),
      tags: this.#tags,
      attachment: this.#attachment,
      handled: this.#handled,
    };
  }

  #presence(): SocketRecord["presence"] {
    const presence: [string, PresentIn][] = [];
    for (const [topic, presentIn] of this.#subscriptions ?? [])
      if (presentIn) presence.push([topic, presentIn]);
    return presence;
  }

  // -- from the client

  opened(): void {
    this.#phase = "opened";
    this.#object.flush(this);
  }

  message(message: SocketData): void {
    if (this.#closing) return;
    const { autoResponse, direct } = this.#object;
    const isAutomatic = message === autoResponse?.request && this.client.head.kind !== "subscription";
    if (autoResponse !== undefined && isAutomatic) return this.#answer(autoResponse);
    if (direct && this.#isPlain) {
      this.#handled++;
      return direct.tellMessage(this.number, message);
    }
    // What the last message may be is the class's to limit, so what counts is what was under way before it.
    const isOver =
      this.#unhandledBytes > socketInflightBytesMax || this.#unhandled.length >= socketInflightCountMax;
    if (isOver) return this.close(1013, "Messages arrive faster than the object handles them.");
    this.#unhandled.push(message);
    this.#unhandledBytes += message.length;
    this.#object.flush(this);
  }

  #answer({ response }: { readonly response: string }): void {
    if (this.socket.send(response) === -1) this.close(slowReaderCloseCode, "The reader is too slow.");
  }

  /** Nothing has to be told before its next message. */
  get #isPlain(): boolean {
    return this.#unhandled.length === 0 && this.#isOpenedKnown && !this.#isHeadDue;
  }

  drained(): void {
    this.#isDrainedDue = true;
    this.#object.flush(this);
  }

  closed(code: number, reason: string): void {
    if (this.#closing) return;
    this.#closing = { code, reason };
    this.#object.closing();
    this.#object.flush(this);
  }

  // -- to the owner

  /** A line begins. */
  start({ isSame, cursor, isAccepted, redeliver }: SocketStart): void {
    this.#isOpenedSent = false;
    this.#isOver = false;
    if (isSame) {
      this.#sent = Math.min(Math.max(0, (cursor ?? 0) - this.#handled), this.#unhandled.length);
      if ((cursor === undefined && !isAccepted) || this.#headAfter !== undefined) this.#isHeadDue = true;
      return;
    }
    this.#isHeadDue = !isAccepted;
    this.#headAfter = undefined;
    if (cursor !== undefined) {
      this.#drop(cursor - this.#handled);
      this.#handled = cursor;
    } else if (!redeliver) this.#drop(this.#sent);
    this.#sent = 0;
  }

  /** The object sleeps, or has woken: the hooks of the upgrade have to run before the next event. */
  hooksDue(): void {
    this.#isHeadDue = true;
  }

  /** The owner has woken, and may not have had the head before what it was sent already. */
  headForSent(line: OwnerLine): void {
    if (this.#sent > 0 || (this.#isOpenedSent && !this.#isOpenedKnown)) this.#tellHead(line);
  }

  /** Tells the owner what is due, as much as the line takes. */
  tell(line: OwnerLine): void {
    if (this.#phase === "opened" && !this.#isOpenedKnown && !this.#isOpenedSent) {
      this.#tellHead(line);
      this.#isOpenedSent = true;
      line.tellOpened(this.number);
      this.#settle();
    }
    while (this.#sent < this.#unhandled.length && line.isClear) this.#tellMessage(line);
    if (this.#sent < this.#unhandled.length) return;
    if (this.#isDrainedDue && !this.#closing) {
      this.#isDrainedDue = false;
      // Nobody waits for it where the hooks have not run.
      if (!this.#isHeadDue) line.tellDrained(this.number);
    }
    if (this.#closing && !this.#isOver) this.#tellClosed(line, this.#closing);
  }

  /** Its owner slept, or the line broke: what is known of the socket there is not known here. */
  tellClosedAgain(line: OwnerLine): void {
    if (this.#closing === undefined) return;
    line.tellHead(this.number, this.client.head);
    line.tellClosed(this.number, this.#closing.code, this.#closing.reason);
  }

  #tellHead(line: OwnerLine): void {
    if (!this.#isHeadDue) return;
    this.#isHeadDue = false;
    this.#headAfter = this.#handled + this.#sent;
    line.tellHead(this.number, this.client.head);
  }

  #tellMessage(line: OwnerLine): void {
    const message = this.#unhandled[this.#sent];
    if (message === undefined) return;
    this.#tellHead(line);
    if (line.isDirect) {
      this.#drop(1);
      this.#handled++;
    } else this.#sent++;
    line.tellMessage(this.number, message);
  }

  #tellClosed(line: OwnerLine, { code, reason }: { readonly code: number; readonly reason: string }): void {
    this.#isOver = true;
    this.#tellHead(line);
    // What it said last may have to be said again, to this owner or the next.
    if (!this.isUnhandled) this.#object.forget(this);
    line.tellClosed(this.number, code, reason);
    this.#settle();
  }

  #settle(): void {
    this.#settled?.();
    this.#settled = undefined;
  }

  #drop(count: number): void {
    if (count <= 0) return;
    for (const { length } of this.#unhandled.splice(0, count)) this.#unhandledBytes -= length;
  }

  // -- what the owner commands

  send(message: SocketData): number {
    return this.socket.send(message);
  }

  subscribe(topic: string): void {
    this.#subscribed(topic, undefined);
    this.socket.subscribe(topic);
  }

  listen(topic: string, start: TopicStart): void {
    const { presence } = start;
    this.#subscribed(topic, presence && { data: presence.data, watches: presence.watches });
    this.socket.listen(topic, start);
  }

  #subscribed(topic: string, presentIn: PresentIn | undefined): void {
    this.#subscriptions ??= new Map();
    this.#subscriptions.set(topic, presentIn);
  }

  /** Where it cannot be told of a gap, it is closed: a socket of the topic's own endpoint. An author's may have their own ways. */
  hasMissed(topic: string, start: TopicStart): void {
    if (!this.#subscriptions?.has(topic) || this.socket.hasMissed(topic, start)) return;
    if (isTopicTarget(this.client.head.target)) this.close(1012, "Messages were lost; connect again.");
  }

  unsubscribe(topic: string): void {
    this.#subscriptions?.delete(topic);
    this.socket.unsubscribe(topic);
  }

  ping(data: SocketData): void {
    this.socket.ping(data);
  }
  pong(data: SocketData): void {
    this.socket.pong(data);
  }
  close(code: number, reason: string): void {
    this.socket.close(code, reason);
  }
  terminate(): void {
    this.socket.terminate();
  }

  handled(count: number): void {
    const behind = Math.min(count, this.#unhandled.length);
    this.#drop(behind);
    this.#handled += behind;
    this.#sent = Math.max(0, this.#sent - behind);
    if (this.#isOpenedSent) this.#isOpenedKnown = true;
    if (this.#headAfter !== undefined && this.#handled > this.#headAfter) this.#headAfter = undefined;
    if (this.#isOver && !this.isUnhandled) this.#object.forget(this);
  }

  keep(attachment: Uint8Array | undefined, tags: readonly string[]): void {
    this.#attachment = attachment;
    this.#tags = tags;
  }

  bufferedBytes(): number {
    return this.socket.bufferedBytes();
  }
}
