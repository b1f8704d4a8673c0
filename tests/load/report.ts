import type { Figure } from "../support/trust-line.ts";
import { plainTally } from "./refusals.ts";
import type { BystanderFigures } from "./bystander.ts";
import type { ScenarioResult } from "./scenario-run.ts";

const mebibyte = 1024 * 1024;

/** What was seen, for whoever has started it. */
export function linesOf(result: ScenarioResult): string[] {
  const { before, peakBytes, growth, after } = result.memory;
  const mib = (bytes: number) => Math.round(bytes / mebibyte);
  const entries = (record: Readonly<Record<string, number>>) =>
    Object.entries(record)
      .map(([name, value]) => `${name}: ${value}`)
      .join(", ");
  return [
    `${result.name} (${result.seconds} s)${result.failures.length === 0 ? "" : "  FAILED"}`,
    `  ${entries(result.figures)}`,
    `  answers    ${entries(result.tally)}`,
    `  resident   ${mib(before.residentBytes)} MiB, at most ${mib(peakBytes)}, then ${mib(after.residentBytes)}; allowed +${growth.mebibytes}: ${growth.because}`,
    `  heap       ${mib(before.heapBytes)} MiB, then ${mib(after.heapBytes)}`,
    `  bystander  ${(["before", "during", "after"] as const).map((phase) => `${phase} ${waits(result.bystander[phase])}`).join("; ")}`,
    `  recovered  after ${result.recoveredMs} ms`,
    ...result.failures.map((failure) => `  ! ${failure}`),
  ];
}

/** Of all scenarios together, for the output of tests. */
export function figuresOf(results: readonly ScenarioResult[]): Readonly<Record<string, Figure>> {
  const met: Record<string, number> = {};
  for (const { tally } of results)
    for (const [key, count] of Object.entries(plainTally(tally))) met[key] = (met[key] ?? 0) + count;
  const most = (of: (result: ScenarioResult) => number) => Math.max(0, ...results.map(of));
  const bystanders = results.map(({ bystander }) => bystander.during);
  return {
    scenarios: results.length,
    seconds: results.reduce((sum, { seconds }) => sum + seconds, 0),
    "answers and closes": met,
    "most memory taken, MiB": most(
      ({ memory }) => (memory.peakBytes - memory.before.residentBytes) / mebibyte,
    ),
    "bystander, answers": bystanders.reduce(
      (sum, { requests, echoes }) => sum + requests.count + echoes.count,
      0,
    ),
    "bystander waited at most, ms": most(({ bystander }) =>
      Math.max(bystander.during.requests.maxMs, bystander.during.echoes.maxMs),
    ),
    "slowest recovery, ms": most(({ recoveredMs }) => recoveredMs),
    failures: results.reduce((sum, { failures }) => sum + failures.length, 0),
  };
}

/** p50 / p99 / the longest of requests, and of echoes. */
function waits({ requests, echoes, failures }: BystanderFigures): string {
  const failed = failures.length === 0 ? "" : `, ${failures.length} failed`;
  return `${requests.p50Ms}/${requests.p99Ms}/${requests.maxMs} and ${echoes.p50Ms}/${echoes.p99Ms}/${echoes.maxMs} ms${failed}`;
}
