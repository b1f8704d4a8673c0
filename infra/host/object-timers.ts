import type { CancelTimer, Clock } from "../lib/clock.ts";

/** The timers of one activation: while one is pending the object is awake, and they all end with it. */
export class ObjectTimers {
  readonly #clock: Clock;
  readonly #pending = new Set<CancelTimer>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#pending.size;
  }

  after(delayMs: number, callback: () => void): CancelTimer {
    const cancel = this.#clock.after(delayMs, () => {
      this.#pending.delete(forget);
      callback();
    });
    const forget = () => {
      cancel();
      this.#pending.delete(forget);
    };
    this.#pending.add(forget);
    return forget;
  }

  cancelAll(): void {
    for (const cancel of [...this.#pending]) cancel();
  }
}
