import type { StoredAlarm } from "../lease/stored-objects.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import {
  alarmAttemptsMax,
  alarmBackoffMs,
  failureText,
  hopelessness,
  isLossOfLease,
  UnreadableScheduleError,
} from "./alarm-attempts.ts";
import {
  type AlarmEntry,
  type AlarmInfo,
  checkAlarmName,
  checkAlarmPayload,
  entryOf,
  rowOf,
} from "./alarm-entry.ts";
import { type AlarmSnapshot, AlarmTable } from "./alarm-table.ts";
import { type AlarmWhen, nextDueMs, planAlarm, recurrenceOf } from "./alarm-schedule.ts";
import { overLimit } from "./storage-limits.ts";

export type { AlarmSnapshot } from "./alarm-table.ts";

/** Alarms of one object that fire at the same time; more wait for one of them to end. */
export const alarmsAtOnceMax = 16;

/** Two clocks drift apart during a long wait: the directory's is asked again at least this often. */
const timerDelayMaxMs = 10 * 60_000;

export interface AlarmBookSetup {
  readonly ref: ObjectRef;
  /** All alarms that the object has. */
  readonly loaded: ReadonlyMap<string, StoredAlarm>;
  readonly alarmsMax: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** The directory's clock. */
  readonly nowMs: () => number;
  /**
   * Puts the row into the activation's next commit; `null` deletes it. May throw, and has written nothing then. What the
   * author does inside of a transaction is part of it; what comes of firing never is: it must not be rolled back with it.
   */
  readonly write: (name: string, alarm: StoredAlarm | null, by: "author" | "firing") => void;
  /** Whether what the author does now is part of the open transaction. By default all is, while one is open. */
  readonly isInside?: () => boolean;
  /** Resolves when all that was written so far is committed; rejects when the activation is over. */
  readonly durable: () => Promise<void>;
  /**
   * Runs the author's handler as an event. When it has succeeded `settled` is called, in the turn in which what the handler
   * changed is handed to the next commit. Rejects with what the handler threw; `settled` was not called then.
   */
  readonly fire: (firing: AlarmFiring, settled: () => void) => Promise<void>;
  /** `nextDueMs` is another. */
  readonly changed?: () => void;
}

export interface AlarmFiring {
  readonly name: string;
  readonly payload: Uint8Array;
  /** 1 for the first; more after attempts that failed or were cut off. */
  readonly attempt: number;
  /** When it was due. After another activation's attempt was cut off: when it was due for the next. */
  readonly dueAtMs: number;
}

type AlarmEntryChange = Partial<
  Pick<AlarmEntry, "dueAtMs" | "fireAtMs" | "attempt" | "isParked" | "lastError">
>;

/**
 * All alarms of one live activation, which has them whole: they come with its lease, and nobody else writes them.
 *
 * An alarm must fire at least once whatever dies meanwhile, and must not fire for ever where firing is what kills. So the
 * row is there until the very commit that holds what the handler changed (A2), and before the handler runs the row says that
 * one attempt more has begun, and when the next is due if nothing is heard of this one (A1). A crash at any point leaves a
 * row that is due again; the price is that a handler may have run and run again.
 *
 *     waiting ──due──▶ counted ──durable──▶ fires ──settled──▶ gone, or waiting for its next time
 *        ▲                                    │
 *        └──────────── back-off ◀───failed────┴──failed 8 times──▶ parked; recurring: its next time
 *
 * One firing per name at a time. A handler may set or delete its own alarm: what the row says then is the handler's doing,
 * and the end of the firing leaves it alone.
 *
 * Failures that say that this activation is losing its lease are no failures of the handler: the row stays as it is, for
 * whoever has the object next.
 *
 * Not done here: waking an object that does not live (`alarm-sweeper.ts`), and rolling rows back with a transaction.
 */
export class AlarmBook {
  readonly #setup: AlarmBookSetup;
  readonly #alarms: AlarmTable;
  /** Names whose attempt has begun and not ended. */
  readonly #firing = new Set<string>();
  #isLive = false;
  #isClosed = false;
  #cancelTimer: CancelTimer | undefined;
  #knownDueMs: number | undefined;

  constructor(setup: AlarmBookSetup) {
    this.#setup = setup;
    const entries = Array.from(setup.loaded, ([name, alarm]) => [name, entryOf(name, alarm)] as const);
    this.#alarms = new AlarmTable(new Map(entries), () => setup.isInside?.() ?? true);
    this.#knownDueMs = this.nextDueMs;
  }

  /** Whether anything fires now. */
  get isFiring(): boolean {
    return this.#firing.size > 0;
  }

  /** When the next one fires, by the directory's clock; undefined where none waits. */
  get nextDueMs(): number | undefined {
    let next: number | undefined;
    for (const entry of this.#alarms.entries.values()) {
      if (this.#isWaiting(entry) && (next === undefined || entry.fireAtMs < next)) next = entry.fireAtMs;
    }
    return next;
  }

  // -- what the author asks for

  /** Sets it anew, whatever it was. Throws `bad_request` or `storage_limit`, and has changed nothing then. */
  set(name: string, when: AlarmWhen, payload: Uint8Array): void {
    checkAlarmName(name);
    checkAlarmPayload(name, payload);
    const { alarmsMax, ref } = this.#setup;
    const seen = this.#alarms.seen();
    if (!seen.has(name) && seen.size >= alarmsMax)
      throw overLimit(
        `${ref.key} has ${alarmsMax} alarms, which is its limit. Delete one, or raise the class's limits.`,
      );
    const { dueAtMs, schedule } = planAlarm(when, this.#setup.nowMs());
    const row = { dueAtMs, attempt: 0, schedule, payload, parked: false, lastError: "" };
    this.#setup.write(name, row, "author");
    this.#alarms.put(name, entryOf(name, row));
    this.#arm();
  }

  get(name: string): AlarmInfo | undefined {
    const entry = this.#alarms.seen().get(name);
    return entry && this.#infoOf(entry);
  }

  /** In the order in which they are due. */
  list(): AlarmInfo[] {
    const infos = Array.from(this.#alarms.seen().values(), (entry) => this.#infoOf(entry));
    return infos.sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime());
  }

  /** Whether there was one. */
  delete(name: string): boolean {
    if (!this.#alarms.seen().has(name)) return false;
    this.#setup.write(name, null, "author");
    this.#alarms.put(name, null);
    this.#arm();
    return true;
  }

  /** An operator's: a parked alarm is due now, with all its attempts before it. Whether there was one. */
  retry(name: string): boolean {
    const entry = this.#alarms.entries.get(name);
    if (entry === undefined || !entry.isParked) return false;
    const nowMs = Math.floor(this.#setup.nowMs());
    this.#change(entry, { dueAtMs: nowMs, fireAtMs: nowMs, attempt: 0, isParked: false });
    this.#arm();
    return true;
  }

  // -- a transaction

  /** As they are stored: what the object's next owner begins with. */
  rows(): ReadonlyMap<string, StoredAlarm> {
    return this.#alarms.rows();
  }

  /** Begins one. It ends with `restore` or `release`. */
  snapshot(): AlarmSnapshot {
    return this.#alarms.begin();
  }

  /** It was rolled back. */
  restore(snapshot: AlarmSnapshot): void {
    this.#alarms.rollback(snapshot);
  }

  /** It was committed. */
  release(snapshot: AlarmSnapshot): void {
    this.#alarms.commit(snapshot);
    this.#arm();
  }

  // -- the activation's life

  /** The activation is live: what is overdue fires at once. */
  start(): void {
    this.#isLive = !this.#isClosed;
    this.#arm();
  }

  /** The session is over: nothing begins to fire. What fires already ends as it may. */
  pause(): void {
    this.#isLive = false;
    this.#arm();
  }

  resume(): void {
    this.start();
  }

  /** For good: what fires still changes nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.pause();
  }

  // -- firing

  /** One timer, for the earliest. */
  #arm(): void {
    const { clock, changed, nowMs } = this.#setup;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const dueMs = this.nextDueMs;
    if (dueMs !== undefined && this.#mayBegin()) {
      const delayMs = Math.min(timerDelayMaxMs, Math.max(0, Math.ceil(dueMs - nowMs())));
      this.#cancelTimer = clock.after(delayMs, () => this.#begin());
    }
    if (dueMs === this.#knownDueMs) return;
    this.#knownDueMs = dueMs;
    changed?.();
  }

  #mayBegin(): boolean {
    return this.#isLive && this.#firing.size < alarmsAtOnceMax;
  }

  /** The timer's clock is not the directory's: there may be nothing yet. */
  #begin(): void {
    const nowMs = this.#setup.nowMs();
    const due = [...this.#alarms.entries.values()].filter(
      (entry) => this.#isWaiting(entry) && entry.fireAtMs <= nowMs,
    );
    due.sort((a, b) => a.fireAtMs - b.fireAtMs);
    for (const entry of due.slice(0, alarmsAtOnceMax - this.#firing.size)) void this.#attempt(entry);
    this.#arm();
  }

  #isWaiting({ name, isParked }: AlarmEntry): boolean {
    return !isParked && !this.#firing.has(name);
  }

  /** Never rejects. */
  async #attempt(entry: AlarmEntry): Promise<void> {
    this.#firing.add(entry.name);
    try {
      const hopeless = hopelessness(entry, this.#setup.nowMs());
      if (hopeless !== undefined) this.#giveUp(entry, hopeless);
      else if (await this.#count(entry)) await this.#fire(entry);
    } catch (thrown) {
      // What comes of it could not be written: the row still says what it said, and is due again.
      this.#backOff(entry, thrown);
    } finally {
      this.#firing.delete(entry.name);
      this.#arm();
    }
  }

  /** Counts the attempt for good, before it runs. False where it is not to run any more. */
  async #count(entry: AlarmEntry): Promise<boolean> {
    const { durable, nowMs, random } = this.#setup;
    const { attempt, fireAtMs } = entry;
    try {
      const retryAtMs = Math.floor(nowMs()) + alarmBackoffMs(attempt + 1, random);
      this.#change(entry, { attempt: attempt + 1, fireAtMs: retryAtMs });
      await durable();
    } catch (thrown) {
      entry.attempt = attempt;
      throw thrown;
    }
    if (this.#isLive && this.#isCurrent(entry)) return true;
    // It did not run: should the session come back, it is due as before.
    entry.attempt = attempt;
    entry.fireAtMs = fireAtMs;
    return false;
  }

  async #fire(entry: AlarmEntry): Promise<void> {
    const { name, payload, attempt, dueAtMs } = entry;
    let isSettled = false;
    const settled = () => {
      if (isSettled) return;
      if (this.#isCurrent(entry)) this.#succeeded(entry);
      isSettled = true;
    };
    try {
      await this.#setup.fire({ name, payload, attempt, dueAtMs }, settled);
      if (!isSettled) throw new StatefulError("internal", `Alarm "${name}" ended without being settled.`);
    } catch (thrown) {
      if (!isSettled) this.#failed(entry, thrown);
    }
  }

  #failed(entry: AlarmEntry, thrown: unknown): void {
    if (!this.#isCurrent(entry) || isLossOfLease(thrown)) return;
    const { log, nowMs, random, ref } = this.#setup;
    const { name, attempt } = entry;
    if (attempt >= alarmAttemptsMax) return this.#giveUp(entry, thrown);
    log.warn("alarm.failed", { object: ref.key, alarm: name, attempt, error: thrown });
    const fireAtMs = Math.floor(nowMs()) + alarmBackoffMs(attempt, random);
    this.#change(entry, { fireAtMs, lastError: failureText(thrown) });
  }

  /** No attempt is left, or none is possible. What does not come again is kept, for somebody to look at. */
  #giveUp(entry: AlarmEntry, error: unknown): void {
    const { log, ref } = this.#setup;
    const { name, attempt: attempts } = entry;
    const nextMs = error instanceof UnreadableScheduleError ? undefined : this.#nextTimeOf(entry);
    const lastError = failureText(error);
    if (nextMs === undefined) this.#change(entry, { fireAtMs: entry.dueAtMs, isParked: true, lastError });
    else this.#change(entry, { dueAtMs: nextMs, fireAtMs: nextMs, attempt: 0, lastError });
    const event = nextMs === undefined ? "alarm.parked" : "alarm.gave_up";
    log.error(event, { object: ref.key, alarm: name, attempts, error });
  }

  #succeeded(entry: AlarmEntry): void {
    const nextMs = this.#nextTimeOf(entry);
    if (nextMs !== undefined) {
      this.#change(entry, { dueAtMs: nextMs, fireAtMs: nextMs, attempt: 0, lastError: "" });
      return;
    }
    this.#setup.write(entry.name, null, "firing");
    this.#alarms.end(entry.name);
  }

  #nextTimeOf({ schedule, dueAtMs }: AlarmEntry): number | undefined {
    return nextDueMs(schedule, dueAtMs, this.#setup.nowMs());
  }

  /** Writes first: what cannot be written does not happen. */
  #change(entry: AlarmEntry, change: AlarmEntryChange): void {
    this.#setup.write(entry.name, rowOf({ ...entry, ...change }), "firing");
    Object.assign(entry, change);
  }

  #backOff(entry: AlarmEntry, thrown: unknown): void {
    const { log, nowMs, random, ref } = this.#setup;
    if (this.#isClosed) return;
    if (!isLossOfLease(thrown))
      log.warn("alarm.not_written", { object: ref.key, alarm: entry.name, error: thrown });
    const laterMs = Math.floor(nowMs()) + alarmBackoffMs(Math.max(1, entry.attempt), random);
    entry.fireAtMs = Math.max(entry.fireAtMs, laterMs);
  }

  #isCurrent(entry: AlarmEntry): boolean {
    return !this.#isClosed && this.#alarms.entries.get(entry.name) === entry;
  }

  #infoOf(entry: AlarmEntry): AlarmInfo {
    const { name, attempt, payload, schedule, isParked, lastError } = entry;
    return {
      name,
      dueAt: new Date(this.#isWaiting(entry) ? entry.fireAtMs : entry.dueAtMs),
      attempt,
      schedule: recurrenceOf(schedule),
      payload,
      parked: isParked,
      lastError: lastError === "" ? undefined : lastError,
    };
  }
}
