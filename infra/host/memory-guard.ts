import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { memoryMarks, type PressureReason } from "./host-limits.ts";
import { type GuardedObject, MemorySurvey, type Surveyed } from "./memory-survey.ts";

/**
 * Keeps a host under its limit of memory, and says when it takes nothing new.
 *
 * The problem is that every cure shows its effect late. Resident memory falls only when garbage has been collected and pages
 * have gone back to the kernel, so a guard that looks at it alone goes on until the host is empty; and objects that are moved
 * away arrive somewhere, so hosts which all make room at once push the same objects around. Hence:
 *
 * - What was let go counts as gone, by its account, for as long as it may take to show. Then garbage is collected, and only
 *   what is still missing is made up for. Where letting go shows no effect, the guard pauses.
 * - Two marks: it starts above the high one and goes on until it is under the low one. All the while nothing is placed here,
 *   so what leaves does not come back at once.
 * - The cheapest cure first: garbage, then the objects that are idle, the longest idle first, then a few of those that are not.
 * - Moves have a budget for each minute, are not worth it for small objects, and are not asked for again soon where they failed.
 * - Where the objects hold too little for their going to help, as when a resource leaks, none of them is touched.
 */
export interface MemoryGuardSetup {
  readonly reading: () => HostReading;
  /** Those that live here. Asked for only under pressure. */
  readonly objects: () => Iterable<GuardedObject>;
  /** Collects garbage, which stops the process for about a millisecond for each MiB of heap. */
  readonly collectGarbage?: () => void;
  readonly log: Log;
}

export interface HostReading {
  /** Resident memory. */
  readonly usedBytes: number;
  readonly limitBytes: number;
  /** What one in a hundred events waits for the event loop, of the last seconds. */
  readonly loopDelayMs: number;
}

export const guardLimits = {
  /** Between two looks; the shorter one while a survey is under way. */
  lookIntervalMs: 5000,
  surveyIntervalMs: 20,
  /**
   * How long what was let go counts as gone. Longer: slower to notice that others grow meanwhile. Shorter: more goes than need
   * have gone.
   */
  settleMs: 15_000,
  /** Between two collections of garbage: each time that what was let go may show. */
  garbageIntervalMs: 15_000,
  /** Between two surveys that found nothing to do. */
  surveyAgainMs: 60_000,
  /** Where use has fallen by less than this share of what was let go, twice in a row, nothing is touched for a while. */
  effectShareMin: 0.25,
  noEffectPauseMs: 120_000,
  /** Objects that are put to sleep in one go, and how long each has been idle at least. */
  sleepsPerLook: 500,
  idleMsMin: 5000,
  movesPerMinute: 10,
  /** A move costs more than what is smaller would give back. */
  moveBytesMin: 1024 * 1024,
  /** How long an object that was asked to move is not asked again. */
  moveAgainMs: 300_000,
  /** All objects together must hold this share of what has to go, or their going would not help. */
  objectsShareMin: 0.5,
  objectsPerStep: 1000,
  /** Overloaded: the loop's delay has been above the first for `overloadAfterMs`, and not yet below the second. */
  loopDelayHighMs: 250,
  loopDelayLowMs: 100,
  overloadAfterMs: 20_000,
} as const;

/** What a look has come to. */
export type GuardDecision =
  | { readonly kind: "none" }
  /** Over, and it is not time yet for more: what was let go may not show, or there was nothing to do a moment ago. */
  | { readonly kind: "waiting" }
  | { readonly kind: "collected" }
  /** There are more objects than one look goes through. */
  | { readonly kind: "surveying" }
  | { readonly kind: "slept" | "moved"; readonly objects: number; readonly bytes: number }
  /** Nothing that would help. */
  | { readonly kind: "stuck"; readonly why: StuckBecause };

type StuckBecause = "not_objects" | "nothing_left" | "move_budget" | "no_effect";

const minuteMs = 60_000;

export class MemoryGuard {
  readonly #setup: MemoryGuardSetup;
  #isOverMark = false;
  #isOverloaded = false;
  #lateSinceMs: number | undefined;
  /** What use should come down to, and until when that is believed. */
  #expected = { bytes: Number.POSITIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };
  /** What was let go since the last judgement of its effect. */
  #letGo: { readonly bytes: number; readonly usedBefore: number } | undefined;
  #timesWithoutEffect = 0;
  /** Whether there may be garbage that a look should not take for objects. */
  #mayHaveGarbage = true;
  #collectedAtMs = Number.NEGATIVE_INFINITY;
  #survey: MemorySurvey | undefined;
  #surveyAfterMs = Number.NEGATIVE_INFINITY;
  /** When the moves of the last minute were asked for, and until when which objects are not asked again. */
  #askedAtMs: number[] = [];
  readonly #askAgainAtMs = new Map<string, number>();
  /** What has been said of this spell of pressure: once is enough. */
  readonly #said = new Set<string>();

  constructor(setup: MemoryGuardSetup) {
    this.#setup = setup;
  }

  /** Why nothing is to be placed here; undefined where it may be. */
  get pressure(): PressureReason | undefined {
    if (this.#isOverMark) return "memory_limit";
    return this.#isOverloaded ? "overloaded" : undefined;
  }

  /** Looks again and again, until the returned function is called. */
  run(clock: Clock): CancelTimer {
    const { lookIntervalMs, surveyIntervalMs } = guardLimits;
    const looksAfter = (delayMs: number): CancelTimer =>
      clock.after(delayMs, () => {
        cancel = looksAfter(this.#tryLook(clock.monotonicMs()) ? surveyIntervalMs : lookIntervalMs);
      });
    let cancel = looksAfter(lookIntervalMs);
    return () => cancel();
  }

  /** True where a survey is under way. What goes wrong in one look must not be the last of them. */
  #tryLook(nowMs: number): boolean {
    try {
      return this.look(nowMs).kind === "surveying";
    } catch (error) {
      this.#survey = undefined; // It is not whole.
      this.#setup.log.error("memory.look_failed", { error });
      return false;
    }
  }

  look(nowMs: number): GuardDecision {
    const reading = this.#setup.reading();
    this.#judgeLoop(reading.loopDelayMs, nowMs);
    this.#judgeMemory(reading);
    if (!this.#isOverMark) return { kind: "none" };
    const isBelieved = nowMs < this.#expected.untilMs;
    if (!isBelieved) {
      const wait = this.#garbageFirst(nowMs) ?? this.#judgeEffect(reading, nowMs);
      if (wait) return wait;
    }
    const usedBytes = isBelieved ? Math.min(reading.usedBytes, this.#expected.bytes) : reading.usedBytes;
    const excessBytes = usedBytes - memoryMarks.lowShare * reading.limitBytes;
    if (excessBytes <= 0) return { kind: "waiting" };
    return this.#makeRoom({ usedBytes, excessBytes }, reading, nowMs);
  }

  #judgeMemory({ usedBytes, limitBytes }: HostReading): void {
    const { highShare, lowShare } = memoryMarks;
    if (!this.#isOverMark && usedBytes > highShare * limitBytes) {
      this.#isOverMark = true;
      this.#setup.log.warn("memory.over_high_mark", { usedBytes, limitBytes, highShare });
    } else if (this.#isOverMark && usedBytes < lowShare * limitBytes) {
      this.#isOverMark = false;
      this.#survey = undefined;
      this.#surveyAfterMs = Number.NEGATIVE_INFINITY;
      this.#expected = { bytes: Number.POSITIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };
      this.#letGo = undefined;
      this.#timesWithoutEffect = 0;
      this.#mayHaveGarbage = true;
      this.#said.clear();
      this.#setup.log.info("memory.under_low_mark", { usedBytes, limitBytes, lowShare });
    }
  }

  #judgeLoop(loopDelayMs: number, nowMs: number): void {
    const { loopDelayHighMs, loopDelayLowMs, overloadAfterMs } = guardLimits;
    if (loopDelayMs > loopDelayHighMs) this.#lateSinceMs ??= nowMs;
    else this.#lateSinceMs = undefined;
    const isLate = this.#lateSinceMs !== undefined && nowMs - this.#lateSinceMs >= overloadAfterMs;
    if (!this.#isOverloaded && isLate) {
      this.#isOverloaded = true;
      this.#setup.log.warn("host.overloaded", { loopDelayMs, loopDelayHighMs, overloadAfterMs });
    } else if (this.#isOverloaded && loopDelayMs < loopDelayLowMs) {
      this.#isOverloaded = false;
      this.#setup.log.info("host.no_longer_overloaded", { loopDelayMs, loopDelayLowMs });
    }
  }

  #garbageFirst(nowMs: number): GuardDecision | undefined {
    const { collectGarbage, log } = this.#setup;
    if (collectGarbage === undefined || !this.#mayHaveGarbage) return undefined;
    if (nowMs - this.#collectedAtMs < guardLimits.garbageIntervalMs) return { kind: "waiting" };
    this.#collectedAtMs = nowMs;
    this.#mayHaveGarbage = false;
    collectGarbage();
    log.info("memory.garbage_collected");
    return { kind: "collected" };
  }

  /** Memory that is never given back, as of a heap in pieces, must not cost the host one object after the other. */
  #judgeEffect({ usedBytes }: HostReading, nowMs: number): GuardDecision | undefined {
    if (this.#letGo === undefined) return undefined;
    const { bytes, usedBefore } = this.#letGo;
    this.#letGo = undefined;
    const hadEffect = usedBefore - usedBytes >= guardLimits.effectShareMin * bytes;
    this.#timesWithoutEffect = hadEffect ? 0 : this.#timesWithoutEffect + 1;
    if (this.#timesWithoutEffect < 2) return undefined;
    this.#timesWithoutEffect = 0;
    this.#surveyAfterMs = nowMs + guardLimits.noEffectPauseMs;
    return this.#stuck("no_effect", { usedBytes, usedBefore, letGoBytes: bytes });
  }

  #makeRoom(need: Need, reading: HostReading, nowMs: number): GuardDecision {
    if (this.#survey === undefined && nowMs < this.#surveyAfterMs) return { kind: "waiting" };
    this.#survey ??= this.#startSurvey(nowMs);
    if (!this.#survey.step()) return { kind: "surveying" };
    const survey = this.#survey;
    this.#survey = undefined;
    const figures = { ...need, objects: survey.count, objectsBytes: survey.bytes };
    if (survey.bytes < guardLimits.objectsShareMin * need.excessBytes) {
      this.#surveyAfterMs = nowMs + guardLimits.surveyAgainMs;
      return this.#stuck("not_objects", figures);
    }
    // A survey of many objects takes a while: some have had something to do since.
    const stillIdle = survey.idle.filter(({ object }) => (object.idleForMs ?? 0) >= guardLimits.idleMsMin);
    const idle = enough(stillIdle, need.excessBytes);
    if (idle.length > 0) return this.#sleep(idle, figures, reading, nowMs);
    return this.#move(survey.costliest, figures, reading, nowMs);
  }

  #startSurvey(nowMs: number): MemorySurvey {
    const { objectsPerStep, idleMsMin, sleepsPerLook, movesPerMinute, moveBytesMin } = guardLimits;
    for (const [key, atMs] of this.#askAgainAtMs) if (atMs <= nowMs) this.#askAgainAtMs.delete(key);
    return new MemorySurvey(this.#setup.objects(), {
      objectsPerStep,
      idleMsMin,
      idleMax: sleepsPerLook,
      costliestMax: movesPerMinute,
      isWorthMoving: ({ key }, bytes) => bytes >= moveBytesMin && !this.#askAgainAtMs.has(key),
    });
  }

  #sleep(idle: readonly Surveyed[], figures: Figures, reading: HostReading, nowMs: number): GuardDecision {
    const bytes = this.#letThemGo(idle, figures, reading, nowMs);
    const longestMs = idle[0]?.idleForMs;
    this.#setup.log.warn("memory.idle_objects_stop", { stopped: idle.length, bytes, longestMs, ...figures });
    for (const { object } of idle) {
      object.sleep().catch((error: unknown) => {
        this.#setup.log.error("object.stop.failed", { object: object.key, error });
      });
    }
    return { kind: "slept", objects: idle.length, bytes };
  }

  #move(
    costliest: readonly Surveyed[],
    figures: Figures,
    reading: HostReading,
    nowMs: number,
  ): GuardDecision {
    const { movesPerMinute, moveAgainMs, surveyAgainMs } = guardLimits;
    const candidates = costliest.filter(({ object }) => object.mayMove);
    if (candidates.length === 0) {
      this.#surveyAfterMs = nowMs + surveyAgainMs;
      return this.#stuck("nothing_left", figures);
    }
    this.#askedAtMs = this.#askedAtMs.filter((atMs) => nowMs - atMs < minuteMs);
    const left = movesPerMinute - this.#askedAtMs.length;
    if (left <= 0) {
      this.#surveyAfterMs = (this.#askedAtMs[0] ?? nowMs) + minuteMs;
      return this.#stuck("move_budget", figures);
    }
    const moving = enough(candidates, figures.excessBytes).slice(0, left);
    const bytes = this.#letThemGo(moving, figures, reading, nowMs);
    for (const { object, memory } of moving) {
      this.#askedAtMs.push(nowMs);
      this.#askAgainAtMs.set(object.key, nowMs + moveAgainMs);
      this.#setup.log.warn("memory.object_moves", { object: object.key, ...memory, ...figures });
      this.#ask(object);
    }
    return { kind: "moved", objects: moving.length, bytes };
  }

  #ask(object: GuardedObject): void {
    const { log } = this.#setup;
    object.move().then(
      (hasMoved) => {
        if (!hasMoved) log.warn("memory.move_refused", { object: object.key });
      },
      (error: unknown) => log.error("memory.move_failed", { object: object.key, error }),
    );
  }

  /** Counts them as gone, and returns how much they hold. */
  #letThemGo(going: readonly Surveyed[], figures: Figures, reading: HostReading, nowMs: number): number {
    const bytes = going.reduce((sum, surveyed) => sum + surveyed.bytes, 0);
    this.#expected = { bytes: figures.usedBytes - bytes, untilMs: nowMs + guardLimits.settleMs };
    const { bytes: before = 0, usedBefore = reading.usedBytes } = this.#letGo ?? {};
    this.#letGo = { bytes: before + bytes, usedBefore };
    this.#mayHaveGarbage = true;
    return bytes;
  }

  #stuck(why: StuckBecause, figures: object): GuardDecision {
    if (!this.#said.has(why)) this.#setup.log.warn("memory.no_room_to_make", { why, ...figures });
    this.#said.add(why);
    return { kind: "stuck", why };
  }
}

interface Need {
  /** What is left in use once what was let go is gone. */
  readonly usedBytes: number;
  /** By how much that is above the low mark. */
  readonly excessBytes: number;
}

interface Figures extends Need {
  readonly objects: number;
  readonly objectsBytes: number;
}

/** The first of them that hold so much together. */
function enough(ranked: readonly Surveyed[], bytes: number): Surveyed[] {
  const taken: Surveyed[] = [];
  let held = 0;
  for (const surveyed of ranked) {
    if (held >= bytes) break;
    taken.push(surveyed);
    held += surveyed.bytes;
  }
  return taken;
}
