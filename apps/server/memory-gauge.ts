import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";
import { LoopDelay } from "./loop-delay.ts";

const sampleIntervalMs = 1000;

/** How a host is doing: for placement, for health, and for the guard of its memory. */
export class MemoryGauge {
  /** Resident memory of this process, looked at once a second: asking the kernel for every placement would cost more. */
  usedBytes: number;
  #cancel: CancelTimer;
  readonly #clock: Clock;
  readonly #residentBytes: () => number;
  readonly #loopDelay: LoopDelay;

  constructor(clock: Clock, residentBytes: () => number = () => process.memoryUsage.rss()) {
    this.#clock = clock;
    this.#residentBytes = residentBytes;
    this.usedBytes = residentBytes();
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
      this.#cancel = this.#sampleLater();
      this.#sample();
    });
  }

  /** Looking takes a file descriptor, and a host that has none left is one whose memory must be watched all the more. */
  #sample(): void {
    try {
      this.usedBytes = this.#residentBytes();
    } catch {
      // What was seen a second ago holds until it can be seen again.
    }
  }
}
