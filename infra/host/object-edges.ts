import { type Clock, sleep } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ClassDefinition } from "../object/options.ts";
import { noLongerHere } from "./activation-errors.ts";
import type { Activation } from "./activation.ts";
import { type AttachedObject, AttachedEdge } from "./attached-edge.ts";
import type {
  EdgeEvents,
  EdgeName,
  EdgePort,
  EdgePorts,
  LastWord,
  OwnerFacts,
  SocketRecord,
} from "./edge-port.ts";

import type { VirtualSocket } from "./virtual-socket.ts";

/** How long an object that wakes waits to hear which sockets it has; those of an edge that is later come while it runs. */
const rollCallLimitMs = 2000;

export interface ObjectEdgesSetup {
  readonly clock: Clock;
  readonly definition: Pick<ClassDefinition, "wakeOnClose">;
  /** Asked at each attachment. */
  facts(): OwnerFacts;
  /** Something has come for the object while it sleeps. */
  wake(): void;
  /** No edge is left. */
  emptied(): void;
}

/** An edge with what it holds of an object, as it travels with a move. */
export interface EdgeRecords {
  readonly edge: EdgeName;
  readonly records: readonly SocketRecord[];
  readonly lastWord: LastWord | undefined;
}

/**
 * All edges that hold sockets of one object, at its owner. It outlives the activation: while the object sleeps this is what is
 * left of it, so that whoever wakes it, wherever, brings back all of its sockets.
 */
export class ObjectEdges implements AttachedObject {
  readonly #setup: ObjectEdgesSetup;
  readonly #byProcess = new Map<string, AttachedEdge>();
  readonly #awaited = new Set<AttachedEdge>();
  #allRolled: (() => void) | undefined;
  #activation: Activation | undefined;
  #isOpen = false;
  /** The object is about to move: the edges keep what clients say. */
  #isHeld = false;
  /** Nobody here owns the object any more, and why. */
  #over: StatefulError | undefined;
  #wakesOnceTold = false;
  /** Sockets have gone since it was awake, which it wants to know. */
  #hasLostSockets = false;
  #isWaking = false;

  constructor(setup: ObjectEdgesSetup) {
    this.#setup = setup;
  }

  get activation(): Activation | undefined {
    return this.#activation;
  }
  get isOpen(): boolean {
    return this.#isOpen;
  }
  get wakesOnClose(): boolean {
    return this.#setup.definition.wakeOnClose;
  }
  get size(): number {
    return this.#byProcess.size;
  }
  get bufferedBytes(): number {
    let bytes = 0;
    for (const { port } of this.#byProcess.values()) bytes += port.bufferedBytes;
    return bytes;
  }
  /** Whether all edges can be told of a move. */
  get areReachable(): boolean {
    for (const { port } of this.#byProcess.values()) if (!port.isReachable) return false;
    return true;
  }

  at(process: string): AttachedEdge | undefined {
    return this.#byProcess.get(process);
  }

  /**
   * A new attachment, or another way to an edge whose port is over or is being replaced. Whoever has found the object may come
   * a turn too late: `not_owner` where it is over, for nobody would ever hear what its clients say (E26).
   */
  attach(edge: EdgeName, open: (events: EdgeEvents, facts: OwnerFacts) => EdgePort): AttachedEdge {
    if (this.#over) throw noLongerHere(this.#setup.facts().ref, this.#over);
    const attached = this.#byProcess.get(edge.process) ?? new AttachedEdge(edge, this);
    this.#byProcess.set(edge.process, attached);
    attached.connect((events) => open(events, this.#setup.facts()));
    if (this.#isHeld) attached.port.hold();
    return attached;
  }

  /** The object has moved here, and they with it. */
  arrived(all: readonly EdgeRecords[], owner: Pick<OwnerFacts, "session" | "epoch">, ports: EdgePorts): void {
    for (const { edge, records, lastWord: before } of all) {
      const cursors = new Map(records.map(({ number, handled }) => [number, handled]));
      const attached = this.attach(edge, (events, facts) =>
        ports.to(edge, { ...facts, ...owner, before }, cursors, events),
      );
      attached.expect(records);
    }
  }

  // -- the object's life

  /** Asks every edge for its sockets, and resolves when they have answered, or after a while. */
  async rollCall(): Promise<void> {
    // Also of those that come while it wakes: they tell their sockets by themselves.
    this.#isWaking = true;
    if (this.#byProcess.size === 0) return;
    const rolled = new Promise<void>((resolve) => {
      this.#allRolled = resolve;
    });
    for (const attached of this.#byProcess.values()) {
      this.#awaited.add(attached);
      attached.depopulate();
    }
    for (const attached of [...this.#byProcess.values()]) attached.rollCall();
    if (this.#awaited.size === 0) return;
    const late = new AbortController();
    await Promise.race([rolled, sleep(this.#setup.clock, rollCallLimitMs, late.signal)]);
    late.abort();
    this.#awaited.clear();
  }

  /** The object was awake when its last owner was lost: it is to be again, as soon as an edge has told its sockets. */
  wakeOnceTold(): void {
    this.#wakesOnceTold = true;
  }

  get isWaking(): boolean {
    return this.#isWaking;
  }

  rolled(edge: AttachedEdge): void {
    if (this.#awaited.delete(edge) && this.#awaited.size === 0) this.#allRolled?.();
    // Last: to wake asks for a roll call, in this very call, which is another than the one that has ended.
    if (!this.#wakesOnceTold || this.#awaited.size > 0) return;
    this.#wakesOnceTold = false;
    this.wake();
  }

  /** The object starts: it has its sockets, and no event yet. */
  starting(activation: Activation): void {
    this.#activation = activation;
    this.#isWaking = false;
    this.#hasLostSockets = false;
    for (const attached of this.#byProcess.values()) attached.populate(activation);
  }

  /** Events enter: those that waited first. */
  open(): void {
    this.#isOpen = true;
    this.#isHeld = false;
    for (const attached of [...this.#byProcess.values()]) attached.flush();
  }

  /** Events wait. `isMove`: so do the edges, with what clients say. */
  shut(isMove: boolean): void {
    this.#isOpen = false;
    this.#isHeld = isMove;
    if (isMove) for (const { port } of this.#byProcess.values()) port.hold();
  }

  /** The move was called off. */
  goOn(): void {
    this.#isHeld = false;
    for (const { port } of this.#byProcess.values()) port.goOn();
    if (this.#activation) this.open();
  }

  /** The activation has ended, and its sockets stay open: what comes next wakes the object. */
  sleep(): void {
    this.#isOpen = false;
    this.#isWaking = false;
    this.#activation = undefined;
    for (const attached of this.#byProcess.values()) {
      attached.fellAsleep();
      attached.port.asleep();
    }
    if (this.isWaiting || this.#hasLostSockets) this.wake();
  }

  /** The object lives on under that session: the edges go there. */
  moved(toSession: string, epoch: number): void {
    const over = new StatefulError("not_owner", "The object has moved.");
    for (const attached of this.#takeAll(over)) attached.port.moved(toSession, epoch);
  }

  /** Nobody here owns the object any more. */
  close(error: StatefulError): void {
    for (const attached of this.#takeAll(error)) attached.port.close(error);
  }

  /** Whether something has come that the object has not taken. */
  get isWaiting(): boolean {
    for (const attached of this.#byProcess.values()) if (attached.isWaiting) return true;
    return false;
  }

  get names(): readonly EdgeName[] {
    return Array.from(this.#byProcess.values(), ({ name }) => name);
  }

  records(): readonly EdgeRecords[] {
    return Array.from(this.#byProcess.values(), (attached) => ({
      edge: attached.name,
      records: attached.records(),
      lastWord: attached.port.lastWord,
    }));
  }

  forgetSocket(socket: VirtualSocket): void {
    for (const attached of this.#byProcess.values())
      if (attached === socket.edge) attached.forgetSocket(socket.socketId);
  }

  lostSockets(): void {
    if (!this.wakesOnClose || this.#byProcess.size === 0) return;
    this.#hasLostSockets = true;
    this.wake();
  }

  wake(): void {
    if (this.#activation === undefined) this.#setup.wake();
  }

  forget(edge: AttachedEdge): void {
    if (this.#byProcess.get(edge.name.process) !== edge) return;
    this.#byProcess.delete(edge.name.process);
    this.rolled(edge);
    if (this.#byProcess.size === 0) this.#setup.emptied();
  }

  #takeAll(over: StatefulError): readonly AttachedEdge[] {
    this.#isOpen = false;
    this.#over ??= over;
    const all = [...this.#byProcess.values()];
    this.#byProcess.clear();
    for (const attached of all) attached.dropHeld();
    return all;
  }
}
