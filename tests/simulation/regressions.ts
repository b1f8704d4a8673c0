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
    why: "It started twice under one lease, and each copy overwrote what the other had acknowledged (host/object-table.ts).",
    seed: 12,
    faults: [
      { atMs: 2500, kind: "move", object: "talk/a", to: "nrt-3", by: "ams-2" },
      { atMs: 3071.9, kind: "crash", host: "ams-2", downMs: 5526, isSilent: true },
      { atMs: 3181.1, kind: "isolation", host: "nrt-3", slowMs: 1829, delayMs: 399.3, forMs: 4284 },
    ],
  },
  {
    name: "a sleeper that is given up while the next session adopts it",
    why: "What was adopted for it was given back under the copy that had started in the same commit (host/adoption.ts).",
    seed: 5655,
    faults: [
      { atMs: 16828, kind: "freeze", host: "iad-1", forMs: 16816 },
      { atMs: 17935.9, kind: "freeze", host: "ams-2", forMs: 3324 },
      { atMs: 21080, kind: "outage", forMs: 5258 },
      { atMs: 21499.5, kind: "break", host: "ams-2" },
      { atMs: 24011.1, kind: "break", host: "ams-2" },
    ],
  },
];
