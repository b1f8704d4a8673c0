import { leaseTtlMs } from "./chaos-stage.ts";
import type { BeyondName } from "./fault-names.ts";
import { freeze } from "./faults.ts";
import type { Strike } from "./strike.ts";

const hourMs = 3_600_000;
/**
 * Of the primary's clock. The lease of a host that is not heard ends after a pace's share of its time, while it believes in it for
 * eight ninths of that (L3); and those who are heard every third of a lease are still heard without a gap, so that they may take
 * what it held.
 */
const fastPace = 1.45;
const freezesWhileFast = 4;

export const beyondFaults: Readonly<Record<BeyondName, (strike: Strike) => Promise<void>>> = {
  /** All sessions have ended at once, and no host knows. */
  async "primary-clock-far-ahead"(strike) {
    const byMs = strike.random.pick([2 * leaseTtlMs, hourMs]);
    strike.note(`the primary's clock jumps ahead by ${byMs / 1_000} s`);
    await strike.stage.stepPrimary(byMs);
    await strike.wait({ min: leaseTtlMs, max: 2 * leaseTtlMs });
  },
  /** Others take what a frozen host held, and it goes on while it still believes that it holds it. */
  async "primary-clock-too-fast"(strike) {
    strike.note(`the primary's clock runs ${fastPace} times as fast as it should`);
    const settle = await strike.stage.runPrimaryClock(fastPace);
    try {
      for (let turn = 0; turn < freezesWhileFast; turn += 1) {
        const host = strike.random.pick(strike.stage.hosts);
        await freeze(strike, host, { min: 0.55 * leaseTtlMs, max: 0.75 * leaseTtlMs });
        await strike.wait({ min: 0.3 * leaseTtlMs, max: 0.7 * leaseTtlMs });
      }
    } finally {
      await settle();
      strike.note("the primary's clock runs as it should");
    }
  },
};
