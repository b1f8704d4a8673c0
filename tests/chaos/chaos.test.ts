import { expect, test } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { runChaos } from "./chaos-run.ts";
import { type FaultName, faultNames, needOf, pairsOf, twoAtOnce } from "./fault-names.ts";
import { reasonToSkip } from "./means.ts";
import { linesOf } from "./report.ts";

const seed = seedFrom("CHAOS_SEED");
/** A few that go together in a short time; `bun run chaos` has all of them. */
const short: readonly FaultName[] = ["kill-host", "cut-primary", "freeze-primary", "moves"];
const reason = reasonToSkip();
const limitMs = 120_000;

test.skipIf(reason !== undefined)(
  `L3 L4 L7 S5 T6 what clients are told is true under faults of real processes (seed ${seed})${reason === undefined ? "" : `: ${reason}`}`,
  async () => {
    const report = await runChaos({ seed, seconds: 8, faults: short }, () => undefined);
    for (const line of linesOf(report)) console.log(`chaos: ${line}`);
    expect(report.violations).toEqual([]);
    expect([report.faults > 0, report.histories.undecided]).toEqual([true, 0]);
    expect(Math.min(report.operations.ok, report.topics?.heard ?? 0)).toBeGreaterThan(100);
  },
  limitMs,
);

test("of two faults at once neither takes the whole stage, and only of hosts there are enough for both", () => {
  const pairs = pairsOf([]);
  expect(pairs.length).toBeGreaterThan(pairsOf(["clocks"]).length);
  for (const [one, other] of pairs) {
    expect([one.touches, other.touches]).not.toContain("everything");
    if (one.touches !== "hosts") expect(one.touches).not.toBe(other.touches);
  }
});

test("what a fault needs is known, so that a machine without it leaves it out", () => {
  expect(faultNames.filter((name) => needOf(name) === "disk")).toEqual(["fill-disk", "full-disk-and-moves"]);
  expect(needOf(twoAtOnce)).toBeUndefined();
});
