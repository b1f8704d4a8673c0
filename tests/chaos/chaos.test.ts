import { expect, test } from "bun:test";
import { systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { seedFrom } from "../support/seeded-random.ts";
import { tellTrust } from "../support/trust-line.ts";
import { runChaos } from "./chaos-run.ts";
import { type FaultName, faultNames, needOf, pairsOf, twoAtOnce } from "./fault-names.ts";
import { reasonToSkip } from "./means.ts";
import { figuresOf, linesOf } from "./report.ts";

const seed = seedFrom("CHAOS_SEED");
/** A few that go together in a short time; `bun run chaos` has all of them. */
const short: readonly FaultName[] = ["kill-host", "cut-primary", "freeze-primary", "moves"];
const reason = reasonToSkip();
const seconds = 8;
/** It stops in order by then, and says so; and where even that does not come about, this says it. */
const playLimitMs = 75_000;
const endLimitMs = 100_000;
const testLimitMs = 120_000;

test.skipIf(reason !== undefined)(
  `L3 L4 L7 S5 T6 what clients are told is true under faults of real processes (seed ${seed})${reason === undefined ? "" : `: ${reason}`}`,
  async () => {
    const signal = AbortSignal.timeout(playLimitMs);
    let last = "nothing";
    const playing = runChaos({ seed, seconds, faults: short }, (line) => (last = line), signal);
    const hung = () =>
      new Error(`The run did not end within ${endLimitMs} ms. The last that it said: ${last}`);
    const report = await withTimeLimit(systemClock, endLimitMs, playing, hung);
    for (const line of linesOf(report)) console.log(`chaos: ${line}`);
    tellTrust(`chaos, ${report.replay}`, figuresOf(report));
    expect(report.violations).toEqual([]);
    expect(signal.aborted, `It took more than ${playLimitMs} ms. The last that it said: ${last}`).toBe(false);
    expect([report.faults > 0, report.histories.undecided]).toEqual([true, 0]);
    expect(Math.min(report.operations.ok, report.topics?.heard ?? 0)).toBeGreaterThan(100);
  },
  testLimitMs,
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
