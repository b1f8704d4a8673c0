import type { Activation } from "../../infra/host/activation.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import { guardedObjects } from "../../infra/host/guarded-objects.ts";
import type { PressureReason } from "../../infra/host/host-limits.ts";
import { MemoryAccounts } from "../../infra/host/memory-account.ts";
import { MemoryCheck } from "../../infra/host/memory-check.ts";
import { MemoryGuard } from "../../infra/host/memory-guard.ts";
import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";
import type { Log } from "../../infra/lib/log.ts";
import type { MemoryGauge } from "./memory-gauge.ts";
import type { Mover } from "./mover.ts";

export interface MemoryWatchSetup {
  readonly table: ActivationTable;
  readonly mover: Mover;
  readonly gauge: MemoryGauge;
  readonly limitBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Holds a host's objects to their limits of memory, and the host to its own. */
export class MemoryWatch {
  readonly #setup: MemoryWatchSetup;
  readonly #check: MemoryCheck<Activation>;
  readonly #guard: MemoryGuard;
  #cancel: CancelTimer | undefined;

  constructor(setup: MemoryWatchSetup) {
    const { table, mover, gauge, limitBytes, clock, log } = setup;
    const accounts = new MemoryAccounts(log);
    this.#setup = setup;
    this.#check = new MemoryCheck<Activation>({
      ...{ accounts, log, activations: () => table.all() },
      stop: (activation, cause) => table.stopOffender(activation, cause),
    });
    const going = {
      accounts,
      monotonicMs: () => clock.monotonicMs(),
      sleep: (activation: Activation) => table.stop(activation, "idle"),
      mayMove: (activation: Activation) => mover.mayMove(activation),
      move: (activation: Activation) => mover.moveOff(activation),
    };
    this.#guard = new MemoryGuard({
      reading: () => ({ usedBytes: gauge.usedBytes, limitBytes, loopDelayMs: gauge.loopDelayMs.p99 }),
      objects: () => guardedObjects(table.all(), going),
      collectGarbage: () => Bun.gc(true),
      log,
    });
  }

  /** Why nothing is to be placed here; undefined where it may be. */
  get pressure(): PressureReason | undefined {
    return this.#guard.pressure;
  }

  /** Looks at some of the objects whose class has a limit. To be called once a second. */
  look(nowMs: number): void {
    this.#check.look(nowMs);
  }

  start(): void {
    this.#cancel = this.#guard.run(this.#setup.clock);
  }

  stop(): void {
    this.#cancel?.();
  }
}
