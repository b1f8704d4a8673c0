import type { CancelTimer, Clock } from "../lib/clock.ts";

/**
 * Runs what was put in after a delay, in the order it was put in, even where the delay shrinks in between. One timer for
 * the whole line, armed for its head.
 */
export class DelayLine {
  readonly #clock: Clock;
  readonly #items: { readonly dueMs: number; readonly run: () => void }[] = [];
  #cancel: CancelTimer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  put(delayMs: number, run: () => void): void {
    const earliest = this.#items.at(-1)?.dueMs ?? 0;
    this.#items.push({ dueMs: Math.max(earliest, this.#clock.monotonicMs() + delayMs), run });
    if (this.#items.length === 1) this.#arm();
  }

  /** Drops what is still on its way. */
  clear(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#items.length = 0;
  }

  #arm(): void {
    const head = this.#items[0];
    if (head === undefined) return;
    const delayMs = Math.max(0, head.dueMs - this.#clock.monotonicMs());
    this.#cancel = this.#clock.after(delayMs, () => this.#deliver());
  }

  #deliver(): void {
    this.#cancel = undefined;
    const now = this.#clock.monotonicMs();
    while (true) {
      const head = this.#items[0];
      // Timers may fire a fraction of a millisecond early.
      if (head === undefined || head.dueMs > now + 0.5) break;
      this.#items.shift();
      head.run();
      // What ran may have cleared the line and filled it anew, which armed it.
      if (this.#cancel !== undefined) return;
    }
    this.#arm();
  }
}
