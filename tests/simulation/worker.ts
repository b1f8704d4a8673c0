import type { Fault } from "./faults.ts";
import { applyBug } from "./bugs/apply-bug.ts";
import type { RunOptions } from "./run.ts";

/**
 * A process that simulates and does nothing else. It is told what to run on its input, one JSON object a line, and says what came of
 * each on its output:
 *
 *     bun tests/simulation/worker.ts [name of a deliberate bug]
 *     → {"seed":1}            or {"seed":1,"faults":[…],"faultsEndMs":9000,"isTold":true}
 *     ← the `RunResult` of it
 */
export interface WorkerTask extends RunOptions {
  readonly faults?: readonly Fault[];
}

const [, , bug] = process.argv;
if (bug !== undefined) applyBug(bug);
// Only now: what is imported is what the bug has changed.
const { Simulator } = await import("./simulator.ts");
const write = process.stdout.write.bind(process.stdout);
const input = console[Symbol.asyncIterator]();
const simulator = await Simulator.start();
for (let line = await input.next(); line.done !== true; line = await input.next()) {
  if (line.value === "") continue;
  const task = JSON.parse(line.value) as WorkerTask; // by `SimulationWorker`
  write(`${JSON.stringify(simulator.run(task))}\n`);
}
