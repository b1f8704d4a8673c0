import { type Clock, sleep } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";

export interface OwnerWaitSetup {
  readonly clock: Clock;
  readonly random: () => number;
  /** How long the lease of a lost owner may still run. */
  readonly leaseTtlMs: number;
  /** So that the end of that lease is seen. */
  readonly refreshHosts: () => Promise<unknown>;
}

/** How much longer than a lease a request waits for the next owner. */
export const ownerWaitGraceMs = 5000;
const pauseMinMs = 100;
const pauseMaxMs = 1000;

/** A request of a class with `onOwnerLost: "wait"`, between one search for its owner and the next. */
export class OwnerWait {
  readonly #setup: OwnerWaitSetup;
  readonly #signal: AbortSignal;
  readonly #untilMs: number;
  #pauseMs = pauseMinMs;

  constructor(setup: OwnerWaitSetup, signal: AbortSignal) {
    this.#setup = setup;
    this.#signal = signal;
    this.#untilMs = setup.clock.monotonicMs() + setup.leaseTtlMs + ownerWaitGraceMs;
  }

  /** Waits a little; false where the request has failed for good, its time is over, or its client has left. */
  async goesOnAfter(thrown: unknown): Promise<boolean> {
    const { clock, random, refreshHosts } = this.#setup;
    if (!(thrown instanceof StatefulError) || thrown.code !== "owner_unreachable") return false;
    if (clock.monotonicMs() >= this.#untilMs) return false;
    await sleep(clock, this.#pauseMs * (0.5 + random() / 2), this.#signal);
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMaxMs);
    if (this.#signal.aborted) return false;
    await refreshHosts();
    return true;
  }
}
