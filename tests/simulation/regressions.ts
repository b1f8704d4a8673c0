import type { Fault } from "./faults.ts";

/** A run that once broke a promise, and what was wrong. */
export interface Regression {
  readonly name: string;
  readonly why: string;
  readonly seed: number;
  /** Where the faults that matter are known; all that the seed draws otherwise. */
  readonly faults?: readonly Fault[];
  readonly faultsEndMs?: number;
}

export const regressions: readonly Regression[] = [
  {
    name: "an object that an edge of its own host has woken while it wakes",
    why: "It started twice under one lease, and each copy overwrote what the other had acknowledged (object-table.ts).",
    seed: 55,
  },
];
