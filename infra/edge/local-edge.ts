import type {
  EdgeEvents,
  EdgeName,
  EdgePort,
  OwnerFacts,
  SocketRecord,
  UpgradeHead,
} from "../host/edge-port.ts";
import { type SocketCarrier, slowReaderCloseCode } from "../host/virtual-socket.ts";
import { StatefulError } from "../lib/errors.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicMessage, TopicStart } from "../topics/topic-message.ts";
import { heldBytesMax, heldCountMax } from "./channel-line.ts";
import type { HeldSocket } from "./held-socket.ts";
import type { HeldSockets } from "./held-sockets.ts";
import type { OwnerLine } from "./owner-line.ts";
import type { RollScope } from "./socket-records.ts";

export interface LocalEdgeSetup {
  readonly edge: EdgeName;
  readonly facts: OwnerFacts;
  readonly events: EdgeEvents;
  readonly held: HeldSockets;
  /** Names the attachment: no two have the same. */
  readonly id: string;
  readonly cursors: ReadonlyMap<number, number>;
  /** A publish of the object, to all who subscribe to the topic here. */
  publish(message: TopicMessage, except: number): void;
}

/**
 * An attachment whose two ends are in one process: straight calls, in both directions. Only what an owner says before the edge
 * listens to it waits, as it would on a channel.
 */
export class LocalEdge implements EdgePort, OwnerLine {
  readonly edge: EdgeName;
  readonly process: string;
  readonly isDirect: boolean;
  readonly isClear = true;
  readonly isRegistered = true;
  readonly #setup: LocalEdgeSetup;
  /** What the owner said before the edge listens to it; undefined once it does. */
  #waiting: (() => void)[] | undefined = [];
  #waitingBytes = 0;
  /** What the edge tells before the owner's call that made this has returned; undefined afterwards. */
  #early: (() => void)[] | undefined = [];
  #isOver = false;

  constructor(setup: LocalEdgeSetup) {
    this.#setup = setup;
    this.edge = setup.edge;
    this.process = setup.edge.process;
    this.isDirect = !setup.facts.redeliver; // A message that may have to be said again is kept until it is handled.
    queueMicrotask(() => this.#tellEarly());
  }

  /** Says hello. */
  begin(): void {
    const { held, id, cursors, facts } = this.#setup;
    const { session, epoch, autoResponse, redeliver, wakeOnClose, before } = facts;
    const owner = { session, epoch, autoResponse, redeliver, wakeOnClose, before };
    held.offer(this, { ...owner, port: id, after: 0, upTo: 0, cursors });
  }

  headOf(socketNumber: number): UpgradeHead | undefined {
    return this.#setup.held.at(socketNumber)?.client.head;
  }
  get isReachable(): boolean {
    return !this.#isOver;
  }
  /** What is said here is heard. */
  get lastWord(): undefined {
    return undefined;
  }
  get bufferedBytes(): number {
    return this.#waitingBytes;
  }
  /** Whether what the owner says takes effect at once. */
  get isLive(): boolean {
    return this.#waiting === undefined && !this.#isOver;
  }

  // -- from the owner

  carrier(socketNumber: number): SocketCarrier {
    return new LocalCarrier(this, this.#setup.held, socketNumber);
  }

  publish(_objectKey: string, message: TopicMessage, except: number): boolean {
    if (this.isLive) this.#publish(message, except);
    else this.command(() => this.#publish(message, except), message.data.length);
    return true;
  }

  #publish(message: TopicMessage, except: number): void {
    this.#setup.held.topics.published(message);
    this.#setup.publish(message, except);
  }

  fill(topic: string, start: TopicStart): boolean {
    const publish = (message: TopicMessage) => this.#setup.publish(message, 0);
    this.command(() => this.#setup.held.topics.fill(topic, start, publish), bytesOf(start));
    return true;
  }

  rollCall(): void {
    this.command(() => this.#setup.held.rollCall(this));
  }
  asleep(): void {
    this.command(() => this.#setup.held.asleep());
  }
  hold(): void {
    this.command(() => this.#setup.held.hold());
  }
  goOn(): void {
    this.command(() => this.#setup.held.goOn());
  }

  moved(toSession: string, epoch: number): void {
    this.#last(() => this.#setup.held.moved(this, { session: toSession, epoch }));
  }

  close(_error?: StatefulError): void {
    this.#last(() => this.#setup.held.ended(this));
  }

  #last(word: () => void): void {
    this.command(word);
    this.#isOver = true;
  }

  /** Takes effect now, or as soon as the edge listens. */
  command(apply: () => void, bytes = 0): void {
    if (this.#isOver) return;
    if (this.#waiting === undefined) return apply();
    this.#waiting.push(apply);
    this.#waitingBytes += bytes;
    if (this.#waitingBytes > heldBytesMax || this.#waiting.length > heldCountMax) this.#overflow();
  }

  #overflow(): void {
    const { held } = this.#setup;
    held.closeAll(slowReaderCloseCode, "Too much was said while the object moved.");
    this.end(new StatefulError("backpressure", "Too much was said before the last owner had ended."));
    held.ended(this);
  }

  goLive(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.#waitingBytes = 0;
    for (const apply of waiting) if (this.#setup.held.isCurrent(this)) apply();
  }

  // -- to the owner

  tellPositions(positions: ReadonlyMap<string, string>): void {
    this.#tell(() => this.#setup.events.positions(positions));
  }
  tellRoll(records: readonly SocketRecord[], scope: RollScope): void {
    this.#tell(() => this.#setup.events.roll(records, scope, true));
  }
  tellHead(socketNumber: number, head: UpgradeHead): void {
    this.#tell(() => this.#setup.events.head(socketNumber, head));
  }
  tellOpened(socketNumber: number): void {
    this.#tell(() => this.#setup.events.opened(socketNumber));
  }
  tellMessage(socketNumber: number, message: SocketData): void {
    if (this.#early) this.#early.push(() => this.#setup.events.message(socketNumber, message));
    else if (!this.#isOver) this.#setup.events.message(socketNumber, message);
  }
  tellDrained(socketNumber: number): void {
    this.#tell(() => this.#setup.events.drained(socketNumber));
  }
  tellClosed(socketNumber: number, code: number, reason: string): void {
    this.#tell(() => this.#setup.events.closed(socketNumber, code, reason));
  }
  reportApplied(): void {
    // What is said here is applied.
  }

  /** Ended by the edge. */
  end(error = new StatefulError("not_found", "No client of the object is connected here any more.")): void {
    if (this.#isOver) return;
    this.#isOver = true;
    queueMicrotask(() => this.#setup.events.lost(error));
  }

  #tell(event: () => void): void {
    if (this.#early) this.#early.push(event);
    else if (!this.#isOver) event();
  }

  #tellEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const event of early) if (!this.#isOver) event();
  }
}

/** What a handler does to a socket of its own host. */
class LocalCarrier implements SocketCarrier {
  readonly #line: LocalEdge;
  readonly #held: HeldSockets;
  readonly #number: number;
  #socket: HeldSocket | undefined;

  constructor(line: LocalEdge, held: HeldSockets, socketNumber: number) {
    this.#line = line;
    this.#held = held;
    this.#number = socketNumber;
  }

  send(message: SocketData): number {
    if (this.#line.isLive) return this.#at()?.send(message) ?? 0;
    this.#line.command(() => this.#sendLate(message), message.length);
    return message.length;
  }
  subscribe(topic: string): void {
    this.#command((socket) => socket.subscribe(topic));
  }
  listen(topic: string, start: TopicStart): boolean {
    this.#line.command(() => this.#held.topics.listen(this.#number, topic, start), bytesOf(start));
    return true;
  }
  unsubscribe(topic: string): void {
    this.#command((socket) => socket.unsubscribe(topic));
  }
  ping(data: SocketData): void {
    this.#command((socket) => socket.ping(data));
  }
  pong(data: SocketData): void {
    this.#command((socket) => socket.pong(data));
  }
  close(code: number, reason: string): void {
    this.#command((socket) => socket.close(code, reason));
  }
  terminate(): void {
    this.#command((socket) => socket.terminate());
  }
  handled(count: number): void {
    if (count === 0 || !this.#line.isDirect) this.#command((socket) => socket.handled(count));
  }
  keep(attachment: Uint8Array | undefined, tags: readonly string[]): void {
    this.#command((socket) => socket.keep(attachment, tags));
  }
  bufferedBytes(): number {
    return this.#at()?.bufferedBytes() ?? 0;
  }

  #command(apply: (socket: HeldSocket) => void): void {
    this.#line.command(() => {
      const socket = this.#at();
      if (socket) apply(socket);
    });
  }

  #sendLate(message: SocketData): void {
    const socket = this.#at();
    if (socket?.send(message) === -1) socket.close(slowReaderCloseCode, "The reader is too slow.");
  }

  #at(): HeldSocket | undefined {
    this.#socket ??= this.#held.at(this.#number);
    return this.#socket;
  }
}

function bytesOf({ missed }: TopicStart): number {
  return missed.reduce((bytes, { data }) => bytes + data.length, 0);
}
