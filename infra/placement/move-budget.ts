/** Moves a host may begin in a minute because the object's users are elsewhere. */
export const followMovesPerMinute = 30;

const minuteMs = 60_000;

/**
 * How many moves that could as well wait a host begins. Every object's decision is made for itself and may be right, and
 * all of them at once would still be a storm: when a region comes up, a hundred thousand objects may want to go there. Drains
 * and operators are not counted; they do not ask.
 *
 * A token bucket: a sixth of a minute's moves at once, the rest as time goes by. In no minute, wherever it begins, are there
 * more than `movesPerMinute`; in the long run, for that promise, a sixth less. The burst lets a host look at its objects every
 * ten seconds and not at every moment.
 */
export class MoveBudget {
  readonly #burst: number;
  readonly #refillPerMs: number;
  #tokens: number;
  #refilledAtMs: number;

  /** `nowMs` here and below: monotonic. Where it goes back nothing is refilled. */
  constructor(movesPerMinute: number, nowMs: number) {
    // Also where it is not a number.
    const limit = movesPerMinute >= 1 ? Math.floor(movesPerMinute) : 0;
    this.#burst = limit === 0 ? 0 : Math.max(1, Math.floor(limit / 6));
    // After a burst the rest of the minute brings one less than this, since the last would come just as it ends.
    this.#refillPerMs = limit === 0 ? 0 : (limit - this.#burst + 1) / minuteMs;
    this.#tokens = this.#burst;
    this.#refilledAtMs = nowMs;
  }

  /** Whether one more move may begin now; if so it is counted. */
  take(nowMs: number): boolean {
    this.#refill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** How long until the next may begin: 0 where it may now, without end where there is no budget at all. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs);
    if (this.#tokens >= 1) return 0;
    return this.#refillPerMs === 0 ? Number.POSITIVE_INFINITY : (1 - this.#tokens) / this.#refillPerMs;
  }

  #refill(nowMs: number): void {
    const elapsedMs = nowMs - this.#refilledAtMs;
    if (!(elapsedMs > 0)) return;
    this.#refilledAtMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + elapsedMs * this.#refillPerMs);
  }
}
