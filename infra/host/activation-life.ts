import { nanoid } from "nanoid";
import type { Session } from "../lease/leases.ts";
import { nothingStored } from "../lease/stored-objects.ts";
import { withTimeLimit } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { StartFacts, StopReason } from "../object/context.ts";
import type { ObjectEvent, ObjectScope } from "../object/event.ts";
import { MoveInEvent, ScopeHandles, StartEvent, StopEvent } from "../object/handles.ts";
import type { AlarmFiring } from "../storage/alarm-book.ts";
import { startingState } from "../storage/state-keeper.ts";
import { decodeRecord } from "../storage/storage-codec.ts";
import { ActivationEvents } from "./activation-events.ts";
import { handleOver, moveCalledOff, outcomeUnknown, startFailed } from "./activation-errors.ts";
import { adopted, type Phase, suspended, whyNotReleasing } from "./activation-phase.ts";
import type { ActivationHost, ActivationSetup, StoredObject } from "./activation-setup.ts";
import { ActivationStore } from "./activation-store.ts";
import type { Adoptable } from "./adoption.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import type { StoredSpans } from "./history-keeper.ts";
import { InputGate } from "./input-gate.ts";
import { type KeptHistories, TopicHistories } from "../topics/topic-histories.ts";
import { runHook } from "./lifecycle-hook.ts";
import type { ObjectEdges } from "./object-edges.ts";
import type { MovePackage } from "./move-package.ts";
import { Resumption } from "./resumption.ts";
import { migrateStored, type StoredVersion, versionOf } from "./migration.ts";

const resumeWaitLimitMs = 30_000;
/** How long a stop waits for what is not written or not durable yet; then the activation ends, and nobody was told of it. */
const saveLimitMs = 15_000;

/**
 * The life of an activation: its phase, what it stores, and how it starts, stops, waits for its lease and ends. What
 * happens to it while it lives is in `activation.ts`.
 */
export abstract class ActivationLife extends ActivationEvents implements Adoptable {
  readonly ref: ObjectRef;
  readonly runtime: ClassRuntime;
  readonly startedAtMs: number;
  startedFor: StartFacts["reason"] | undefined;
  protected readonly machine: ActivationHost;
  protected currentState: object;
  /** Set when it ends. */
  protected keepsSockets = false;
  /** When the state was last looked at for a snapshot. */
  snapshotAtMs: number;
  /** Undefined where no topic of the class has one. */
  readonly histories: TopicHistories | undefined;
  protected gate: InputGate | undefined;
  protected store: ActivationStore | undefined;
  #phase: Phase;
  #epoch: number;
  readonly #resumption = new Resumption();
  #nextAlarmMs: number | undefined;

  constructor(setup: ActivationSetup) {
    super();
    const { ref, runtime, session, epoch, host, carriedState, stored, topics, storedTopics } = setup;
    this.ref = ref;
    this.runtime = runtime;
    this.machine = host;
    this.#phase = { name: "starting", session };
    this.#epoch = epoch;
    const state = stored?.record && decodeRecord(stored.record).state;
    this.currentState = carriedState ?? startingState(runtime.definition.state(), state);
    this.startedAtMs = host.clock.wallMs();
    this.snapshotAtMs = host.clock.monotonicMs();
    const { histories } = runtime.definition;
    if (histories.size > 0) this.histories = new TopicHistories(histories, host.stores.nowMs);
    if (topics) this.histories?.restore(topics);
    if (stored) this.store = this.#openStore(stored, storedTopics);
  }

  /** Undefined where no client has ever been connected. */
  abstract readonly attachedEdges: ObjectEdges | undefined;
  /** What authors' code is given. */
  protected abstract readonly scope: ObjectScope;
  /** The next session has adopted it, and it is live again. */
  protected abstract confirmed(): void;
  /** It is over: sockets, timers and streams end with it. */
  protected abstract ended(cause: StatefulError): void;
  /** Runs the class's `onAlarm` as an event. `settled`: it has succeeded, and what it changed is about to be saved. */
  protected abstract fire(firing: AlarmFiring, settled: () => void): Promise<void>;

  get phase(): Phase {
    return this.#phase;
  }
  /** Of its lease, the last that it had. */
  get epoch(): number {
    return this.#epoch;
  }
  /** Whether it has stored anything, or has read what it has stored. */
  get isStored(): boolean {
    return this.store !== undefined;
  }

  get suspendedUnder(): string | undefined {
    return this.#phase.name === "suspended" ? this.#phase.session.id : undefined;
  }
  get isOver(): boolean {
    return this.#phase.name === "over";
  }
  protected get overBecause(): StatefulError | undefined {
    return this.#phase.name === "over" ? this.#phase.cause : undefined;
  }
  /** Whether it may serve now. */
  get isLive(): boolean {
    return this.#phase.name === "live" ? this.#phase.session.isValid() : this.isDegraded;
  }
  /** It serves although nobody confirms that it may (L8): another copy may have come to life elsewhere. */
  get isDegraded(): boolean {
    return this.#phase.name === "suspended" && this.#phase.isServing;
  }
  /** The state, whatever the phase: what a class that is reloaded in dev takes along. */
  get lastState(): object {
    return this.currentState;
  }

  /** Brings what is stored up to date and runs the hooks of a start. Resolves when the activation is live; rejects, and is over, when it cannot be. */
  async start(facts: StartFacts, stored?: StoredObject, carried?: unknown): Promise<void> {
    if (this.#phase.name === "over") throw this.#phase.cause;
    if (this.#phase.name !== "starting") throw new StatefulError("internal", `${this.ref.key} starts twice.`);
    const { session } = this.#phase;
    this.startedFor = facts.reason;
    const { onMoveIn, onStart, onAlarm } = this.runtime.definition;
    const { clock } = this.machine;
    try {
      if (this.store && stored) await migrateStored(this.store, this.#storedVersion(stored));
      if (onMoveIn && facts.reason === "move")
        await runHook(clock, "onMoveIn", () => onMoveIn(new MoveInEvent(this.scope, carried)));
      if (onStart) await runHook(clock, "onStart", () => onStart(new StartEvent(this.scope, facts)));
    } catch (thrown) {
      const isOurs = thrown instanceof StatefulError && thrown.code === "start_failed";
      const cause = isOurs ? thrown : startFailed(this.ref, this.reportFailure(thrown, undefined), thrown);
      this.end(cause);
      throw cause;
    }
    // It may have ended meanwhile, which the compiler cannot know.
    if (this.phase.name === "over") throw this.phase.cause;
    this.store?.handlerEnded();
    // The session may have ended while onStart ran: then the next one adopts this activation or ends it, like any other.
    this.#phase = { name: "live", session, epoch: this.#epoch };
    if (!session.isValid()) this.suspend();
    else if (onAlarm) this.store?.alarms.start();
  }

  // -- a planned move (L7)

  /** No event enters from here on. False where the activation cannot move now. */
  beginMove(): boolean {
    if (this.#phase.name !== "live" || !this.#phase.session.isValid()) return false;
    const { session, epoch } = this.#phase;
    this.#phase = { name: "moving", session, epoch, isPacked: false };
    this.store?.alarms.pause();
    return true;
  }

  /**
   * Runs `onMoveOut`, has all that was written made durable and all that was said told, and is, in that very turn, packed for the
   * host that goes on with it: from there on it writes nothing, and tells nobody of anything, until the move is called off. `pack`
   * makes a copy, for the object's code may run on. Rejects where the move must not be.
   */
  async readyToMove<T>(pack: (moved: MovePackage) => T): Promise<T> {
    const moving = this.#phase;
    const { onMoveOut } = this.runtime.definition;
    let carried: unknown;
    if (onMoveOut)
      await runHook(this.machine.clock, "onMoveOut", async () => {
        carried = await onMoveOut(new ScopeHandles(this.scope));
      });
    const packed = () => {
      this.checkMoving();
      if (this.#phase !== moving) throw moveCalledOff(); // This one was, and the next is under way.
      return pack(this.#pack(carried));
    };
    // What a handler that was cut off goes on to say meanwhile has to be told here, or it is told to nobody.
    return this.store ? this.#inTime(this.store.saveAll(packed)) : packed();
  }

  #pack(carried: unknown): MovePackage {
    if (this.#phase.name === "moving") this.#phase = { ...this.#phase, isPacked: true };
    this.store?.pause();
    const known = this.store?.known;
    return {
      state: this.currentState,
      version: known?.version ?? this.runtime.definition.version,
      carried,
      stored: known?.stored,
      edges: this.attachedEdges?.records() ?? [],
      topics: this.histories?.kept(),
      storedTopics: this.store?.histories?.spans,
      sinceMs: this.machine.stores.nowMs(),
      nextAlarmMs: undefined,
    };
  }

  /** What its next activation here needs of its topics; undefined where that is stored, or where there is nothing. */
  get topicsAsleep(): KeptHistories | undefined {
    return this.runtime.definition.durability === "storage" ? undefined : this.histories?.kept();
  }

  /** Throws where it may not go on moving: its session is over, or it is. */
  checkMoving(): void {
    if (this.phase.name === "moving" && this.phase.session.isValid()) return;
    throw whyNotReleasing(this.phase, this.ref) ?? moveCalledOff();
  }

  /** The move was called off: it lives on here. */
  cancelMove(): void {
    if (this.#phase.name !== "moving") return;
    const { session, epoch } = this.#phase;
    this.#phase = { name: "live", session, epoch };
    if (!session.isValid()) return this.suspend();
    this.store?.resume(session.id, epoch);
    this.#resumption.goOn();
  }

  /** Takes no new event, waits up to `quietLimitMs` for open ones, cuts the rest off, runs `onStop`, saves, and ends. */
  async stop(reason: StopReason, quietLimitMs: number): Promise<void> {
    if (this.#phase.name !== "live") return;
    this.#phase = { ...this.#phase, name: "stopping", onStop: "waiting" };
    this.store?.alarms.pause();
    const { clock } = this.machine;
    this.endEventStreams();
    const isQuiet = await this.quiet(clock, quietLimitMs);
    if (this.phase.name === "stopping" && !isQuiet && reason !== "idle")
      await this.cutOff(clock, new StatefulError("host_draining", `${this.ref.key} stops (${reason}).`));
    if (this.phase.name !== "stopping") return; // The session ended while it waited.
    this.#phase = { ...this.phase, onStop: "running" };
    const { onStop } = this.runtime.definition;
    try {
      if (onStop)
        await runHook(this.machine.clock, "onStop", () => onStop(new StopEvent(this.scope, reason)));
    } catch (thrown) {
      this.reportFailure(thrown, undefined);
    }
    this.#nextAlarmMs = this.store?.alarms.nextDueMs;
    if (this.store)
      await this.#inTime(this.store.save()).catch((thrown) => this.reportFailure(thrown, undefined));
    this.#stopped(`${this.ref.key} has stopped (${reason}).`);
  }

  /** A session that ends meanwhile is waited out: adopted by the next, what is left is written under that one. */
  #inTime<T>(save: Promise<T>): Promise<T> {
    const late = () => new StatefulError("outcome_unknown", `${this.ref.key} could not be saved in time.`);
    return withTimeLimit(this.machine.clock, saveLimitMs, save, late);
  }

  #stopped(message: string): void {
    if (this.#phase.name === "suspended") this.#phase = { ...this.#phase, onStop: "done" };
    else this.end(new StatefulError("not_owner", message), true);
  }

  /** The session is over: nothing is accepted or released until `resume`. `isUnconfirmed`: because the directory is away (L8). */
  suspend(isUnconfirmed = false): void {
    const serves = isUnconfirmed && this.runtime.definition.onDirectoryLoss === "serve";
    this.#phase = suspended(this.#phase, serves);
    const invalid = whyNotReleasing(this.#phase, this.ref);
    if (invalid) this.store?.suspend(outcomeUnknown(invalid));
  }

  /** The next session has adopted the lease (L1). A stop that was under way goes on: `suspended` and `adopted` have how. */
  resume(session: Session, epoch: number): void {
    if (this.#phase.name !== "suspended") return;
    this.#phase = adopted(this.#phase, session, epoch);
    this.#epoch = epoch;
    if (this.#phase.name === "suspended")
      return this.end(new StatefulError("not_owner", `${this.ref.key} has stopped.`), true);
    if (!session.isValid()) return this.suspend(); // The one after it adopts from here.
    this.store?.resume(session.id, epoch);
    const edges = this.attachedEdges;
    if (edges && !edges.isOpen && this.#phase.name === "live") edges.goOn(); // A move was under way.
    if (this.#phase.name !== "live") return this.store?.alarms.pause();
    this.confirmed();
    this.#resumption.goOn();
  }

  /**
   * Ends it for good. What still waits is refused with the cause, and sockets are closed with it, unless they stay open for the
   * object's next activation. Keeps the first cause.
   */
  end(cause: StatefulError, keepsSockets = false): void {
    if (this.#phase.name === "over") return;
    this.#phase = { name: "over", cause };
    this.keepsSockets = keepsSockets;
    this.gate?.close(cause);
    this.store?.close(cause);
    this.#resumption.end(cause);
    this.endEvents(cause);
    this.ended(cause);
  }

  /** Saves the state of a class that asks for it now and then. */
  snapshot(nowMs: number): void {
    this.snapshotAtMs = nowMs;
    if (this.isLive && this.store) void this.#saveSnapshot(this.store);
  }

  /** In a moment at which no storage call is under way: an object that is always in one of them would never be saved. */
  async #saveSnapshot(store: ActivationStore): Promise<void> {
    try {
      await store.applied();
      store.snapshot();
    } catch (thrown) {
      this.reportFailure(thrown, undefined);
    }
  }

  /** The session has run out, whether or not anyone has noticed yet: the next one may still adopt this activation. */
  protected get isUnconfirmed(): boolean {
    if (this.isDegraded) return false;
    return this.#phase.name === "suspended" || (this.#phase.name === "live" && !this.isLive);
  }

  /** What begins by itself does not begin while the object moves. Rejects where it is over, and lives on elsewhere. */
  protected async untilMoved(): Promise<void> {
    // Every move ends, and each of its steps in its time.
    while (this.phase.name === "moving") await this.#resumption.next;
    if (this.phase.name === "over") throw this.phase.cause;
  }

  /** The next session may end as well before what waited has begun. */
  protected async untilConfirmed(): Promise<void> {
    const confirmed = async () => {
      while (this.isUnconfirmed) await this.#resumption.next;
    };
    const late = () => new StatefulError("session_over", `${this.ref.key} waits for the directory.`);
    await withTimeLimit(this.machine.clock, resumeWaitLimitMs, confirmed(), late);
  }

  /** Why nothing may leave now (L3); undefined where it may. */
  protected get whyNotReleasing(): StatefulError | undefined {
    return whyNotReleasing(this.#phase, this.ref);
  }
  /** Throws where this activation may not let anything out (L3). */
  checkRelease(): void {
    const invalid = this.whyNotReleasing;
    if (invalid) throw invalid;
  }

  protected get inputGate(): InputGate {
    this.gate ??= new InputGate(this.machine.clock, this.machine.waitingCalls);
    return this.gate;
  }

  // -- what it stores

  /** When its next alarm is due, by the directory's clock. */
  get nextAlarmMs(): number | undefined {
    return this.#nextAlarmMs;
  }

  /** Opened at the first use, where the object's class does not store anything by itself. */
  get openedStore(): ActivationStore {
    if (this.#phase.name === "over") throw handleOver(this.ref, this.#phase.cause);
    if (this.store === undefined) {
      const loaded = { ...nothingStored, isComplete: false };
      this.store = this.#openStore({ loaded, record: undefined }, undefined);
      const invalid = whyNotReleasing(this.#phase, this.ref);
      if (invalid) this.store.suspend(outcomeUnknown(invalid));
    }
    return this.store;
  }

  #openStore(stored: StoredObject, storedTopics: StoredSpans | undefined): ActivationStore {
    const { ref, histories } = this;
    const { stores, clock, log } = this.machine;
    return new ActivationStore({
      ref,
      definition: this.runtime.definition,
      host: stores,
      session: "session" in this.#phase ? this.#phase.session.id : "",
      epoch: this.#epoch,
      state: this.currentState,
      ...{ ...stored, histories, storedTopics },
      version: versionOf(this.#storedVersion(stored)),
      clock,
      log,
      gate: this.inputGate,
      mayRelease: () => whyNotReleasing(this.#phase, ref) === undefined,
      fire: (firing, settled) => this.fire(firing, settled),
      broken: (cause) => this.machine.broken(this, cause),
    });
  }

  #storedVersion({ loaded, record }: StoredObject): StoredVersion {
    const version = record && decodeRecord(record).version;
    const { definition } = this.runtime;
    return { ref: this.ref, definition, state: this.currentState, loaded, version };
  }

  /** Logs what an author's code threw and returns the id under which it stands in the log. */
  reportFailure(thrown: unknown, event: ObjectEvent | undefined): string {
    const errorId = nanoid(12);
    const entry = { errorId, object: this.ref.key, path: event?.path, error: thrown };
    this.machine.log.error("handler.failed", entry);
    return errorId;
  }
}
