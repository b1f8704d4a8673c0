import { type Offence, offenceLines } from "../continuity/offence.ts";
import type { TopicTotals } from "../continuity/topics/listeners-check.ts";
import type { Figure } from "../support/trust-line.ts";
import type { ActResult } from "./act.ts";
import { type Unavailable, unavailability } from "./availability.ts";
import type { ChaosPlan } from "./chaos-run.ts";
import type { Call } from "./operations.ts";

/** What a run has come to; as JSON, too. */
export interface ChaosReport {
  readonly seed: number;
  /** The command that does about the same again. */
  readonly replay: string;
  readonly seconds: number;
  readonly faults: number;
  readonly unavailable: readonly Unavailable[];
  readonly operations: Operations;
  readonly histories: { readonly checked: number; readonly undecided: number };
  readonly topics: TopicTotals | undefined;
  /** Faults that could not be brought about, and why. */
  readonly leftOut: Readonly<Record<string, string>>;
  readonly violations: readonly Offence[];
  /** What was done when, where something is wrong. */
  readonly journal: readonly string[];
  /** All calls of the objects that something is wrong with. */
  readonly trace: readonly Call[];
}

export interface Operations {
  readonly ok: number;
  readonly failed: number;
  readonly unknown: number;
  /** How often each failure was seen. */
  readonly codes: Readonly<Record<string, number>>;
}

export interface RunFacts {
  readonly journal: readonly string[];
  readonly leftOut: ReadonlyMap<string, string>;
  readonly tookMs: number;
}

export function reportOf(plan: ChaosPlan, results: readonly ActResult[], facts: RunFacts): ChaosReport {
  const calls = results.flatMap((result) => result.calls);
  const violations = results.flatMap(({ offences }) => offences);
  const isWrong = (call: Call) => violations.some(({ client }) => client.startsWith(call.object));
  const sum = (of: (result: ActResult) => number) => results.reduce((total, result) => total + of(result), 0);
  return {
    seed: plan.seed,
    replay: replayLine(plan),
    seconds: Math.round(facts.tookMs / 1_000),
    faults: sum(({ windows }) => windows.length),
    unavailable: unavailability(results),
    operations: operationsOf(calls),
    histories: {
      checked: sum(({ checked }) => checked.histories),
      undecided: sum(({ checked }) => checked.undecided),
    },
    topics: results.find(({ topics }) => topics !== undefined)?.topics,
    leftOut: Object.fromEntries(facts.leftOut),
    violations,
    journal: violations.length > 0 ? facts.journal : [],
    trace: calls.filter(isWrong),
  };
}

export function replayLine({ seed, seconds, faults }: ChaosPlan): string {
  return `bun run chaos --minutes ${Math.round(seconds / 0.6) / 100} --seed ${seed} --faults ${faults.join(",")}`;
}

/** As a person reads it. */
export function linesOf(report: ChaosReport): string[] {
  const { operations, topics, histories, violations, leftOut, journal } = report;
  const codes = Object.entries(operations.codes).map(([code, count]) => `${code} ${count}`);
  const lines = [
    `${report.faults} faults in ${report.seconds} s`,
    ...table(report.unavailable),
    `calls: ${operations.ok} ok, ${operations.failed} failed, ${operations.unknown} of unknown outcome (${codes.join(", ") || "none"})`,
    `histories checked for linearizability: ${histories.checked}, of which undecided: ${histories.undecided}`,
  ];
  if (topics !== undefined) {
    const { published, acknowledged, heard, resumes, gapsTold, closed } = topics;
    lines.push(
      `topics: ${published} published, ${acknowledged} acknowledged, ${heard} heard; resumes: ${resumes.recovered} whole, ${resumes.lost} with a gap; ${gapsTold} gaps told to those who stayed; ${closed} subscriptions closed`,
    );
  }
  for (const [fault, reason] of Object.entries(leftOut)) lines.push(`left out: ${fault}: ${reason}`);
  lines.push(`violations: ${violations.length}`, ...offenceLines(violations));
  if (violations.length > 0) lines.push(...journal, `again with: ${report.replay}`);
  return lines;
}

/** For the output of tests. Of each kind of fault the longest time in which an object was served at no edge. */
export function figuresOf(report: ChaosReport): Readonly<Record<string, Figure>> {
  const { operations, topics, histories, unavailable, violations } = report;
  return {
    seconds: report.seconds,
    faults: Object.fromEntries(unavailable.map(({ fault, times }) => [fault, times])),
    "unavailable at most, ms": unavailable
      .map(({ fault, objects }) => `${fault} ${objects.worst}`)
      .join(", "),
    "operations checked": operations.ok + operations.unknown,
    ...{ "of unknown outcome": operations.unknown, refused: operations.failed },
    ...{ histories: histories.checked, undecided: histories.undecided },
    ...{ "topic messages": topics?.heard ?? 0, violations: violations.length },
  };
}

function table(rows: readonly Unavailable[]): string[] {
  const width = Math.max(0, ...rows.map(({ fault }) => fault.length));
  const number = (value: number) => String(value).padStart(7);
  const head = `${"unavailable, ms".padEnd(width)}  times  objects: median   worst  at an edge: median   worst`;
  return [
    head,
    ...rows.map(
      ({ fault, times, objects, edges }) =>
        `${fault.padEnd(width)}  ${String(times).padStart(5)}  ${number(objects.median).padStart(15)} ${number(objects.worst)}  ${number(edges.median).padStart(18)} ${number(edges.worst)}`,
    ),
  ];
}

function operationsOf(calls: readonly Call[]): Operations {
  const codes: Record<string, number> = {};
  const counts = { ok: 0, failed: 0, unknown: 0 };
  for (const { outcome } of calls) {
    counts[outcome.kind] += 1;
    if (outcome.kind !== "ok") codes[outcome.code] = (codes[outcome.code] ?? 0) + 1;
  }
  return { ...counts, codes };
}
