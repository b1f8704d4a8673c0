import { Child } from "../bench/child.ts";
import { until } from "../support/wait.ts";
import type { AttackReport } from "./attack.ts";
import type { AttackQuestion, AttackSetup } from "./attack-process.ts";
import { Bystander, type BystanderFigures, type Phase } from "./bystander.ts";
import { LoadHost, type Memory } from "./load-host.ts";
import { plainTally, unexplained } from "./refusals.ts";
import type { Bound, LoadStage, RunningAttack, Scenario, Size, WantedAttack } from "./scenario.ts";

/** What was seen in one run of a scenario. */
export interface ScenarioResult {
  readonly name: string;
  readonly seconds: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly tally: Readonly<Record<string, number>>;
  readonly bystander: Readonly<Record<Phase, BystanderFigures>>;
  readonly memory: {
    readonly before: Memory;
    readonly peakBytes: number;
    readonly growth: Bound;
    readonly after: Memory;
  };
  readonly recoveredMs: number;
  /** What did not hold. */
  readonly failures: readonly string[];
}

const mebibyte = 1024 * 1024;
const quietMs = { full: 5_000, small: 150 } as const;
/** Small runs share their machine with other tests, and show that nobody is starved, not how quick the host is. */
const bystanderP99MsSmall = 5_000;
const recoveryLimitMsSmall = 20_000;
/** Until the host's own counters say that nothing is left: a vanished WebSocket is found within 60 s. */
const zeroLimitMs = 70_000;
/** What a host may go on holding that it had not held before: compiled code, tables that have grown, pages that wait for use. */
const heapRestMiB = 24;
const residentRestMiB = 160;
/** The bystander's socket. */
const ownSockets = 1;
const countersAtRest: Readonly<Record<string, number>> = {
  stateful_sockets: ownSockets,
  stateful_sockets_buffered_bytes: 0,
  stateful_slow_readers_behind: 0,
  stateful_events_open: 0,
  // The one that asks.
  stateful_requests_open: 1,
};

/** Runs a scenario against a host of its own, or against one that is given. */
export async function runScenario(scenario: Scenario, size: Size, given?: LoadHost): Promise<ScenarioResult> {
  const host = given ?? (await LoadHost.start(scenario.env, scenario.runner));
  try {
    return await new ScenarioRun(scenario, size, host).run();
  } finally {
    if (given === undefined) await host.stop();
  }
}

class ScenarioRun implements LoadStage {
  readonly host: LoadHost;
  readonly #scenario: Scenario;
  readonly #size: Size;
  readonly #attacks: Attacking[] = [];
  readonly #tally: Record<string, number> = {};
  readonly #figures: Record<string, number> = {};
  readonly #failures: string[] = [];
  readonly #errorsBefore: number;

  constructor(scenario: Scenario, size: Size, host: LoadHost) {
    this.#scenario = scenario;
    this.#size = size;
    this.host = host;
    this.#errorsBefore = host.errors.length;
  }

  // -- LoadStage

  readonly size = <T>(full: T, small: T): T => (this.#size === "full" ? full : small);

  async attack(setup: WantedAttack): Promise<RunningAttack> {
    const attack = await Attacking.start({ ...setup, port: this.host.port } as AttackSetup); // all that was left out
    this.#attacks.push(attack);
    return attack;
  }

  figure(name: string, value: number): void {
    this.#figures[name] = Math.round(value * 10) / 10;
  }

  check(what: string, holds: boolean): void {
    if (!holds && !this.#failures.includes(what)) this.#failures.push(what);
  }

  ask(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.host.host.url(path), { signal: AbortSignal.timeout(30_000), ...init });
  }

  // -- the run

  async run(): Promise<ScenarioResult> {
    const startMs = performance.now();
    const bystander = await Bystander.start(this.host.port);
    try {
      await Bun.sleep(quietMs[this.#size]);
      const before = await this.host.collected();
      this.host.forgetPeak();
      bystander.enter("during");
      await this.#load();
      const { peakBytes } = this.host;
      bystander.enter("after");
      const recoveredMs = await this.#recovery();
      await this.#countersRest();
      await Bun.sleep(quietMs[this.#size]);
      const after = await this.host.collected();
      await bystander.stop();
      const growth = this.#scenario.growth(this);
      const figures = (phase: Phase) => bystander.figures(phase);
      const result = {
        name: this.#scenario.name,
        seconds: Math.round((performance.now() - startMs) / 100) / 10,
        figures: this.#figures,
        tally: this.#tally,
        bystander: { before: figures("before"), during: figures("during"), after: figures("after") },
        memory: { before, peakBytes, growth, after },
        recoveredMs,
      };
      return { ...result, failures: [...this.#failures, ...this.#faultsOf(result)] };
    } finally {
      // Each of them, whatever becomes of another: who is left would go on loading the machine.
      await Promise.allSettled([bystander.stop(), ...this.#attacks.map((attack) => attack.stop())]);
    }
  }

  async #load(): Promise<void> {
    try {
      await this.#scenario.run(this);
    } catch (error) {
      this.#failures.push(
        `it could not be run to its end: ${error instanceof Error ? error.message : error}`,
      );
    }
    for (const attack of this.#attacks) {
      const { tally } = await attack.stop().catch((error: Error) => {
        this.#failures.push(`a process of load: ${error.message}`);
        return nothingMet;
      });
      for (const [key, count] of Object.entries(tally)) this.#tally[key] = (this.#tally[key] ?? 0) + count;
    }
  }

  async #recovery(): Promise<number> {
    const startMs = performance.now();
    const { serves } = this.#scenario;
    const recoveryLimitMs = this.size(this.#scenario.recoveryLimitMs, recoveryLimitMsSmall);
    const asked = () => serves(this).catch(() => false);
    await until("what was loaded serves", asked, recoveryLimitMs).catch((error: Error) =>
      this.#failures.push(error.message),
    );
    return Math.round(performance.now() - startMs);
  }

  async #countersRest(): Promise<void> {
    let left: string[] = [];
    const atRest = async () => {
      const metrics = await this.host.metrics();
      left = Object.entries(countersAtRest)
        .filter(([name, rest]) => (metrics[name] ?? 0) > rest)
        .map(([name]) => `${name} is ${metrics[name]}`);
      if (left.length > 0) await Bun.sleep(100);
      return left.length === 0;
    };
    await until("the counters are at rest", atRest, zeroLimitMs).catch(() =>
      this.#failures.push(`${zeroLimitMs / 1000} s after the end ${left.join(", ")}`),
    );
  }

  #shortfalls(): string[] {
    return shortfalls(this.#scenario.floors(this), { ...this.#figures, ...plainTally(this.#tally) });
  }

  #faultsOf({ tally, bystander, memory }: Omit<ScenarioResult, "failures">): string[] {
    const { expected, keptMiB = 0 } = this.#scenario;
    const bystanderP99Ms = this.size(this.#scenario.bystanderP99Ms, bystanderP99MsSmall);
    const faults = [...unexplained(tally, expected), ...this.#shortfalls()];
    for (const phase of ["before", "during", "after"] as const)
      for (const failure of bystander[phase].failures) faults.push(`the bystander, ${phase}: ${failure}`);
    const { requests, echoes } = bystander.during;
    if (requests.count === 0 || echoes.count === 0)
      faults.push("the bystander did nothing while the load lasted");
    const slowest = Math.max(requests.p99Ms, echoes.p99Ms);
    if (slowest > bystanderP99Ms)
      faults.push(`the bystander waited ${slowest} ms (p99) where ${bystanderP99Ms} are allowed`);
    const grownMiB = (memory.peakBytes - memory.before.residentBytes) / mebibyte;
    if (grownMiB > memory.growth.mebibytes)
      faults.push(`it grew by ${Math.round(grownMiB)} MiB where ${memory.growth.mebibytes} are allowed`);
    const heapMiB = (memory.after.heapBytes - memory.before.heapBytes) / mebibyte;
    if (heapMiB > keptMiB + heapRestMiB)
      faults.push(`${Math.round(heapMiB)} MiB of its heap did not come back`);
    const residentMiB = (memory.after.residentBytes - memory.before.residentBytes) / mebibyte;
    if (residentMiB > keptMiB + residentRestMiB)
      faults.push(`${Math.round(residentMiB)} MiB of its resident memory did not come back`);
    const errors = this.host.errors.slice(this.#errorsBefore);
    if (errors.length > 0)
      faults.push(`${errors.length} errors in its log, the first: ${errors[0]?.slice(0, 400)}`);
    return faults;
  }
}

/** What came to less than the load is meant to be. */
export function shortfalls(
  floors: Readonly<Record<string, number>>,
  seen: Readonly<Record<string, number>>,
): string[] {
  return Object.entries(floors)
    .filter(([name, least]) => !((seen[name] ?? 0) >= least))
    .map(
      ([name, least]) => `the load did not come about: ${name} is ${seen[name] ?? 0}, and must be ${least}`,
    );
}

const nothingMet: AttackReport = { isDone: true, tally: {}, figures: {} };

class Attacking implements RunningAttack {
  readonly #child: Child<object>;
  #last: AttackReport | undefined;
  #isOver = false;

  private constructor(child: Child<object>) {
    this.#child = child;
  }

  static async start(setup: AttackSetup): Promise<Attacking> {
    return new Attacking(await Child.start<object>("../load/attack-process.ts", setup, "load"));
  }

  report(): Promise<AttackReport> {
    return this.#ask({ ask: "report" });
  }

  step(name: string): Promise<AttackReport> {
    return this.#ask({ ask: "step", name });
  }

  done(limitMs: number): Promise<AttackReport> {
    const look = async () => {
      const report = await this.report();
      if (!report.isDone) await Bun.sleep(50);
      return report.isDone && report;
    };
    return until("the load is done", look, limitMs);
  }

  /** Rejects where it cannot say any more what it has met; its process ends all the same. */
  async stop(): Promise<AttackReport> {
    if (this.#isOver) return this.#last ?? nothingMet;
    this.#isOver = true;
    return this.report().finally(() => this.#child.stop());
  }

  async #ask(question: AttackQuestion): Promise<AttackReport> {
    this.#last = await this.#child.ask<AttackReport>(question);
    return this.#last;
  }
}
