import type { Call } from "./operations.ts";

/** A fault, from its first effect until everything was served again. */
export interface FaultWindow {
  readonly fault: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** Edges to which something was done, by their places on the stage. */
  readonly struck: ReadonlySet<number>;
}

export interface Unavailable {
  readonly fault: string;
  readonly times: number;
  /** Of each object, through whatever edge it was served. */
  readonly objects: Spread;
  /** Of each object through each edge to which nothing was done. */
  readonly edges: Spread;
}

/** In ms. */
export interface Spread {
  readonly median: number;
  readonly worst: number;
}

/** What was called, and what happened meanwhile. */
export interface Stretch {
  readonly calls: readonly Call[];
  readonly windows: readonly FaultWindow[];
}

/** One silence in a window of a fault. */
interface Silence {
  readonly fault: string;
  readonly ms: number;
}

/** How long nobody was answered, per kind of fault: the longest silence of each object, and of each object at each edge. */
export function unavailability(stretches: readonly Stretch[]): Unavailable[] {
  const windows = stretches.flatMap((stretch) => stretch.windows);
  const ofObjects = Map.groupBy(stretches.flatMap(silencesOfObjects), ({ fault }) => fault);
  const ofEdges = Map.groupBy(stretches.flatMap(silencesAtEdges), ({ fault }) => fault);
  return Array.from(Map.groupBy(windows, ({ fault }) => fault))
    .map(([fault, some]) => ({
      ...{ fault, times: some.length },
      objects: spreadOf(ofObjects.get(fault)),
      edges: spreadOf(ofEdges.get(fault)),
    }))
    .sort((a, b) => a.fault.localeCompare(b.fault));
}

function silencesOfObjects({ calls, windows }: Stretch): Silence[] {
  const ends = answerTimes(calls, ({ object }) => object);
  return windows.flatMap((window) =>
    Array.from(ends.values(), (some) => ({ fault: window.fault, ms: longestSilence(some, window) })),
  );
}

function silencesAtEdges({ calls, windows }: Stretch): Silence[] {
  return Array.from(Map.groupBy(calls, ({ edge }) => edge)).flatMap(([edge, atEdge]) =>
    silencesOfObjects({ calls: atEdge, windows: windows.filter(({ struck }) => !struck.has(edge)) }),
  );
}

/** When each was answered, in order. */
function answerTimes(calls: readonly Call[], keyOf: (call: Call) => string): Map<string, number[]> {
  const answered = calls.filter(({ outcome }) => outcome.kind === "ok");
  return new Map(
    Array.from(Map.groupBy(answered, keyOf), ([key, some]) => [
      key,
      some.map(({ endedAtMs }) => endedAtMs).sort((a, b) => a - b),
    ]),
  );
}

/** Between two answers, or an end of the window and an answer: the longest of those that touch the window. */
export function longestSilence(
  ends: readonly number[],
  { fromMs, toMs }: Pick<FaultWindow, "fromMs" | "toMs">,
): number {
  let last = fromMs;
  let longest = 0;
  for (const end of ends) {
    if (end < fromMs) continue;
    if (end > toMs) break;
    longest = Math.max(longest, end - last);
    last = end;
  }
  return Math.max(longest, toMs - last);
}

function spreadOf(silences: readonly Silence[] = []): Spread {
  const sorted = silences.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (index: number) => Math.round(sorted[index] ?? 0);
  return { median: at(Math.floor(sorted.length / 2)), worst: at(sorted.length - 1) };
}
