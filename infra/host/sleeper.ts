import type { Session } from "../lease/leases.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { type KeptHistories, keptUntilMs, withoutMessages } from "../topics/topic-histories.ts";
import type { Adoptable } from "./adoption.ts";
import type { ObjectEdges } from "./object-edges.ts";

export interface SleeperSetup {
  readonly ref: ObjectRef;
  readonly session: Session;
  readonly epoch: number;
  readonly edges: ObjectEdges;
  /** When it last took an event, by the directory's clock; undefined where nobody knows. */
  readonly sinceMs: number | undefined;
  /** Its last owner ended without a word. */
  readonly isAfterCrash: boolean;
  /** When its next alarm is due, by the directory's clock. */
  readonly nextAlarmMs: number | undefined;
  /** The histories of its topics; undefined where there is none, or where they are stored. */
  readonly topics?: KeptHistories | undefined;
}

/** Timers count no further than this; what is due later is looked at again then. */
const timerDelayMaxMs = 10 * 60_000;

/**
 * An object that sleeps here: its lease is ours, its sockets are open at their edges, and nothing else of it is in memory.
 * Whatever comes for it wakes it.
 */
export class Sleeper implements Adoptable {
  readonly ref: ObjectRef;
  readonly edges: ObjectEdges;
  readonly sinceMs: number | undefined;
  readonly isAfterCrash: boolean;
  readonly nextAlarmMs: number | undefined;
  topics: KeptHistories | undefined;
  #session: Session;
  #epoch: number;
  #isOver = false;
  #cancelAlarm: CancelTimer | undefined;
  #cancelTopics: CancelTimer | undefined;

  constructor(setup: SleeperSetup) {
    this.ref = setup.ref;
    this.edges = setup.edges;
    this.sinceMs = setup.sinceMs;
    this.isAfterCrash = setup.isAfterCrash;
    this.nextAlarmMs = setup.nextAlarmMs;
    this.topics = setup.topics;
    this.#session = setup.session;
    this.#epoch = setup.epoch;
  }

  get session(): Session {
    return this.#session;
  }
  get epoch(): number {
    return this.#epoch;
  }
  get suspendedUnder(): string | undefined {
    return this.#isOver || this.#session.isValid() ? undefined : this.#session.id;
  }
  get isOver(): boolean {
    return this.#isOver;
  }

  resume(session: Session, epoch: number): void {
    this.#session = session;
    this.#epoch = epoch;
  }

  /** Wakes it for its next alarm: the sweep for overdue ones leaves those of an owned object to its owner for a while. */
  watchAlarm(clock: Clock, nowMs: () => number, wake: () => void): void {
    const { nextAlarmMs } = this;
    if (nextAlarmMs === undefined) return;
    const delayMs = Math.min(Math.max(0, nextAlarmMs - nowMs()), timerDelayMaxMs);
    this.#cancelAlarm = clock.after(delayMs, () => {
      if (nextAlarmMs <= nowMs()) wake();
      else this.watchAlarm(clock, nowMs, wake);
    });
  }

  /** Whether it has messages that somebody may still ask for. */
  get keepsMessages(): boolean {
    return keptUntilMs(this.topics) > 0;
  }

  /** Lets go of the messages of its topics: whoever asks for them is told that they cannot be had. */
  dropMessages(): void {
    this.#cancelTopics?.();
    if (this.topics) this.topics = withoutMessages(this.topics);
  }

  /** Lets go of the messages of its topics when the last of them is too old. */
  watchTopics(clock: Clock, nowMs: () => number, expired: () => void): void {
    const { topics } = this;
    const untilMs = keptUntilMs(topics);
    if (topics === undefined || untilMs === 0) return;
    const delayMs = Math.min(Math.max(0, untilMs - nowMs()), timerDelayMaxMs);
    this.#cancelTopics = clock.after(delayMs, () => {
      if (nowMs() < untilMs) return this.watchTopics(clock, nowMs, expired);
      this.dropMessages();
      expired();
    });
  }

  /** It is awake, or no longer ours. */
  end(): void {
    this.#isOver = true;
    this.#cancelAlarm?.();
    this.#cancelTopics?.();
  }
}
