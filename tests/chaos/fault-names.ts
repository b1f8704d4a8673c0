import { faults } from "./faults.ts";
import { hardCases } from "./hard-cases.ts";
import type { Means } from "./means.ts";
import type { Fault } from "./faults.ts";

/** Two of `faults` at once. */
export const twoAtOnce = "two-at-once";
/**
 * The primary's clock is further ahead of those of hosts than is promised to be borne (L3). What remains is that storage is right
 * (L4), so these are played for objects with durable states alone, after everything else.
 */
export const beyondNames = ["primary-clock-far-ahead", "primary-clock-too-fast"] as const;
export type BeyondName = (typeof beyondNames)[number];

export type FaultName = keyof typeof faults | keyof typeof hardCases | typeof twoAtOnce | BeyondName;

const single: Readonly<Record<string, Fault>> = { ...faults, ...hardCases };
export const faultNames = [...Object.keys(single), twoAtOnce, ...beyondNames] as FaultName[]; // they are the keys

export function faultOf(name: FaultName): Fault | undefined {
  return single[name];
}

export function isBeyond(name: FaultName): name is BeyondName {
  return beyondNames.some((beyond) => beyond === name);
}

/** Means that a fault cannot do without. */
export function needOf(name: FaultName): Means | undefined {
  return isBeyond(name) ? "clocks" : single[name]?.needs;
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
