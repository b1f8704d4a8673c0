import type { StatefulError } from "../lib/errors.ts";
import type { AcceptedUpgrade } from "../object/event.ts";
import { saidWithin } from "../object/subscription-message.ts";
import { isLongerThan, type SocketData } from "../object/socket-message.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import type { TopicMessage } from "../topics/topic-message.ts";
import type { Activation } from "./activation.ts";
import type { EdgeEvents, EdgeName, EdgePort, SocketRecord, UpgradeHead } from "./edge-port.ts";
import { WaitingHeads } from "./waiting-heads.ts";
import { VirtualSocket } from "./virtual-socket.ts";

/** Events of one edge that wait for an object to wake or to go on; past it the socket of the next is closed with 1013. */
export const heldEventsMax = 16_384;

/** What an attached edge asks of the object. */
export interface AttachedObject {
  /** Present while the object is awake, from before its `onStart` on. */
  readonly activation: Activation | undefined;
  /** Whether events may enter now; otherwise they wait here. */
  readonly isOpen: boolean;
  readonly wakesOnClose: boolean;
  /** Whether the object is about to be awake: then it keeps what its edges tell of their sockets. */
  readonly isWaking: boolean;
  /** Something has come that the object has to be awake for. */
  wake(): void;
  /** All sockets of the edge have been told. */
  rolled(edge: AttachedEdge): void;
  forget(edge: AttachedEdge): void;
  /** Sockets have gone with their edge, and the object could not be told. */
  lostSockets(): void;
}

/**
 * One edge at the owner of an object, with the sockets that it holds. While the object sleeps there are none of them here:
 * an edge with a hundred thousand idle sockets costs its owner what one with a single socket does.
 */
export class AttachedEdge implements EdgeEvents, TopicEdge {
  readonly name: EdgeName;
  readonly #object: AttachedObject;
  #port: EdgePort | undefined;
  readonly #sockets = new Map<number, VirtualSocket>();
  /** What came while events could not enter, in order. */
  #held: HeldEvent[] = [];
  /** Records that were told and are not sockets yet. */
  readonly #told = new Map<number, SocketRecord>();
  /** Each until the next event of its socket, which may have to wait for the object. */
  readonly #heads = new WaitingHeads();
  /** The edge was asked for its sockets and has not told them all: an event may be of one that is not known yet. */
  #isUntold = false;
  /** Asked on this channel: what it told before it heard that is older than its answer. */
  #isCalled = false;
  /** It has come by itself, and what it tells first has to be known. */
  #isAwaited = false;
  /** How far it has come in topics of which nothing is sent to it yet. */
  #positions: ReadonlyMap<string, string> = new Map();
  /** Numbers in the parts of a roll that has not ended. */
  #rolling: Set<number> | undefined;

  constructor(name: EdgeName, object: AttachedObject) {
    this.name = name;
    this.#object = object;
  }

  get port(): EdgePort {
    if (this.#port === undefined) throw new TypeError("An edge is used before it is attached.");
    return this.#port;
  }

  /** A first way to the edge, or another in the place of one that is over. */
  connect(open: (events: EdgeEvents) => EdgePort): void {
    this.#port = open(this);
    this.#isCalled = false;
  }

  /**
   * How many messages of each socket are taken, for an edge that sends what comes after them. What it has sent, and what
   * waits here, comes again.
   */
  cursors(): ReadonlyMap<number, number> {
    this.#held = this.#held.filter(({ comesAgain }) => !comesAgain);
    // It tells all that is not known here by itself, once it has heard everything that was said: its answer may be lost.
    this.#isCalled = false;
    const cursors = new Map<number, number>();
    for (const { number, handled } of this.#told.values()) cursors.set(number, handled);
    for (const [number, socket] of this.#sockets) cursors.set(number, socket.taken);
    return cursors;
  }

  /** The class has accepted the upgrade. Throws `queue_full` where the object has all the sockets it may. */
  accept(
    activation: Activation,
    number: number,
    accepted: AcceptedUpgrade,
    client: Pick<SocketRecord, "id" | "remoteAddress" | "kind">,
  ): VirtualSocket {
    const nothing = { subscriptions: [], presence: [], tags: [], attachment: undefined, handled: 0 };
    const record: SocketRecord = { ...client, ...nothing, number, phase: "accepted" };
    const socket = this.#socket(activation, record, accepted);
    activation.addSocket(socket);
    this.#sockets.set(number, socket);
    return socket;
  }

  // -- what the object's owner does

  /** Makes sockets of what the edge has told: the object is awake. */
  populate(activation: Activation): void {
    if (this.#isUntold) activation.hub.untold(this);
    for (const topic of this.#positions.keys()) activation.hub.fellBehind(topic, this);
    for (const record of this.#told.values()) this.#add(activation, record);
    this.#told.clear();
    if (!this.#isUntold) this.#catchUp(activation);
  }

  /** The object sleeps. Who has not told its sockets by then is waited for: they may lack what was said meanwhile. */
  fellAsleep(): void {
    if (this.#isUntold) this.#isAwaited = true;
    this.depopulate();
  }

  /** The object sleeps, moves or is over: nothing of its sockets is left here, and they stay open. */
  depopulate(): void {
    this.#sockets.clear();
    this.#told.clear();
    this.#positions = new Map(); // With the next roll it says them again.
  }

  /** Asks for all of its sockets. What it tells meanwhile waits. */
  rollCall(): void {
    this.#isUntold = true;
    this.#isCalled = true;
    this.port.rollCall();
  }

  get #mayEnter(): boolean {
    return this.#object.isOpen && !this.#isUntold;
  }

  /** Told of in a package: an edge of an object that has moved here. */
  expect(records: readonly SocketRecord[]): void {
    for (const record of records) this.#told.set(record.number, record);
  }

  /**
   * An edge has come by itself, from an owner that was lost. Of its sockets an object that is awake is to know, though it may be asleep
   * by the time that they are told; and one that wakes for a socket that closes, at once: others may have gone with that owner.
   */
  expectRoll(): void {
    const { activation, wakesOnClose } = this.#object;
    this.#isAwaited = activation !== undefined || wakesOnClose;
  }

  /** Whether something waits for the object. */
  get isWaiting(): boolean {
    return this.#held.length > 0;
  }

  records(): readonly SocketRecord[] {
    return Array.from(this.#sockets.values(), (socket) => socket.record());
  }

  /** What waited, in its order. */
  flush(): void {
    while (this.#mayEnter) {
      const held = this.#held.shift();
      if (held === undefined) return;
      held.run();
    }
  }

  /** The next owner has them: the edge sends again what was not taken. */
  dropHeld(): void {
    this.#held = [];
    this.#heads.clear();
  }

  /** The socket whose event comes now, with what its hooks need if they are to run before that. */
  #socketAt(number: number): VirtualSocket | undefined {
    const socket = this.#sockets.get(number);
    const head = this.#heads.take(number) ?? (socket?.isHeadless ? this.port.headOf(number) : undefined);
    if (head) socket?.upgradedBy(head);
    return socket;
  }

  forgetSocket(number: number): void {
    this.#sockets.delete(number);
  }

  publish(objectKey: string, message: TopicMessage, exceptSocketId: number): boolean {
    return this.port.publish(objectKey, message, exceptSocketId);
  }

  /** It has told who listens: what they have missed goes before anything new. */
  #catchUp(activation: Activation): void {
    for (const [topic, position] of this.#positions) {
      // Nobody listens there: who begins now is told where they begin.
      if (activation.hub.reaches(topic, this)) activation.catchUp(this, topic, position);
      else activation.hub.caughtUp(topic, this);
    }
    this.#positions = new Map();
  }

  // -- what the edge tells (EdgeEvents)

  /** Of topics that are not sent to it so far: it may lack what was published meanwhile. */
  positions(positions: ReadonlyMap<string, string>): void {
    const hub = this.#object.activation?.hub;
    const behind = this.#positions;
    // Those of a roll that was cut in two are behind still, though some who listen there are known by now.
    const isDue = (topic: string) => behind.has(topic) || !hub?.reaches(topic, this);
    this.#positions = new Map([...behind, ...[...positions].filter(([topic]) => isDue(topic))]);
    for (const topic of this.#positions.keys()) hub?.fellBehind(topic, this);
  }

  roll(records: readonly SocketRecord[], scope: "all" | "missing", isLast: boolean): void {
    const { activation } = this.#object;
    const isAll = scope === "all";
    if (this.#isCalled && !isAll) return; // What it was sent since then it does not count as heard.
    if (isAll) this.#rolling ??= new Set();
    for (const record of this.#untaken(records)) {
      this.#rolling?.add(record.number);
      if (this.#sockets.has(record.number)) continue;
      if (activation) this.#add(activation, record);
      else if (this.#object.isWaking) this.#told.set(record.number, record);
    }
    if (this.#isAwaited && activation === undefined && records.length > 0) this.#object.wake();
    if (!isLast) return;
    this.#isAwaited = false;
    this.#isCalled = false;
    const all = this.#rolling;
    this.#rolling = undefined;
    this.#isUntold = false;
    activation?.hub.told(this);
    if (activation) this.#catchUp(activation);
    if (all) this.#closeMissing(all);
    this.#object.rolled(this);
    this.flush();
  }

  /** What was told before the roll, and waits here, nobody has taken: its sockets count it once, when it is its turn. */
  #untaken(records: readonly SocketRecord[]): readonly SocketRecord[] {
    if (!this.port.isDirect || this.#held.length === 0) return records;
    const waiting = new Map<number, number>();
    for (const { messageOf } of this.#held)
      if (messageOf !== undefined) waiting.set(messageOf, (waiting.get(messageOf) ?? 0) + 1);
    return records.map((record) => ({
      ...record,
      handled: record.handled - (waiting.get(record.number) ?? 0),
    }));
  }

  /** Is not in the line of events: one that waits may be what needs it. */
  head(number: number, head: UpgradeHead): void {
    if (!this.#heads.put(number, head)) this.#refuse(number);
  }

  opened(number: number): void {
    this.#enter(true, () => this.#opened(number), "wake");
  }

  message(number: number, message: SocketData): void {
    if (this.#mayEnter && this.#held.length === 0) return this.#message(number, message);
    if (this.#held.length >= heldEventsMax) return this.#refuse(number);
    this.#held.push({ comesAgain: true, messageOf: number, run: () => this.#message(number, message) });
    this.#object.wake();
  }

  #refuse(number: number): void {
    this.port.carrier(number).close(1013, "The object has too many open events.");
  }

  drained(number: number): void {
    if (this.#mayEnter) void this.#sockets.get(number)?.drained();
  }

  closed(number: number, code: number, reason: string): void {
    const { wakesOnClose, activation } = this.#object;
    if (!activation && !wakesOnClose) return void this.#heads.take(number);
    const isKnown = this.#sockets.has(number) || this.#told.has(number);
    this.#enter(isKnown, () => void this.#socketAt(number)?.closed(code, reason), "wake");
  }

  lost(error: StatefulError): void {
    const { isOpen, activation } = this.#object;
    activation?.hub.forget(this);
    this.#isUntold = false;
    this.#positions = new Map();
    this.#object.forget(this);
    this.#held = [];
    for (const [number, socket] of [...this.#sockets]) {
      // Nothing runs in an object that moves or stops: their `close` is best effort.
      if (isOpen) void this.#socketAt(number)?.closed(1006, error.message);
      else socket.left();
    }
    this.#sockets.clear();
    this.#heads.clear();
    if (!isOpen) this.#object.lostSockets();
  }

  #closeMissing(all: ReadonlySet<number>): void {
    // One that is about to be opened was accepted after the edge was asked.
    for (const [number, socket] of [...this.#sockets])
      if (!all.has(number) && socket.readyState !== 0)
        this.#enter(false, () => void this.#socketAt(number)?.closed(1006, ""), "wait");
  }

  #enter(comesAgain: boolean, run: () => void, whenAsleep: "wake" | "wait"): void {
    if (this.#mayEnter && this.#held.length === 0) return run();
    this.#held.push({ comesAgain, run });
    if (whenAsleep === "wake") this.#object.wake();
  }

  #opened(number: number): void {
    const socket = this.#socketAt(number);
    if (socket === undefined) return;
    const opening = socket.opened();
    const { activation } = this.#object;
    // What its handler did has to leave before nobody has to hear of it again: the next owner would run it otherwise.
    const known = () => activation?.opened(socket);
    if (opening === undefined) known();
    else void opening.finally(known);
  }

  #message(number: number, message: SocketData): void {
    const socket = this.#socketAt(number);
    const { activation } = this.#object;
    if (activation === undefined) return;
    // Better told than waiting for answers that never come.
    if (socket === undefined) return this.port.carrier(number).close(1012, "Connect again.");
    const { messageBytesMax } = activation.runtime.definition.limits;
    const isShared = socket.kind === "subscription"; // with others, which one message must not end
    if (!isShared && isLongerThan(message, messageBytesMax))
      return socket.close(1009, "The message is over the limit.");
    activation.eventsTaken += 1;
    activation.cameFrom(this.name.region);
    const handling = socket.received(isShared ? saidWithin(message, messageBytesMax) : message);
    if (handling === undefined) activation.acknowledge(socket);
    else void handling.finally(() => activation.acknowledge(socket));
  }

  #add(activation: Activation, record: SocketRecord): void {
    const socket = this.#socket(activation, record, undefined);
    activation.keepSocket(socket);
    this.#sockets.set(record.number, socket);
  }

  #socket(
    activation: Activation,
    record: SocketRecord,
    hooks: Pick<AcceptedUpgrade, "behaviour" | "data"> | undefined,
  ): VirtualSocket {
    return new VirtualSocket(activation, {
      record,
      carrier: this.port.carrier(record.number),
      edge: this,
      hooks,
    });
  }
}

interface HeldEvent {
  /** Whether the edge says it again on its next channel. */
  readonly comesAgain: boolean;
  /** The socket whose client has said it. */
  readonly messageOf?: number;
  readonly run: () => void;
}
