import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";

const sampleIntervalMs = 50;
/** Each stands for one interval, so together they are the last 10 s. */
const samplesMax = 200;

/**
 * How late the event loop is: what an event waits before anything looks at it. A timer notes by how much it comes too late.
 *
 * While the loop is blocked the timer cannot fire, so one long block would be one sample among many and vanish in any
 * percentile. It is entered as what the samples would have seen that fell into it: 2 s of blocking in 10 s is a fifth of them.
 * (`monitorEventLoopDelay` of Bun 1.4.5 measures well, and leaves that out; and it does not take a clock.)
 */
export class LoopDelay {
  readonly #clock: Clock;
  readonly #samples = new Float64Array(samplesMax);
  #next = 0;
  #cancel: CancelTimer;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#cancel = this.#sampleLater();
  }

  stop(): void {
    this.#cancel();
  }

  /** What that share of events, 0 to 1, waited at most, of the last 10 s. */
  percentileMs(share: number): number {
    const inOrder = this.#samples.toSorted();
    return inOrder[Math.min(samplesMax - 1, Math.floor(share * samplesMax))] ?? 0;
  }

  #sampleLater(): CancelTimer {
    const dueMs = this.#clock.monotonicMs() + sampleIntervalMs;
    return this.#clock.after(sampleIntervalMs, () => {
      this.#enter(Math.max(0, this.#clock.monotonicMs() - dueMs));
      this.#cancel = this.#sampleLater();
    });
  }

  #enter(delayMs: number): void {
    const oldestMs = delayMs - samplesMax * sampleIntervalMs; // before that the window is full of it
    for (let leftMs = delayMs; leftMs >= 0 && leftMs > oldestMs; leftMs -= sampleIntervalMs) {
      this.#samples[this.#next] = leftMs;
      this.#next = (this.#next + 1) % samplesMax;
    }
  }
}
