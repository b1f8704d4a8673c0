import type { LoadedObject } from "../lease/stored-objects.ts";
import type { WriteSource } from "../lease/write-queue.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { ClassDefinition } from "../object/options.ts";
import { AlarmBook, type AlarmFiring, type AlarmSnapshot } from "../storage/alarm-book.ts";
import { ObjectStorage, type Participant } from "../storage/object-storage.ts";
import { backlogLimits, hostBacklogBytesMax } from "../storage/storage-limits.ts";
import { StateKeeper } from "../storage/state-keeper.ts";
import type { StoredReader } from "../storage/stored-reader.ts";
import type { TopicHistories } from "../topics/topic-histories.ts";
import { type BrokenWrites, type WaitingBytes, WriteBuffer } from "../storage/write-buffer.ts";
import type { StoredObject } from "./activation-setup.ts";
import { HistoryKeeper, type StoredSpans } from "./history-keeper.ts";
import type { InputGate } from "./input-gate.ts";
import { carriedValues } from "./move-package.ts";
import { type ChangeCount, OutputGate } from "./output-gate.ts";
import { cannotSave, endedWaiting, fenced, notKnown, tooLate, undone } from "./store-errors.ts";

/** What the stores of all activations of a host share. */
export interface StoreHost {
  readonly reader: StoredReader;
  /** Has the source's changes written by the next commit. */
  send(source: WriteSource): void;
  /** What all of them have waiting to be written. */
  readonly waiting: WaitingBytes;
  /** The directory's clock. */
  nowMs(): number;
  random(): number;
}

export interface ActivationStoreSetup {
  readonly ref: ObjectRef;
  readonly definition: ClassDefinition;
  readonly host: StoreHost;
  readonly session: string;
  readonly epoch: number;
  readonly state: object;
  readonly loaded: LoadedObject;
  readonly record: Uint8Array | undefined;
  /** Of what is stored. */
  readonly version: number;
  readonly histories: TopicHistories | undefined;
  readonly storedTopics: StoredSpans | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly gate: InputGate;
  mayRelease(): boolean;
  fire(firing: AlarmFiring, settled: () => void): Promise<void>;
  /** Nothing is written any more: the activation is to end with this cause. */
  broken(cause: StatefulError): void;
}

/** How often `saveAll` waits anew for what was written while it waited. */
const savesMax = 20;

/** How long an answer waits for its writes, at least, before its caller is told that their fate is not known. */
const answerLimitMs = 10_000;

/**
 * All that an activation stores, and the gate that holds back what it says until that is durable: keys, state, alarms, one
 * buffer of changes. Made when the object first needs it; an object that is a cache and nothing more never has one.
 */
export class ActivationStore {
  readonly storage: ObjectStorage;
  readonly alarms: AlarmBook;
  readonly output: OutputGate;
  /** Undefined where the class stores no history of a topic. */
  readonly histories: HistoryKeeper | undefined;
  readonly #setup: ActivationStoreSetup;
  readonly #buffer: WriteBuffer;
  readonly #state: StateKeeper;
  #settled: PromiseWithResolvers<void> | undefined;
  #applied: PromiseWithResolvers<void> | undefined;
  #snapshotDue = false;
  #cancelLimit: CancelTimer | undefined;
  #closed: StatefulError | undefined;

  constructor(setup: ActivationStoreSetup) {
    const { ref, definition, host, clock, log, gate, loaded } = setup;
    this.#setup = setup;
    this.#buffer = new WriteBuffer(
      {
        ref,
        // Where there is none, and the version of what is stored would otherwise be taken for 1.
        firstRecord: () => (setup.record === undefined && setup.version > 1 ? this.#state.saved : undefined),
        send: host.send,
        waiting: host.waiting,
        committed: () => this.#committed(),
        broken: (cause) => this.#broken(cause),
      },
      setup.session,
      setup.epoch,
    );
    const isStored = definition.durability !== "memory";
    this.#state = new StateKeeper({
      state: setup.state,
      version: setup.version,
      isStored,
      record: setup.record,
      bytesMax: definition.limits.valueBytesMax,
      write: (record) => this.#buffer.putRecord(record, this.#savesState),
      undone: () => this.output.refuseUnnumbered(undone(ref)),
    });
    this.alarms = new AlarmBook({
      ref,
      loaded: loaded.alarms,
      alarmsMax: definition.limits.alarmsMax,
      clock,
      log,
      random: host.random,
      nowMs: host.nowMs,
      write: (name, alarm, by) =>
        this.#buffer.putAlarm(name, alarm, by === "author" && this.storage.isInside),
      durable: () => this.settled(),
      isInside: () => this.storage.isInside,
      fire: setup.fire,
    });
    this.storage = new ObjectStorage({
      ref,
      loaded,
      limits: definition.limits,
      buffer: this.#buffer,
      reader: host.reader,
      clock,
      gate,
      participants: [this.#state, alarmParticipant(this.alarms)],
      applied: () => this.#onApplied(),
      sync: () => this.settled(),
    });
    const { histories, storedTopics: stored } = setup;
    if (histories && this.#savesState)
      this.histories = new HistoryKeeper({
        ...{ ref, histories, stored, nowMs: host.nowMs },
        ...{ buffer: this.#buffer, storage: this.storage },
      });
    this.output = new OutputGate({
      changes: changesOf(this.#buffer, this.storage),
      savesState: this.#savesState,
      save: () => this.#save(),
      mayRelease: setup.mayRelease,
      failed: (thrown) => setup.broken(cannotSave(ref, thrown)),
    });
  }

  /** Bytes of memory: what is cached of the storage, and what waits to be written. */
  get memory(): { readonly storageBytes: number; readonly pendingBytes: number } {
    return { storageBytes: this.storage.cachedBytes, pendingBytes: this.#buffer.pendingBytes };
  }

  /** What the object's next owner need not read, and the version of its data. */
  get known(): { readonly stored: StoredObject; readonly version: number } {
    const { values, isComplete } = this.storage.known;
    const record = this.#state.written;
    const alarms = this.alarms.rows();
    const loaded = { values: carriedValues(values, record), isComplete, alarms, hasAllAlarms: true };
    return { stored: { loaded, record }, version: this.#state.version };
  }

  /** Has what was written so far made durable, the state included. */
  async save(): Promise<void> {
    await this.applied();
    this.handlerEnded();
    this.snapshot();
    await this.settled();
  }

  /**
   * The same until nothing is left that is not durable or has not been said. `then` is called in the very turn in which that is
   * so: in any later one, and be it the next step of a promise, some code of the object may have written, and said, more.
   */
  async saveAll<T>(then: () => T): Promise<T> {
    for (let times = 0; times < savesMax; times += 1) {
      await this.save();
      const { issued, appliedUpTo, inTransaction } = this.storage;
      const isAllSaid = this.output.length === 0 && (this.histories?.isSaved ?? true);
      if (isAllSaid && appliedUpTo >= issued && !inTransaction && this.#buffer.isClean) return then();
    }
    throw new StatefulError("move_failed", `${this.#setup.ref.key} goes on writing while it is to move.`);
  }

  /** Whether so much waits to be written that no new event should come. */
  get isBacklogged(): boolean {
    const { pendingKeys, pendingBytes } = this.#buffer;
    const isFull = pendingKeys > backlogLimits.keysMax || pendingBytes > backlogLimits.bytesMax;
    return isFull || this.#setup.host.waiting.bytes > hostBacklogBytesMax;
  }

  /** Events run: what they change of the state is to be in the next snapshot. */
  noteEvent(): void {
    this.#snapshotDue ||= this.#setup.definition.durability === "snapshot";
  }

  /** A handler has ended: what it changed of the state is saved, or will be with the next snapshot. */
  handlerEnded(): void {
    this.noteEvent();
    if (!this.#savesState || this.#closed !== undefined || this.storage.inTransaction) return;
    try {
      this.#capture();
    } catch (thrown) {
      this.#setup.broken(cannotSave(this.#setup.ref, thrown));
    }
  }

  /** Saves the state where the class asks for it: every few seconds, and before the object stops. */
  snapshot(): void {
    if (this.#closed !== undefined || !this.#snapshotDue || this.storage.inTransaction) return;
    this.#snapshotDue = false;
    this.#state.capture();
  }

  /** To be called in the transaction that brings the data there. */
  setVersion(version: number): void {
    this.#state.setVersion(version);
  }

  /** What an answer of that event waits for; undefined where it may leave now. Throws where the state cannot be saved. */
  answer(event: object | undefined): Promise<void> | undefined {
    const waiting = this.output.answer(this.storage.lastOpenOf(event));
    if (waiting !== undefined) this.#limitWaiting();
    return waiting;
  }

  /** One timer for all answers: each waits for `answerLimitMs` at least, and twice that at most. */
  #limitWaiting(): void {
    if (this.#cancelLimit !== undefined) return;
    const { entered } = this.output;
    this.#cancelLimit = this.#setup.clock.after(answerLimitMs, () => {
      this.#cancelLimit = undefined;
      this.output.expire(entered, tooLate(this.#setup.ref));
      if (this.output.length > 0) this.#limitWaiting();
    });
  }

  /** Resolves when everything written so far is durable. Rejects when the activation ends before. */
  async settled(): Promise<void> {
    const upTo = this.#buffer.changedUpTo;
    while (this.#buffer.durableUpTo < upTo || (upTo === this.#buffer.changedUpTo && !this.#buffer.isClean)) {
      if (this.#closed !== undefined) throw this.#closed;
      this.#settled ??= Promise.withResolvers();
      await this.#settled.promise;
    }
  }

  /** Resolves when every storage call made so far is done, and no transaction is open: what is changed may be saved. */
  async applied(): Promise<void> {
    const { issued } = this.storage;
    while (this.storage.appliedUpTo < issued || this.storage.inTransaction) {
      if (this.#closed !== undefined) return;
      this.#applied ??= Promise.withResolvers();
      await this.#applied.promise;
    }
  }

  /** Nothing is written from here on, until `resume`: the next owner takes what is stored for what it has been told. */
  pause(): void {
    this.#buffer.pause();
  }

  suspend(cause: StatefulError): void {
    this.#buffer.pause();
    this.alarms.pause();
    this.output.suspend(cause);
  }

  resume(session: string, epoch: number): void {
    this.#buffer.resume(session, epoch);
    if (this.#setup.definition.onAlarm) this.alarms.resume();
    this.output.flush();
  }

  close(cause: StatefulError): void {
    this.#closed ??= cause;
    this.#cancelLimit?.();
    this.alarms.close();
    this.storage.close(cause);
    this.#buffer.close();
    this.output.close(cause.code === "fenced" ? cause : endedWaiting(this.#setup.ref, cause));
    this.#settled?.promise.catch(() => undefined); // Whoever waits hears it; nobody may.
    this.#settled?.reject(cause);
    this.#applied?.resolve();
  }

  get #savesState(): boolean {
    return this.#setup.definition.durability === "storage";
  }

  #save(): void {
    if (!this.#savesState) return;
    try {
      this.#capture();
    } catch (thrown) {
      this.#state.restore();
      throw thrown;
    }
  }

  /** The state, and then what was said of it: both are in the next commit. */
  #capture(): void {
    this.#state.capture();
    this.histories?.save();
  }

  #committed(): void {
    this.#settled?.resolve();
    this.#settled = undefined;
    this.output.flush();
  }

  #onApplied(): void {
    this.#applied?.resolve();
    this.#applied = undefined;
    this.handlerEnded();
    this.output.flush();
  }

  #broken(cause: BrokenWrites): void {
    const { ref, broken, log } = this.#setup;
    if (cause.kind === "refused") log.error("storage.refused", { object: ref.key, error: cause.cause });
    broken(cause.kind === "fenced" ? fenced(ref) : notKnown(ref, cause.cause));
  }
}

function changesOf(buffer: WriteBuffer, storage: ObjectStorage): ChangeCount {
  return {
    get changedUpTo() {
      return buffer.changedUpTo;
    },
    get durableUpTo() {
      return buffer.durableUpTo;
    },
    get issued() {
      return storage.issued;
    },
    get appliedUpTo() {
      return storage.appliedUpTo;
    },
    get inTransaction() {
      return storage.inTransaction;
    },
  };
}

function alarmParticipant(alarms: AlarmBook): Participant {
  let before: AlarmSnapshot | undefined;
  return {
    begin() {
      before = alarms.snapshot();
    },
    commit() {
      if (before) alarms.release(before);
      before = undefined;
    },
    rollback() {
      if (before) alarms.restore(before);
      before = undefined;
    },
  };
}
