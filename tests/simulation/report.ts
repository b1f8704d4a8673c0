import type { Figure } from "../support/trust-line.ts";
import type { ViolationKind } from "./checks/violation.ts";
import type { RunResult } from "./run.ts";

const counted = [
  "operations",
  "answered",
  "unknown",
  "undecided",
  "heard",
  "echoed",
  "alarms",
  "rings",
  "accepts",
  "activations",
  "transactions",
  "steps",
] as const;

/** What many runs come to. */
export class Report {
  readonly #startedAtMs = performance.now();
  readonly #sums: Record<(typeof counted)[number], number> = {
    ...{ operations: 0, answered: 0, unknown: 0, undecided: 0, heard: 0, echoed: 0 },
    ...{ alarms: 0, rings: 0, accepts: 0, activations: 0, transactions: 0, steps: 0 },
  };
  readonly #faults = new Map<string, number>();
  readonly #violations = new Map<ViolationKind, number>();
  /** Seeds that broke a promise, by what was seen of it first. */
  readonly #failedSeeds = new Map<ViolationKind, number[]>();
  #runs = 0;
  #failed = 0;
  #beyondBounds = 0;
  #virtualMs = 0;
  #slowestHealMs = 0;

  add(result: RunResult): void {
    this.#runs += 1;
    this.#virtualMs += result.virtualMs;
    this.#slowestHealMs = Math.max(this.#slowestHealMs, result.healedMs);
    if (result.settings.beyondBounds) this.#beyondBounds += 1;
    if (result.violations.length > 0) this.#failed += 1;
    for (const name of counted) this.#sums[name] += result[name];
    for (const [kind, count] of Object.entries(result.faultCounts))
      this.#faults.set(kind, (this.#faults.get(kind) ?? 0) + count);
    for (const { kind } of result.violations)
      this.#violations.set(kind, (this.#violations.get(kind) ?? 0) + 1);
    const [first] = result.violations;
    if (first === undefined) return;
    const seeds = this.#failedSeeds.get(first.kind) ?? [];
    this.#failedSeeds.set(first.kind, [...seeds, result.seed]);
  }

  progress(of: number): string {
    const seconds = (performance.now() - this.#startedAtMs) / 1000;
    return `${this.#runs} of ${of} runs, ${this.#failed} failed, ${(this.#runs / seconds).toFixed(1)} a second`;
  }

  /** Of which somebody knows what came. */
  get operations(): number {
    return this.#sums.answered;
  }

  /** Of which somebody was told. */
  get alarms(): number {
    return this.#sums.alarms;
  }

  /** For the output of tests. */
  get figures(): Readonly<Record<string, Figure>> {
    const { answered, unknown, undecided, accepts, steps, heard, echoed, alarms, rings } = this.#sums;
    return {
      ...{ runs: this.#runs, "virtual minutes": this.#virtualMs / 60_000, steps },
      faults: Object.fromEntries(this.#faults),
      "operations checked": answered + unknown,
      ...{ "of unknown outcome": unknown, undecided, "events checked": accepts },
      ...{ "topic messages": heard, "socket messages": echoed, "alarms acknowledged": alarms, rings },
      "slowest healing, s": this.#slowestHealMs / 1000,
      violations: Object.fromEntries(this.#violations),
    };
  }

  /** Which seeds broke a promise, by the kind of what was seen first; nothing where none did. */
  failures(): string[] {
    const byKind = [...this.#failedSeeds].sort((a, b) => b[1].length - a[1].length);
    return byKind.map(
      ([kind, seeds]) => `${kind.padEnd(16)} first in ${seeds.length} runs, seeds ${seeds.join(", ")}`,
    );
  }

  text(): string {
    const seconds = (performance.now() - this.#startedAtMs) / 1000;
    const faults = [...this.#faults]
      .sort((a, b) => b[1] - a[1])
      .map(([kind, count]) => `${kind} ${thousands(count)}`);
    const total = [...this.#faults.values()].reduce((sum, count) => sum + count, 0);
    const violations = [...this.#violations].map(([kind, count]) => `${kind} ${count}`);
    const sums = this.#sums;
    return [
      `runs          ${thousands(this.#runs)} in ${seconds.toFixed(1)} s (${this.#beyondBounds} of them with clocks beyond the bounds)`,
      `virtual time  ${(this.#virtualMs / 3_600_000).toFixed(1)} hours, ${thousands(sums.steps)} steps`,
      `faults        ${thousands(total)}: ${faults.join(", ")}`,
      `operations    ${thousands(sums.operations)} checked: ${thousands(sums.answered)} answered, ${thousands(sums.unknown)} of unknown outcome`,
      `events        ${thousands(sums.accepts)} taken under ${thousands(sums.activations)} leases, ${thousands(sums.transactions)} transactions`,
      `topics        ${thousands(sums.heard)} messages heard`,
      `sockets       ${thousands(sums.echoed)} messages said and heard back`,
      `alarms        ${thousands(sums.alarms)} acknowledged, ${thousands(sums.rings)} times one has rung`,
      `undecided     ${sums.undecided} histories took too long to judge`,
      `healing       ${(this.#slowestHealMs / 1000).toFixed(1)} s at the longest`,
      `violations    ${violations.length === 0 ? "none" : `${violations.join(", ")}, in ${this.#failed} runs`}`,
      ...this.failures().map((line) => `  ${line}`),
    ].join("\n");
  }
}

function thousands(count: number): string {
  return count.toLocaleString("en");
}
