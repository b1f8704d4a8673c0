import { simulateAll } from "../simulation-worker.ts";
import type { DeliberateBug } from "./deliberate-bugs.ts";

export interface BugSearch {
  readonly name: string;
  /** The runs that it took, the one that found it included; undefined where none did. */
  readonly runs: number | undefined;
  readonly seed: number | undefined;
  readonly violation: string | undefined;
}

/** Runs seeds with the bug until one of them breaks a promise. */
export async function findBug({ name }: DeliberateBug, from: number, runsMax: number): Promise<BugSearch> {
  let runs = 0;
  let found: { readonly seed: number; readonly violation: string } | undefined;
  const seeds = Array.from({ length: runsMax }, (_, index) => from + index);
  const told = ({ seed, violations: [violation] }: { seed: number; violations: readonly string[] }) => {
    runs += 1;
    if (violation !== undefined) found = { seed, violation };
    return violation === undefined ? undefined : ("stop" as const);
  };
  await simulateAll(seeds, 1, told, name);
  return { name, runs: found && runs, seed: found?.seed, violation: found?.violation };
}
