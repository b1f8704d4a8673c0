import { expect, test } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { tellTrust } from "../support/trust-line.ts";
import { lineOf } from "./checks/violation.ts";
import { regressions } from "./regressions.ts";
import { Report } from "./report.ts";
import { SimulationWorker, simulateAll } from "./simulation-worker.ts";

const processes = 2;
const fixedRuns = 20;
const freshRuns = 12;
/** A run takes 0.1 s of one core; a machine that does much else may need some twenty times as long. */
const limitMs = 100_000;

test(
  "the same seed is the same run, whatever its process has run before",
  async () => {
    const [one, other] = [new SimulationWorker(), new SimulationWorker()];
    const seeds = [1, 2];
    const forwards = await hashes(one, seeds);
    const backwards = await hashes(other, seeds.toReversed());
    await Promise.all([one.stop(), other.stop()]);
    expect(forwards).toEqual(backwards.toReversed());
    expect(new Set(forwards).size).toBe(seeds.length);
  },
  limitMs,
);

test(
  `${fixedRuns} runs that are always the same keep every promise`,
  async () => {
    const { alarms } = await expectNoViolations(1, fixedRuns);
    // A third of runs has some.
    expect(alarms).toBeGreaterThan(fixedRuns);
  },
  limitMs,
);

const fresh = seedFrom("SIMULATION_SEED");

test(
  `${freshRuns} new runs keep every promise: bun run sim ${fresh} --runs ${freshRuns}`,
  async () => {
    await expectNoViolations(fresh, freshRuns);
  },
  limitMs,
);

for (const { name, why, ...run } of regressions) {
  test(
    `regression: ${name}`,
    async () => {
      const worker = new SimulationWorker();
      const { violations } = await worker.run(run);
      await worker.stop();
      expect(violations.map(lineOf), why).toEqual([]);
    },
    limitMs,
  );
}

async function hashes(worker: SimulationWorker, seeds: readonly number[]): Promise<number[]> {
  const found: number[] = [];
  for (const seed of seeds) found.push((await worker.run({ seed })).traceHash);
  return found;
}

async function expectNoViolations(from: number, runs: number): Promise<Report> {
  const seeds = Array.from({ length: runs }, (_, index) => from + index);
  const broken: string[] = [];
  const report = new Report();
  await simulateAll(seeds, processes, (result) => {
    report.add(result);
    const { seed, violations, undecided } = result;
    if (undecided > 0) broken.push(`bun run sim ${seed}: ${undecided} histories took too long to judge`);
    for (const violation of violations) broken.push(`bun run sim ${seed}: ${lineOf(violation)}`);
    return undefined;
  });
  tellTrust(`simulation, bun run sim ${from} --runs ${runs}`, report.figures);
  expect(broken).toEqual([]);
  // Runs in which nobody was answered would keep every promise too.
  expect(report.operations).toBeGreaterThan(10 * runs);
  return report;
}
