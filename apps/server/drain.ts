import type { Activation } from "../../infra/host/activation.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import { type Clock, sleep, withTimeLimit } from "../../infra/lib/clock.ts";
import type { Log } from "../../infra/lib/log.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import type { RefusalReason } from "../../infra/placement/placement.ts";
import type { ObjectMoves } from "./object-moves.ts";

export interface DrainSetup {
  readonly table: ActivationTable;
  readonly moves: ObjectMoves;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Objects on their way at once. Fewer: the round trips of each add up, and the primary's batches are small. More: as many are
 * paused at once, and their packages are in memory on both sides.
 */
export const drainMovesMax = 256;

/** Parts of the whole time after which no move is waited for any more, and no object's `onStop` and saving. */
export const drainShares = { moves: 0.6, objects: 0.85 } as const;

/** What became of a host's objects. */
interface DrainCounts {
  moved: number;
  saved: number;
  /** Stopped, and with them what was in their memory only. */
  lostMemory: number;
  /** Neither moved nor saved in time: their waiting callers were told so. */
  failed: number;
  /** Responses that ended for it: event streams, whose clients ask again, and what did not end in its time. */
  eventStreamsEnded: number;
  cutOff: number;
}

/** Empties a host that goes away (L11): its objects go to other hosts, and what cannot is stopped and saved. */
export class Drain {
  readonly #setup: DrainSetup;
  readonly #startedAtMs: number;
  readonly #counts: DrainCounts = {
    ...{ moved: 0, saved: 0, lostMemory: 0, failed: 0 },
    ...{ eventStreamsEnded: 0, cutOff: 0 },
  };
  readonly #tried = new Set<string>();
  /** Hosts that take nothing of a class, as they have said to one of its objects. */
  readonly #excluded = new Map<string, Map<string, RefusalReason>>();

  constructor(setup: DrainSetup) {
    this.#setup = setup;
    this.#startedAtMs = setup.clock.monotonicMs();
  }

  /** Moves all that live or sleep here, the busy ones first, until `deadlineMs` on the monotonic clock. Never rejects. */
  async moveAll(deadlineMs: number): Promise<void> {
    const { clock } = this.#setup;
    const isOver = () => clock.monotonicMs() >= deadlineMs;
    // What was about to start when the others were listed is there by the next time.
    for (let left = this.#left(); !isOver(); left = this.#left()) {
      if (left.length === 0 && !this.#mayComeBack()) return;
      if (left.length === 0) await sleep(clock, lookIntervalMs);
      const queue = left.values();
      const work = Promise.all(Array.from({ length: drainMovesMax }, () => this.#moveNext(queue, isOver)));
      const late = () => new Error("The time for moving is over.");
      await withTimeLimit(clock, Math.max(0, deadlineMs - clock.monotonicMs()), work, late).catch(ignore);
    }
  }

  /** Stops and saves what is left. Never rejects. */
  async stopRest(quietLimitMs: number): Promise<void> {
    const { table } = this.#setup;
    const rest = [...table.all()].filter(({ phase }) => phase.name === "live");
    const stops = rest.map((activation) => this.#stop(activation, quietLimitMs));
    await Promise.all(stops);
    await table.close("drain", quietLimitMs);
    // Their move, or the session that they were to have next, was not settled in time.
    this.#counts.failed += [...table.all()].filter((activation) => !rest.includes(activation)).length;
  }

  report(): void {
    const ms = Math.round(this.#setup.clock.monotonicMs() - this.#startedAtMs);
    this.#setup.log.info("host.drained", { ...this.#counts, ms });
  }

  /** What has not been tried yet: those that have something to do first, then those with clients, and sleepers last. */
  #left(): readonly ObjectRef[] {
    const { table } = this.#setup;
    const live = [...table.all()].filter(({ ref, isLive }) => isLive && !this.#tried.has(ref.key));
    const asleep = [...table.allAsleep()].filter(({ ref }) => !this.#tried.has(ref.key));
    const busiest = live.sort((a, b) => b.openEvents - a.openEvents || b.socketCount - a.socketCount);
    return [...busiest, ...asleep].map(({ ref }) => ref);
  }

  /** Whether something is on its way, elsewhere or here, or waits for the next session, and may yet have to be moved. */
  #mayComeBack(): boolean {
    if (this.#setup.table.arriving > 0) return true;
    for (const { ref, phase } of this.#setup.table.all())
      if (!this.#tried.has(ref.key) && (phase.name === "moving" || phase.name === "suspended")) return true;
    return false;
  }

  /** One of those who move objects, for as long as there are any. */
  async #moveNext(queue: Iterator<ObjectRef>, isOver: () => boolean): Promise<void> {
    for (let next = queue.next(); next.done !== true && !isOver(); next = queue.next()) {
      await this.#move(next.value);
    }
  }

  async #move(ref: ObjectRef): Promise<void> {
    const { moves, table, log } = this.#setup;
    const activation = table.live(ref.key);
    this.#tried.add(ref.key);
    const excluded = this.#excluded.get(ref.className) ?? new Map<string, RefusalReason>();
    this.#excluded.set(ref.className, excluded);
    try {
      await moves.move(ref, { kind: "drain" }, excluded);
      this.#counts.moved += 1;
    } catch (error) {
      log.debug("object.not_moved", { object: ref.key, reason: "drain", error });
    }
    if (activation?.isOver) this.#countEarly(activation);
  }

  async #stop(activation: Activation, quietLimitMs: number): Promise<void> {
    const { table } = this.#setup;
    const isMemoryOnly = activation.runtime.definition.durability === "memory";
    try {
      await table.stop(activation, "drain", quietLimitMs);
      if (isMemoryOnly) this.#counts.lostMemory += 1;
      else this.#counts.saved += 1;
    } catch {
      this.#counts.failed += 1; // The table has logged why, and told whoever waited.
    }
    this.#countEarly(activation);
  }

  #countEarly({ endedEarly }: Activation): void {
    this.#counts.eventStreamsEnded += endedEarly?.eventStreams ?? 0;
    this.#counts.cutOff += endedEarly?.cutOff ?? 0;
  }
}

/** Between two looks at whether anybody still asks here. */
const lookIntervalMs = 20;
/** A host that nobody has asked anything for this long is asked no more. */
const silenceMs = 100;

export interface LameDuckSetup {
  readonly clock: Clock;
  readonly limitMs: number;
  /** Requests that are open now, and all that were ever taken. */
  readonly requests: () => { readonly open: number; readonly taken: number };
}

/** What still arrives at a host that owns nothing any more is forwarded for a while, and told to go elsewhere. */
export async function lameDuck({ clock, limitMs, requests }: LameDuckSetup): Promise<void> {
  const endMs = clock.monotonicMs() + limitMs;
  let silentSinceMs = clock.monotonicMs();
  let takenBefore = requests().taken;
  for (;;) {
    const nowMs = clock.monotonicMs();
    const { open, taken } = requests();
    if (open > 0 || taken !== takenBefore) silentSinceMs = nowMs;
    takenBefore = taken;
    if (nowMs >= endMs || nowMs - silentSinceMs >= silenceMs) return;
    await sleep(clock, Math.min(lookIntervalMs, endMs - nowMs));
  }
}

function ignore(): void {
  // What is still on its way ends by itself; what is left is stopped.
}
