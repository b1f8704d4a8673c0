import { faults } from "./faults.ts";
import { hardCases } from "./hard-cases.ts";
import type { Means } from "./means.ts";
import type { Fault } from "./faults.ts";

/** Two of `faults` at once. */
export const twoAtOnce = "two-at-once";
/**
 * The primary's clock jumps ahead by more than is promised to be borne (L3). What remains is that storage is right (L4), so
 * this is played for objects with durable states alone, after everything else.
 */
export const farAhead = "primary-clock-far-ahead";

export type FaultName = keyof typeof faults | keyof typeof hardCases | typeof twoAtOnce | typeof farAhead;

const single: Readonly<Record<string, Fault>> = { ...faults, ...hardCases };
export const faultNames = [...Object.keys(single), twoAtOnce, farAhead] as FaultName[]; // they are the keys

export function faultOf(name: FaultName): Fault | undefined {
  return single[name];
}

/** Means that a fault cannot do without. */
export function needOf(name: FaultName): Means | undefined {
  return name === farAhead ? "clocks" : single[name]?.needs;
}

/** All that can be met by another fault at the same time, without the two being one, on a machine that lacks some means. */
export function pairsOf(without: readonly Means[]): (readonly [Fault, Fault])[] {
  const candidates = Object.values<Fault>(faults).filter(
    ({ needs }) => needs === undefined || !without.includes(needs),
  );
  return candidates.flatMap((one, index) =>
    candidates
      .slice(index + 1)
      .filter((other) => other.touches !== one.touches || one.touches === "hosts")
      .map((other) => [one, other] as const),
  );
}
