import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { SocketData } from "../object/socket-message.ts";
import { sentOn } from "../object/subscription-message.ts";
import type { TopicMessage, TopicStart } from "../topics/topic-message.ts";
import type { SharedHeaders } from "./connect-headers.ts";
import { type ClientConnection, type EdgeSocket, framedTopicName } from "./edge-socket.ts";
import type { FramedNames } from "./framed-names.ts";
import {
  messageFrame,
  messageStart,
  outcomeFrame,
  presenceFrame,
  skippedFrame,
  subscribedFrame,
  unsubscribedFrame,
} from "./host-frames.ts";
import type { Frontend } from "./wanted-upgrade.ts";

/** The connection that a subscription is one of many on. */
export interface FramedTopicParent {
  readonly clientAddress: string;
  readonly names: FramedNames;
  /** As `ClientConnection.send`. */
  send(frame: string): number;
  cork(send: () => void): void;
  subscribe(name: string): void;
  unsubscribe(name: string): void;
  publish(name: string, frame: SocketData): void;
  bufferedBytes(): number;
  /** Whether what was missed may be sent now: see `replayWaitingBytesMax`. */
  readonly hasRoomToReplay: boolean;
  /** Sends what was missed: see `ReplayAllowance`. */
  replay(send: () => void): void;
  /** The whole connection. */
  close(code: number, reason: string): void;
  /** Room for what is said on subscriptions that have not begun. */
  readonly early: EarlyRoom;
  /** This subscription is over: its id and its topic are free. */
  ended(topic: FramedTopic, hadBegun: boolean): void;
}

/** Bytes and count of what a client may say on subscriptions of one connection before they have begun. */
export const earlyBytesMax = 1024 * 1024;
export const earlyCountMax = 4096;

/** What is taken of that. */
export interface EarlyRoom {
  bytes: number;
  count: number;
}

export interface FramedTopicName {
  readonly id: number;
  /** The object's key. */
  readonly object: string;
  readonly topic: string;
  /** Of the native topic whose messages it hears. */
  readonly native: string;
}

/**
 * One subscription on a connection for many. To the owner it is a client of the topic's endpoint, with a socket of its own; its
 * client hears of it in frames. It hears its topic and what is sent to its socket: topics to which an author's code subscribes
 * that socket besides are not heard, for the client has not asked for them.
 *
 *     begins ──connected──▶ open ──closed by either side, or with the connection──▶ over
 *       └──refused, or not wanted any longer──────────────────────────────────────────┘
 */
export class FramedTopic implements ClientConnection, Frontend {
  readonly isShared = true;
  readonly name: FramedTopicName;
  /** Of its request. */
  readonly headers: SharedHeaders;
  readonly #parent: FramedTopicParent;
  #state: FramedTopicState = { name: "begins", said: [], aborter: new AbortController() };
  #isListening = false;
  /** Native name of its topic's presence, where it is told of that. */
  #watched: string | undefined;

  constructor(name: FramedTopicName, headers: SharedHeaders, parent: FramedTopicParent) {
    this.name = name;
    this.headers = headers;
    this.#parent = parent;
    headers.hold();
  }

  get isOver(): boolean {
    return this.#state.name === "over";
  }
  /** Aborts where it is over before it has begun. */
  get signal(): AbortSignal {
    return this.#state.name === "begins" ? this.#state.aborter.signal : AbortSignal.abort();
  }

  // -- Frontend: the owner has accepted it

  get #socket(): EdgeSocket | undefined {
    return this.#state.name === "open" ? this.#state.socket : undefined;
  }

  clientAddress(): string {
    return this.#parent.clientAddress;
  }

  upgrade(_request: Request, _headers: Headers | undefined, socket: EdgeSocket): boolean {
    if (this.#state.name !== "begins") return false;
    const { said } = this.#state;
    this.#forgetSaid();
    this.#state = { name: "open", socket };
    socket.connected(this);
    for (const message of said) this.#socket?.received(message);
    return true;
  }

  // -- from the client

  /** Something to publish. */
  say(message: SocketData): void {
    if (this.#state.name !== "begins") return this.#socket?.received(message);
    const { early } = this.#parent;
    // What the last message may be is the class's to limit, so what counts is what was said before it.
    if (early.bytes > earlyBytesMax || early.count >= earlyCountMax)
      return this.end(1013, "Messages arrive faster than the subscription begins.");
    this.#state.said.push(message);
    early.bytes += message.length;
    early.count++;
  }

  /** It is over, and its client is told so. */
  end(code: number, reason: string): void {
    if (this.isOver) return;
    const socket = this.#finish();
    this.#parent.send(unsubscribedFrame(this.name, code, reason));
    socket?.disconnected(code, reason);
  }

  /** Its client is gone, or has been told why it did not begin. */
  drop(code: number, reason: string): void {
    if (!this.isOver) this.#finish()?.disconnected(code, reason);
  }

  #finish(): EdgeSocket | undefined {
    const socket = this.#socket;
    this.#stopListening();
    this.#stopWatching();
    this.#forgetSaid();
    const aborter = this.#state.name === "begins" ? this.#state.aborter : undefined;
    this.#state = { name: "over" };
    this.#parent.ended(this, aborter === undefined);
    aborter?.abort();
    return socket;
  }

  #forgetSaid(): void {
    if (this.#state.name !== "begins") return;
    const { early } = this.#parent;
    for (const { length } of this.#state.said) early.bytes -= length;
    early.count -= this.#state.said.length;
  }

  // -- ClientConnection: what the owner commands

  /** What became of a publish; anything else comes from an author's code, and is heard as a message. */
  send(message: SocketData): number {
    const { id, object, topic } = this.name;
    const sent = sentOn(message);
    if ("type" in sent) return this.#parent.send(outcomeFrame(id, sent));
    const { message: data } = sent;
    const form = typeof data === "string" ? "text" : "bytes";
    return this.#parent.send(messageFrame(messageStart(object, topic), { data, form, position: undefined }));
  }

  listen(name: string, _topic: string, start: TopicStart, presenceName: string): void {
    if (name !== this.name.native) return;
    const { position, recovered, missed, presence } = start;
    const { object, topic } = this.name;
    const messages = messageStart(object, topic);
    const tell = () => {
      this.#parent.send(subscribedFrame(this.name, position, recovered));
      for (const message of missed) this.#parent.send(messageFrame(messages, message));
    };
    if (missed.length === 0) tell();
    else if (this.#parent.hasRoomToReplay) this.#parent.replay(() => this.#parent.cork(tell));
    else return this.end(1013, "Read what other topics have said first.");
    if (start.slowReaders === undefined) this.#listen();
    if (presence?.snapshot === undefined || this.isOver) return;
    this.#parent.send(presenceFrame(object, topic, presence.snapshot));
    this.#watched = presenceName;
    this.#parent.subscribe(framedTopicName(presenceName));
  }

  hear(message: TopicMessage): void {
    const { object, topic } = this.name;
    // An author's code may have subscribed the socket to other topics, for which the client has not asked.
    if (message.topic === topic) this.#parent.send(this.#parent.names.frameFor(object, topic, message));
  }

  skipped(_: string, count: number): void {
    this.#parent.send(skippedFrame(this.name.object, this.name.topic, count));
  }

  subscribe(name: string): void {
    if (name !== this.name.native || this.#isListening) return;
    this.#parent.send(subscribedFrame(this.name, undefined, undefined));
    this.#listen();
  }

  unsubscribe(name: string): void {
    if (name === this.name.native) this.#stopListening();
    else if (name === this.#watched) this.#stopWatching();
  }

  #listen(): void {
    if (this.#isListening || this.isOver) return;
    const { native, object, topic } = this.name;
    this.#isListening = true;
    this.#parent.names.add(native, object, topic);
    this.#parent.subscribe(framedTopicName(native));
  }

  #stopListening(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    this.#parent.names.remove(this.name.native);
    this.#parent.unsubscribe(framedTopicName(this.name.native));
  }

  #stopWatching(): void {
    if (this.#watched !== undefined) this.#parent.unsubscribe(framedTopicName(this.#watched));
    this.#watched = undefined;
  }

  isSubscribed(name: string): boolean {
    if (name === this.#watched) return true;
    return this.#isListening && name === framedTopicName(this.name.native);
  }
  publish(name: string, message: SocketData): void {
    this.#parent.publish(name, message);
  }
  ping(): void {
    // The connection has pings of its own.
  }
  pong(): void {
    // As above.
  }

  /** Who is too slow for one subscription is too slow for all that share the connection. */
  close(code: number, reason: string): void {
    if (code === slowReaderCloseCode && !this.isOver) this.#parent.close(code, reason);
    else this.end(code, reason);
  }
  terminate(): void {
    this.end(1006, "");
  }
  getBufferedAmount(): number {
    return this.#parent.bufferedBytes();
  }
}

type FramedTopicState =
  | { readonly name: "begins"; readonly said: SocketData[]; readonly aborter: AbortController }
  | { readonly name: "open"; readonly socket: EdgeSocket }
  | { readonly name: "over" };
