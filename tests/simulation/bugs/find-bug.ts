import type { Violation, ViolationKind } from "../checks/violation.ts";
import { simulateAll } from "../simulation-worker.ts";
import type { DeliberateBug } from "./deliberate-bugs.ts";

export interface BugSearch {
  readonly bug: DeliberateBug;
  /** The runs that it took, the one that found it included; undefined where none did. */
  readonly runs: number | undefined;
  readonly seed: number | undefined;
  /** The first by a check that is to find it. */
  readonly violation: Violation | undefined;
  /** All checks that said something in those runs. */
  readonly kinds: ReadonlySet<ViolationKind>;
}

/** Runs seeds with the bug until a check that is to find it does. That another one says something is no find. */
export async function findBug(bug: DeliberateBug, from: number, runsMax: number): Promise<BugSearch> {
  let runs = 0;
  let found: { readonly seed: number; readonly violation: Violation } | undefined;
  const kinds = new Set<ViolationKind>();
  const seeds = Array.from({ length: runsMax }, (_, index) => from + index);
  const told = ({ seed, violations }: { seed: number; violations: readonly Violation[] }) => {
    runs += 1;
    for (const { kind } of violations) kinds.add(kind);
    const violation = violations.find(({ kind }) => bug.foundBy.includes(kind));
    if (violation !== undefined) found = { seed, violation };
    return violation === undefined ? undefined : ("stop" as const);
  };
  await simulateAll(seeds, 1, told, bug.name);
  return { bug, runs: found && runs, seed: found?.seed, violation: found?.violation, kinds };
}
