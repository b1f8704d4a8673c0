import type { Clock } from "../lib/clock.ts";

/**
 * The directory's clock as a host can tell it (L3): what the last answer said, and what has passed here since. The answer
 * was on its way for some time, so this is a little late and never early, which is the side on which an alarm may be.
 */
export class DirectoryTime {
  readonly #clock: Clock;
  #last: { readonly nowMs: number; readonly heardAtMs: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be called as soon as an answer is there. */
  hear(nowMs: number): void {
    this.#last = { nowMs, heardAtMs: this.#clock.monotonicMs() };
  }

  /** Milliseconds since the Unix epoch. */
  nowMs(): number {
    if (this.#last === undefined) return this.#clock.wallMs();
    return this.#last.nowMs + this.#clock.monotonicMs() - this.#last.heardAtMs;
  }
}
