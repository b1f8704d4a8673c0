import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";

const sampleIntervalMs = 1000;

/** Resident memory of this process, looked at once a second: asking the kernel for every placement would cost more. */
export class MemoryGauge {
  usedBytes = process.memoryUsage.rss();
  #cancel: CancelTimer;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#cancel = this.#sampleLater();
  }

  stop(): void {
    this.#cancel();
  }

  #sampleLater(): CancelTimer {
    return this.#clock.after(sampleIntervalMs, () => {
      this.usedBytes = process.memoryUsage.rss();
      this.#cancel = this.#sampleLater();
    });
  }
}
