import type { Comparison, Pace, Spread } from "./pace.ts";
import { medianOf, spreadOf } from "./pace.ts";
import type { Stage } from "./stage.ts";

/** What `bun run bench` can be asked for by name. Each leaves nothing running but on its stage, which is closed after it. */
export interface Measure {
  readonly name: string;
  run(stage: Stage, pace: Pace): Promise<readonly Figure[]>;
}

export type Unit = "/s" | "B" | "ms";

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
  /** The ratio to reach. */
  readonly ratioMin?: number;
}

/** A rate: more is better. */
export function rateFigure({ ratioMin, ...head }: FigureHead, comparison: Comparison): Figure {
  const { ours, reference, ratio, cpuRatio } = comparison;
  const cpu = bothOf(ours.cpuMicrosPerOperation, reference.cpuMicrosPerOperation);
  const share = bothOf(ours.coreShare, reference.coreShare);
  return {
    ...head,
    unit: "/s",
    ours: ours.perSecond,
    reference: reference.perSecond,
    ratio,
    ...(cpu && { cpuMicrosPerOperation: cpu }),
    ...(cpuRatio && { cpuRatio }),
    ...(share && { coreShare: share }),
    ...(ratioMin !== undefined && { goal: { text: `≥ ${ratioMin}`, isMet: ratio.median >= ratioMin } }),
  };
}

/** Bytes or milliseconds, one pair for each round: less is better. */
export function costFigure(
  head: FigureHead & { readonly unit: Unit },
  pairs: readonly { readonly ours: number; readonly reference: number }[],
): Figure {
  return {
    ...head,
    ours: medianOf(pairs.map(({ ours }) => ours)),
    reference: medianOf(pairs.map(({ reference }) => reference)),
    ratio: spreadOf(pairs.map(({ ours, reference }) => ours / reference)),
  };
}

function bothOf(ours: number | undefined, reference: number | undefined) {
  return ours === undefined || reference === undefined ? undefined : { ours, reference };
}
