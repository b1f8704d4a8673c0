import { type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Directory } from "./directory.ts";

/** How long a lease that says nothing any more is kept. Longer: more rows. Shorter: more rows are made anew for objects that come and go. */
export const leaseKeepMs = 24 * 60 * 60 * 1000;
/** Leases that are looked at in one transaction of the primary. */
export const leasesPerPage = 2_000;
/** From one page to the next, of all hosts together; and of one host while it finds leases to forget. */
export const sweepRestMs = 15_000;
export const sweepBusyMs = 1_000;

export interface LeaseSweeperSetup {
  readonly directory: Pick<Directory, "forgetLeases">;
  readonly clock: Clock;
  readonly log: Log;
  /** How many hosts there are, each of which sweeps. */
  hosts(): number;
}

/**
 * Goes through the leases, page by page and for ever, and has those forgotten that say nothing any more. Every object that was
 * ever asked for has had one, and ids are made up by clients: without this the table would grow for as long as anybody asks.
 */
export class LeaseSweeper {
  readonly #setup: LeaseSweeperSetup;
  #after = "";

  constructor(setup: LeaseSweeperSetup) {
    this.#setup = setup;
  }

  /** Until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, hosts } = this.#setup;
    let isBusy = false;
    for (;;) {
      await sleep(clock, isBusy ? sweepBusyMs : sweepRestMs * Math.max(1, hosts()), signal);
      if (signal.aborted) return;
      isBusy = await this.#page();
    }
  }

  /** Whether there was anything to forget. */
  async #page(): Promise<boolean> {
    const { directory, log } = this.#setup;
    try {
      const page = { after: this.#after, limit: leasesPerPage, keepMs: leaseKeepMs };
      const { forgotten, next } = await directory.forgetLeases(page);
      this.#after = next ?? "";
      return forgotten > 0;
    } catch (thrown) {
      log.warn("lease.sweep_failed", { error: asStatefulError(thrown) });
      return false;
    }
  }
}
