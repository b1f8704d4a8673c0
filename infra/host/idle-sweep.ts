import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { Activation } from "./activation.ts";

const idleSweepIntervalMs = 1000;
/** With the sweep and the commit on top, no change waits for more than the 5 s that `"snapshot"` promises. */
const snapshotIntervalMs = 3000;

export interface IdleSweepSetup {
  readonly clock: Clock;
  all(): Iterable<Activation>;
  /** Nothing has happened to it for as long as its class says. */
  idle(activation: Activation): void;
  /** Once per sweep, with what the sweep has looked at. */
  swept(nowMs: number): void;
}

/** Looks at every activation once a second: which is idle, and which is to be saved. */
export class IdleSweep {
  readonly #setup: IdleSweepSetup;
  #cancel: CancelTimer;

  constructor(setup: IdleSweepSetup) {
    this.#setup = setup;
    this.#cancel = this.#later();
  }

  stop(): void {
    this.#cancel();
  }

  #later(): CancelTimer {
    return this.#setup.clock.after(idleSweepIntervalMs, () => {
      this.#cancel = this.#later();
      this.#sweep(this.#setup.clock.monotonicMs());
    });
  }

  #sweep(nowMs: number): void {
    for (const activation of this.#setup.all()) {
      const { durability, idleAfterMs } = activation.runtime.definition;
      if (durability === "snapshot" && nowMs - activation.snapshotAtMs >= snapshotIntervalMs)
        activation.snapshot(nowMs);
      if (activation.touched || !activation.isIdle) {
        activation.touched = false;
        activation.idleSinceMs = nowMs;
      } else if (nowMs - activation.idleSinceMs >= idleAfterMs && activation.phase.name === "live") {
        if (activation.isLive) this.#setup.idle(activation);
      }
    }
    this.#setup.swept(nowMs);
  }
}
