import { controlBytesMax, slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicMessage, TopicStart } from "../topics/topic-message.ts";
import { presenceTopic } from "../topics/topic-presence.ts";
import type { LenientTopics } from "./lenient-topics.ts";

/**
 * One client's connection at its edge: a WebSocket of Bun's, an event stream, or a subscription on a WebSocket for many. They
 * differ in nothing that an owner could notice, except that an event stream never says anything.
 */
export interface ClientConnection {
  /** One of many on one connection: what waits for its client is counted there, once for all. */
  readonly isShared?: boolean;
  /** Bytes sent; -1 when queued; 0 when dropped because the client is too far behind. */
  send(message: SocketData): number;
  subscribe(name: string): void;
  /**
   * Subscribes to a topic whose messages have positions, or goes on with it after a gap: says where it stands, and then what was
   * missed; and to the topic's presence, where the client watches that. Absent where a client is not told of positions.
   */
  listen?(name: string, topic: string, start: TopicStart, presenceName: string): void;
  /** A message of a topic to which it is not subscribed natively. Absent where `send` does the same. */
  hear?(message: TopicMessage): void;
  /** So many messages of the topic are left out before the next. Absent where a client cannot be told. */
  skipped?(topic: string, count: number): void;
  unsubscribe(name: string): void;
  isSubscribed(name: string): boolean;
  /** To every other WebSocket of this edge that subscribes to `name`. */
  publish(name: string, message: SocketData): void;
  ping(data: SocketData): void;
  pong(data: SocketData): void;
  close(code: number, reason: string): void;
  terminate(): void;
  getBufferedAmount(): number;
  /** What is sent in the call leaves together. */
  cork?(send: () => void): unknown;
}

/** Who is told what the client does. */
export interface SocketOwner {
  opened(): void;
  message(message: SocketData): void;
  drained(): void;
  closed(code: number, reason: string): void;
}

/** What a process that serves WebSockets tells of one. */
export interface ServedClient {
  connected(connection: ClientConnection): void;
  received(message: SocketData): void;
  drained(): void;
  /** The client is gone, or never came. Only the first call counts. */
  disconnected(code: number, reason: string): void;
}

export interface EdgeSocketSetup {
  /** Where it hears topics whose slow readers are not closed. */
  readonly lenient: LenientTopics;
  /** What may wait for its client between two looks at who is too slow, of what is sent to it alone. */
  readonly sendableBytesMax: number;
  /** Its client is about to be closed because it reads too slowly. */
  readonly tooSlow: () => void;
  readonly forget: () => void;
}

/** Commands that reach a socket before its upgrade is answered wait here; more than this, and it is closed instead. */
const pendingCommandsMax = 256;

/** The name of an object's topic among this process's native topics. A key holds no newline, so no two can meet. */
export function nativeTopic(objectKey: string, topic: string): string {
  return `${objectKey}\n${topic}`;
}

/** The native topic of those who hear the same in frames (`framed-topic.ts`). No key begins with a newline, so none is another's. */
export function framedTopicName(nativeName: string): string {
  return `\n${nativeName}`;
}

export class EdgeSocket implements ServedClient {
  readonly socketId: number;
  readonly ref: ObjectRef;
  readonly #forget: () => void;
  readonly #tooSlow: () => void;
  readonly #lenient: LenientTopics;
  readonly #sendableBytesMax: number;
  /** Native names of the topics that it hears from there. */
  #lenientNames: Set<string> | undefined;
  #connection: ClientConnection | undefined;
  #owner: SocketOwner | undefined;
  #pending: ((connection: ClientConnection) => void)[] | undefined = [];
  #hasOverflowed = false;
  #isTooSlow = false;
  #isOver = false;

  constructor(
    socketId: number,
    ref: ObjectRef,
    { lenient, sendableBytesMax, tooSlow, forget }: EdgeSocketSetup,
  ) {
    this.socketId = socketId;
    this.ref = ref;
    this.#lenient = lenient;
    this.#sendableBytesMax = sendableBytesMax;
    this.#tooSlow = tooSlow;
    this.#forget = forget;
  }

  get hasOwner(): boolean {
    return this.#owner !== undefined;
  }

  /** Who is told. Set once, before the connection opens; told at once where the host has stopped meanwhile. */
  attachOwner(owner: SocketOwner): void {
    this.#owner = owner;
    if (this.#isOver) owner.closed(1006, "");
  }

  /** The client is connected. What the owner did meanwhile takes effect now, in order. */
  connected(connection: ClientConnection): void {
    this.#connection = connection;
    const pending = this.#pending ?? [];
    this.#pending = undefined;
    for (const command of pending) {
      command(connection);
      if (this.#isOver) return; // One of them was a close.
    }
    this.#owner?.opened();
  }

  received(message: SocketData): void {
    this.#owner?.message(message);
  }
  drained(): void {
    this.#owner?.drained();
  }

  /** The client is gone, or never came. Tells the owner, once. */
  disconnected(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const name of this.#lenientNames ?? []) this.#lenient.remove(name, this);
    this.#forget();
    this.#owner?.closed(code, reason);
    this.#connection = undefined;
  }

  // -- what the owner commands

  send(message: SocketData): number {
    if (this.#connection === undefined)
      return this.#later((connection) => connection.send(message), message.length);
    const sent = this.#connection.send(message);
    // Bun says -1 when it queued the message, which is no failure by itself, and 0 when it dropped it.
    if (sent === -1 && this.#connection.getBufferedAmount() > this.#sendableBytesMax) return -1;
    return sent === 0 && message.length > 0 ? -1 : message.length;
  }

  subscribe(topic: string): void {
    const name = nativeTopic(this.ref.key, topic);
    if (this.#connection) this.#connection.subscribe(name);
    else this.#later((connection) => connection.subscribe(name), 0);
  }

  listen(topic: string, start: TopicStart): void {
    const name = nativeTopic(this.ref.key, topic);
    const listen = (connection: ClientConnection) => {
      if (connection.listen) connection.listen(name, topic, start, this.#presenceName(topic));
      else if (start.slowReaders === undefined) connection.subscribe(name);
      this.#hearLeniently(name, topic, start, connection);
    };
    if (this.#connection) listen(this.#connection);
    else this.#later(listen, 0);
  }

  /** False where the client cannot be told. */
  hasMissed(topic: string, start: TopicStart): boolean {
    const connection = this.#connection;
    if (connection?.listen === undefined) return false;
    const name = nativeTopic(this.ref.key, topic);
    // The class may have another policy by now than when it began to listen.
    if (start.slowReaders) connection.unsubscribe(name);
    else this.#lenient.remove(name, this);
    connection.listen(name, topic, start, this.#presenceName(topic));
    this.#hearLeniently(name, topic, start, connection);
    return true;
  }

  #hearLeniently(
    name: string,
    topic: string,
    { slowReaders }: TopicStart,
    connection: ClientConnection,
  ): void {
    // It may have been too much for its client to be told where it stands.
    if (slowReaders === undefined || this.#isOver) return;
    this.#lenient.add(name, this, topic, connection, slowReaders);
    this.#lenientNames ??= new Set();
    this.#lenientNames.add(name);
  }

  #presenceName(topic: string): string {
    return nativeTopic(this.ref.key, presenceTopic(topic));
  }

  unsubscribe(topic: string): void {
    const name = nativeTopic(this.ref.key, topic);
    const presenceName = this.#presenceName(topic);
    const unsubscribe = (connection: ClientConnection) => {
      this.#lenient.remove(name, this);
      connection.unsubscribe(name);
      if (connection.isSubscribed(presenceName)) connection.unsubscribe(presenceName);
    };
    if (this.#connection) unsubscribe(this.#connection);
    else this.#later(unsubscribe, 0);
  }

  /** Bun throws for more than a frame takes, which would end the attachment of all other sockets of the object. */
  ping(data: SocketData): void {
    if (data.length <= controlBytesMax) this.#connection?.ping(data);
  }
  pong(data: SocketData): void {
    if (data.length <= controlBytesMax) this.#connection?.pong(data);
  }

  close(code: number, reason: string): void {
    if (this.#connection === undefined) return void this.#later(() => this.close(code, reason), 0);
    if (code === slowReaderCloseCode) this.noteTooSlow();
    this.#connection.close(code, reason);
  }

  /** Once, and not for one of many: their connection is closed, and counted. */
  noteTooSlow(): void {
    if (this.#isTooSlow || this.#isOver || this.isShared) return;
    this.#isTooSlow = true;
    this.#tooSlow();
  }

  terminate(): void {
    if (this.#connection) this.#connection.terminate();
    else this.#later((connection) => connection.terminate(), 0);
  }

  /** Whether what waits for its client is counted elsewhere. */
  get isShared(): boolean {
    return this.#connection?.isShared === true;
  }

  bufferedBytes(): number {
    return this.#connection?.getBufferedAmount() ?? 0;
  }

  /** Publishes to the other WebSockets; false where this socket is not among the subscribers, so that there is nobody to leave out. */
  publishToOthers(name: string, message: SocketData): boolean {
    if (!this.#connection?.isSubscribed(name)) return false;
    this.#connection.publish(name, message);
    return true;
  }

  #later(command: (connection: ClientConnection) => void, bytes: number): number {
    if (this.#pending === undefined || this.#isOver) return 0;
    if (this.#hasOverflowed) return -1;
    if (this.#pending.length < pendingCommandsMax) {
      this.#pending.push(command);
      return bytes;
    }
    this.#hasOverflowed = true;
    this.#pending = [() => this.close(slowReaderCloseCode, "The reader is too slow.")];
    return -1;
  }
}
