import { linesIn } from "../support/text-lines.ts";
import type { RunResult } from "./run.ts";
import type { WorkerTask } from "./worker.ts";

/** A run that takes longer has got stuck in a loop in which no time passes. */
const runLimitMs = 60_000;

/** One process that simulates: runs are asked of it one after the other. */
export class SimulationWorker {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;

  /** @param bug name of a deliberate bug that it is to have */
  constructor(bug?: string) {
    this.#child = Bun.spawn(
      [process.execPath, `${import.meta.dir}/worker.ts`, ...(bug === undefined ? [] : [bug])],
      {
        stdin: "pipe",
        stdout: "pipe",
        stderr: "inherit",
      },
    );
    this.#lines = linesIn(this.#child.stdout);
  }

  /** Rejects where the run does not end, or the process does. */
  async run(task: WorkerTask): Promise<RunResult> {
    this.#child.stdin.write(`${JSON.stringify(task)}\n`);
    await this.#child.stdin.flush();
    const stuck = setTimeout(() => this.#child.kill("SIGKILL"), runLimitMs);
    const line = await this.#lines.next();
    clearTimeout(stuck);
    if (line.done === true)
      throw new Error(
        `The simulation of seed ${task.seed} did not end within ${runLimitMs} ms, or its process died.`,
      );
    return JSON.parse(line.value) as RunResult; // by `worker.ts`
  }

  async stop(): Promise<void> {
    this.#child.kill();
    await this.#child.exited;
  }
}

/**
 * Runs the seeds with so many processes at once, and calls back with each result as it comes. Stops where `told` answers "stop".
 * Rejects as `SimulationWorker.run`.
 */
export async function simulateAll(
  seeds: Iterable<number>,
  processes: number,
  told: (result: RunResult) => "stop" | undefined,
  bug?: string,
): Promise<void> {
  const queue = seeds[Symbol.iterator]();
  let isStopped = false;
  const work = async () => {
    const worker = new SimulationWorker(bug);
    try {
      for (let next = queue.next(); next.done !== true && !isStopped; next = queue.next())
        if (told(await worker.run({ seed: next.value })) === "stop") isStopped = true;
    } finally {
      await worker.stop();
    }
  };
  await Promise.all(Array.from({ length: processes }, work));
}
