import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";
import { LoopDelay } from "./loop-delay.ts";

const sampleIntervalMs = 1000;

/** How a host is doing: for placement, for health, and for the guard of its memory. */
export class MemoryGauge {
  /** Resident memory of this process, looked at once a second: asking the kernel for every placement would cost more. */
  usedBytes = process.memoryUsage.rss();
  #cancel: CancelTimer;
  readonly #clock: Clock;
  readonly #loopDelay: LoopDelay;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#loopDelay = new LoopDelay(clock);
    this.#cancel = this.#sampleLater();
  }

  /** What an event waits for the event loop, of the last 10 s: half of them less than `p50`, one in a hundred more than `p99`. */
  get loopDelayMs(): { readonly p50: number; readonly p99: number } {
    return { p50: this.#loopDelay.percentileMs(0.5), p99: this.#loopDelay.percentileMs(0.99) };
  }

  stop(): void {
    this.#cancel();
    this.#loopDelay.stop();
  }

  #sampleLater(): CancelTimer {
    return this.#clock.after(sampleIntervalMs, () => {
      this.usedBytes = process.memoryUsage.rss();
      this.#cancel = this.#sampleLater();
    });
  }
}
