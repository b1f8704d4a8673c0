/**
 * How a comparison is taken. The machine is shared and its speed wanders, so one long run of each side says little: both
 * sides take turns in short slices, A B A B …, each round gives one ratio, and the median of those is the figure.
 */
export interface Pace {
  readonly rounds: number;
  /** Length of one slice of one side. */
  readonly seconds: number;
}

/** One turn of one side. */
export interface Slice {
  readonly operations: number;
  readonly elapsedMs: number;
  /** Processor time of the servers under load; undefined where the system does not tell. */
  readonly cpuMicros: number | undefined;
}

export interface Side {
  slice(ms: number): Promise<Slice>;
}

export interface Comparison {
  readonly ours: SideSummary;
  readonly reference: SideSummary;
  /** Ours by the reference, round by round. */
  readonly ratio: Spread;
  /** The reference's processor time by ours, round by round: like `ratio`, more is better. */
  readonly cpuRatio: Spread | undefined;
}

export interface SideSummary {
  readonly perSecond: number;
  readonly cpuMicrosPerOperation: number | undefined;
  /** Share of one core that the servers used. Well below 1: the load was the slower side, or others had the core. */
  readonly coreShare: number | undefined;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export async function compare(pace: Pace, ours: Side, reference: Side): Promise<Comparison> {
  await warmUp(pace, ours);
  await warmUp(pace, reference);
  const pairs: { readonly ours: Slice; readonly reference: Slice }[] = [];
  for (let round = 0; round < pace.rounds; round++) {
    const slice = await ours.slice(pace.seconds * 1000);
    pairs.push({ ours: slice, reference: await reference.slice(pace.seconds * 1000) });
  }
  const cpuRatios = pairs.map((pair) => cpuOf(pair.reference) / cpuOf(pair.ours));
  return {
    ours: summaryOf(pairs.map((pair) => pair.ours)),
    reference: summaryOf(pairs.map((pair) => pair.reference)),
    ratio: spreadOf(pairs.map((pair) => rateOf(pair.ours) / rateOf(pair.reference))),
    cpuRatio: cpuRatios.every(Number.isFinite) ? spreadOf(cpuRatios) : undefined,
  };
}

const warmUpSlicesMax = 8;
const steadyWithin = 0.05;

/** The compiler of hot code works in the background: until two slices in a row are about as fast as the one before. */
async function warmUp({ seconds }: Pace, side: Side): Promise<void> {
  let before = 0;
  let steady = 0;
  for (let slices = 0; slices < warmUpSlicesMax && steady < 2; slices++) {
    const rate = rateOf(await side.slice((seconds * 1000) / 2));
    steady = Math.abs(rate / before - 1) < steadyWithin ? steady + 1 : 0;
    before = rate;
  }
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: medianOf(values), min: Math.min(...values), max: Math.max(...values) };
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = Number.NaN, high = low] = sorted.slice(Math.ceil(sorted.length / 2) - 1);
  return sorted.length % 2 === 1 ? low : (low + high) / 2;
}

/** The smallest of the values that `share` of all do not exceed. */
export function percentileOf(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

function summaryOf(slices: readonly Slice[]): SideSummary {
  const cpu = medianOf(slices.map(cpuOf));
  const share = medianOf(slices.map((slice) => (slice.cpuMicros ?? Number.NaN) / 1000 / slice.elapsedMs));
  return {
    perSecond: medianOf(slices.map(rateOf)),
    cpuMicrosPerOperation: Number.isFinite(cpu) ? cpu : undefined,
    coreShare: Number.isFinite(share) ? share : undefined,
  };
}

function rateOf({ operations, elapsedMs }: Slice): number {
  return (operations / elapsedMs) * 1000;
}

function cpuOf({ cpuMicros = Number.NaN, operations }: Slice): number {
  return cpuMicros / operations;
}
