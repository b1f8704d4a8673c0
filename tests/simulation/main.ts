import { parseArgs } from "node:util";
import { seedOption, wholeNumberOption } from "../support/command-options.ts";
import { lineOf } from "./checks/violation.ts";
import { describe } from "./faults.ts";
import { minimized } from "./minimize.ts";
import { Report } from "./report.ts";
import type { RunResult } from "./run.ts";
import { SimulationWorker, simulateAll } from "./simulation-worker.ts";

/**
 *     bun run sim                    1,000 runs from a new seed on
 *     bun run sim --runs 10000       as many, one process for each core
 *     bun run sim 42 --runs 200      those that begin at seed 42
 *     bun run sim 42                 that one, told line by line
 *     bun run sim --failures 50      goes on until so many runs have failed; default 5
 *
 * Ends with 1 where a run broke a promise: the first one's schedule is printed, whole and minimized, and the seeds of all of them.
 */
const { values, positionals } = parseArgs({
  options: {
    runs: { type: "string" },
    bug: { type: "string" },
    processes: { type: "string", default: "2" },
    failures: { type: "string", default: "5" },
  },
  allowPositionals: true,
});
const failuresMax = wholeNumberOption("--failures", values.failures, { min: 1 });
const seed = seedOption("The seed", positionals[0]);
const runs = values.runs === undefined ? undefined : wholeNumberOption("--runs", values.runs);
const isSingle = positionals[0] !== undefined && runs === undefined;
process.exitCode = isSingle ? await tell(seed) : await simulateMany(seed, runs ?? 1_000);

/** One run, with all that happened in it. */
async function tell(one: number): Promise<number> {
  const worker = new SimulationWorker(values.bug);
  const result = await worker.run({ seed: one, isTold: true });
  await worker.stop();
  for (const line of result.lines) console.log(line);
  console.log();
  const report = new Report();
  report.add(result);
  console.log(report.text());
  console.log(JSON.stringify(result.settings));
  if (result.violations.length > 0) await explain(result);
  return result.violations.length > 0 ? 1 : 0;
}

async function simulateMany(from: number, count: number): Promise<number> {
  console.log(`${count} runs from seed ${from} on; bun run sim ${from} --runs ${count} repeats them.`);
  const report = new Report();
  const failed: RunResult[] = [];
  let toldAtMs = performance.now();
  // Whoever has waited long enough is told what there is by then.
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => {
      console.log(report.text());
      process.exit(failed.length > 0 ? 1 : 0);
    });
  const seeds = Array.from({ length: count }, (_, index) => from + index);
  const stop = (result: RunResult) => {
    report.add(result);
    if (result.violations.length > 0) failed.push(result);
    for (const violation of result.violations) console.log(`seed ${result.seed}: ${lineOf(violation)}`);
    if (performance.now() - toldAtMs > 10_000) {
      toldAtMs = performance.now();
      console.log(report.progress(count));
    }
    return failed.length > 0 && failed.length >= failuresMax ? ("stop" as const) : undefined;
  };
  await simulateAll(seeds, wholeNumberOption("--processes", values.processes, { min: 1 }), stop, values.bug);
  const text = report.text();
  const [first] = failed;
  if (first) await explain(first);
  console.log(text);
  return failed.length > 0 ? 1 : 0;
}

/** What to repeat, and how little of it is enough. */
async function explain(failed: RunResult): Promise<void> {
  const { seed: one, faults, violations } = failed;
  console.log(`\nSeed ${one} broke a promise: ${violations.map(lineOf)[0]}`);
  console.log(`Its schedule, ${faults.length} faults:`);
  for (const fault of faults) console.log(`  ${describe(fault)}`);
  const least = await minimized(failed, values.bug);
  console.log(`As few of them as still do (${least.tries} tries), until ${least.faultsEndMs} ms:`);
  for (const fault of least.faults) console.log(`  ${describe(fault)}`);
  console.log(`→ ${least.violations.map(lineOf)[0]}`);
  console.log("As a regression, for tests/simulation/regressions.ts:");
  const { faultsEndMs } = least;
  console.log(JSON.stringify({ name: "…", why: "…", seed: one, faultsEndMs, faults: least.faults }));
}
