import type { Violation, ViolationKind } from "./checks/violation.ts";
import type { Fault } from "./faults.ts";
import type { RunResult } from "./run.ts";
import { SimulationWorker } from "./simulation-worker.ts";

/** Runs that a minimization may take. */
const triesMax = 150;
/** Kept between the last fault and the end of the faults, so that what it does can be seen before all is mended. */
const afterglowMs = 3_000;

export interface Least {
  readonly faults: readonly Fault[];
  readonly faultsEndMs: number;
  readonly violations: readonly Violation[];
  readonly tries: number;
}

/**
 * As few faults as still break a promise, and as short a run: halves are left out, then quarters, and so on to single faults (delta
 * debugging, Zeller and Hildebrandt). Any violation of the same kind counts; what is found last is what the result tells.
 */
export async function minimized(failed: RunResult, bug?: string): Promise<Least> {
  const worker = new SimulationWorker(bug);
  const search = new Minimization(worker, failed);
  try {
    return await search.run();
  } finally {
    await worker.stop();
  }
}

class Minimization {
  readonly #worker: SimulationWorker;
  readonly #seed: number;
  readonly #kind: ViolationKind | undefined;
  #faults: readonly Fault[];
  #violations: readonly Violation[];
  #faultsEndMs: number;
  #tries = 0;

  constructor(worker: SimulationWorker, { seed, faults, violations, faultsEndMs }: RunResult) {
    this.#worker = worker;
    this.#seed = seed;
    this.#faults = faults;
    this.#violations = violations;
    this.#faultsEndMs = faultsEndMs;
    this.#kind = violations[0]?.kind;
  }

  async run(): Promise<Least> {
    await this.#leaveOut();
    await this.#shorten();
    const { faults, faultsEndMs, violations, tries } = {
      faults: this.#faults,
      faultsEndMs: this.#faultsEndMs,
      violations: this.#violations,
      tries: this.#tries,
    };
    return { faults, faultsEndMs, violations, tries };
  }

  async #leaveOut(): Promise<void> {
    for (
      let size = Math.ceil(this.#faults.length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    ) {
      let from = 0;
      while (from < this.#faults.length) {
        const rest = [...this.#faults.slice(0, from), ...this.#faults.slice(from + size)];
        if (!(await this.#stillFails(rest, this.#faultsEndMs))) from += size;
        if (this.#tries >= triesMax) return;
      }
    }
  }

  async #shorten(): Promise<void> {
    const lastMs = Math.max(0, ...this.#faults.map(({ atMs }) => atMs));
    const endMs = Math.ceil(lastMs + afterglowMs);
    if (endMs < this.#faultsEndMs) await this.#stillFails(this.#faults, endMs);
  }

  async #stillFails(faults: readonly Fault[], faultsEndMs: number): Promise<boolean> {
    if (this.#tries >= triesMax) return false;
    this.#tries += 1;
    const { violations } = await this.#worker.run({ seed: this.#seed, faults, faultsEndMs });
    if (!violations.some(({ kind }) => kind === this.#kind)) return false;
    this.#faults = faults;
    this.#faultsEndMs = faultsEndMs;
    this.#violations = violations;
    return true;
  }
}
