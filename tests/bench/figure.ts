import type { Comparison, Pace, Spread } from "./pace.ts";
import { medianOf, spreadOf } from "./pace.ts";

/** What `bun run bench` can be asked for by name. */
export interface Measure {
  readonly name: string;
  run(pace: Pace): Promise<readonly Figure[]>;
}

export type Unit = "/s" | "B" | "ms" | "µs" | "frames" | "messages";

/** One line of the table. */
export interface Figure {
  readonly measure: string;
  readonly unit: Unit;
  readonly ours: number;
  readonly reference: number;
  /** What the reference is, in two words. */
  readonly against: string;
  readonly ratio: Spread;
  readonly cpuMicrosPerOperation?: { readonly ours: number; readonly reference: number };
  readonly cpuRatio?: Spread;
  readonly coreShare?: { readonly ours: number; readonly reference: number };
  readonly goal?: Goal;
}

export interface Goal {
  readonly text: string;
  readonly isMet: boolean;
}

export interface FigureHead {
  readonly measure: string;
  readonly against: string;
  /** `rate` where one caller waits for one answer after the other, so that no core is ever full. */
  readonly judgedBy?: "rate";
  /** The ratio to reach. */
  readonly ratioMin?: number;
}

/** Below this share of its core a server was not what held the rate back: the load was, or whoever else runs here. */
export const coreShareMin = 0.85;

/** A rate: more is better. Where no server was busy its processor time decides whether the goal is met. */
export function rateFigure({ ratioMin, judgedBy, ...head }: FigureHead, comparison: Comparison): Figure {
  const { ours, reference, ratio, cpuRatio } = comparison;
  const cpu = bothOf(ours.cpuMicrosPerOperation, reference.cpuMicrosPerOperation);
  const share = bothOf(ours.coreShare, reference.coreShare);
  const isBusy =
    judgedBy === "rate" || share === undefined || Math.min(share.ours, share.reference) >= coreShareMin;
  const judged = isBusy ? ratio : (cpuRatio ?? ratio);
  return {
    ...head,
    unit: "/s",
    ours: ours.perSecond,
    reference: reference.perSecond,
    ratio,
    ...(cpu && { cpuMicrosPerOperation: cpu }),
    ...(cpuRatio && { cpuRatio }),
    ...(share && { coreShare: share }),
    ...(ratioMin !== undefined && { goal: goalOf(ratioMin, judged.median, isBusy ? "" : " of CPU") }),
  };
}

function goalOf(min: number, reached: number, kind: string): Goal {
  return { text: `≥ ${min}${kind}`, isMet: reached >= min };
}

export interface CostHead {
  readonly measure: string;
  readonly against: string;
  readonly unit: Unit;
  /** The ratio to stay within. */
  readonly ratioMax?: number;
}

/** Bytes or milliseconds, one pair for each round: less is better. */
export function costFigure(
  { ratioMax, ...head }: CostHead,
  pairs: readonly { readonly ours: number; readonly reference: number }[],
): Figure {
  const ratio = spreadOf(pairs.map(({ ours, reference }) => ours / reference));
  return {
    ...head,
    ours: medianOf(pairs.map(({ ours }) => ours)),
    reference: medianOf(pairs.map(({ reference }) => reference)),
    ratio,
    ...(ratioMax !== undefined && { goal: { text: `≤ ${ratioMax}`, isMet: ratio.median <= ratioMax } }),
  };
}

function bothOf(ours: number | undefined, reference: number | undefined) {
  return ours === undefined || reference === undefined ? undefined : { ours, reference };
}
