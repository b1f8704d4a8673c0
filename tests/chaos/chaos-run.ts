import { SeededRandom } from "../support/seeded-random.ts";
import { Act, type ActResult } from "./act.ts";
import { ChaosStage } from "./chaos-stage.ts";
import { type FaultName, isBeyond, needOf } from "./fault-names.ts";
import { Journal } from "./journal.ts";
import { missingMeans } from "./means.ts";
import { type ChaosReport, reportOf } from "./report.ts";

export interface ChaosPlan {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly FaultName[];
}

/** Of the time, what is kept for faults past which only storage is promised to be right. */
const beyondShare = 0.15;
const progressEveryMs = 3_000;

/** Faults that this machine cannot bring about, each with the reason. */
export function leftOut(faults: readonly FaultName[]): Map<FaultName, string> {
  const missing = missingMeans();
  return new Map(
    faults.flatMap((name) => {
      const need = needOf(name);
      const reason = need === undefined ? undefined : missing.get(need);
      return reason === undefined ? [] : [[name, reason] as const];
    }),
  );
}

/**
 * Real processes, real faults, and clients who check what they are told. What is done, and in which order, comes from the seed;
 * how it meets what clients do is up to the machine, so a seed repeats a run about, and not to the millisecond.
 *
 * @param tell is given a line of progress every few seconds
 */
export async function runChaos(
  plan: ChaosPlan,
  tell: (line: string) => void,
  signal: AbortSignal = new AbortController().signal,
): Promise<ChaosReport> {
  const random = new SeededRandom(plan.seed);
  const missing = leftOut(plan.faults);
  const possible = plan.faults.filter((name) => !missing.has(name));
  const journal = new Journal();
  const stage = await ChaosStage.open();
  const results: ActResult[] = [];
  const startedAtMs = performance.now();
  try {
    const promised = shuffled(
      possible.filter((name) => !isBeyond(name)),
      random,
    );
    const beyond = possible.filter(isBeyond);
    const share = promised.length === 0 ? 1 : beyondShare;
    const acts = [
      { faults: promised, isBeyond: false, seconds: plan.seconds * (beyond.length === 0 ? 1 : 1 - share) },
      { faults: beyond, isBeyond: true, seconds: plan.seconds * share },
    ];
    for (const act of acts) {
      if (act.faults.length === 0 || signal.aborted) continue;
      const playing = new Act({ stage, journal, random: random.fork(), signal, ...act });
      const told = setInterval(() => tell(progress(playing, journal, startedAtMs)), progressEveryMs);
      const result = await playing.play().finally(() => clearInterval(told));
      results.push(result);
      if (result.offences.length > 0) break;
    }
  } catch (error) {
    for (const line of journal.lines) tell(line);
    throw error;
  } finally {
    await stage.close();
  }
  return reportOf(plan, results, {
    journal: journal.lines,
    leftOut: missing,
    tookMs: performance.now() - startedAtMs,
  });
}

function progress(
  { participants, windows, offences }: Act,
  { latest }: Journal,
  startedAtMs: number,
): string {
  const { calls } = participants;
  const count = (kind: string) => calls.filter(({ outcome }) => outcome.kind === kind).length;
  const seconds = Math.round((performance.now() - startedAtMs) / 1_000);
  return [
    `${seconds} s: ${windows.length} faults`,
    `calls ${count("ok")} ok ${count("failed")} failed ${count("unknown")} unknown`,
    `${participants.heard} heard`,
    `${offences.length} violations`,
    latest,
  ].join("; ");
}

function shuffled<T>(items: readonly T[], random: SeededRandom): T[] {
  const left = [...items];
  return Array.from(items, () => left.splice(random.between(0, left.length - 1), 1)).flat();
}
