/** Figures as explanations show them: exact enough to act on, short enough to read. */
export function hundredths(value: number): number {
  // What is just below 0 rounds to -0, which JSON does not have.
  return Math.round(value * 100) / 100 + 0;
}

/** `140 ms`; below ten with one decimal. */
export function millisecondsInWords(ms: number): string {
  return `${Math.abs(ms) < 9.95 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
}

export function percentInWords(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** `45 s`, `3 min 20 s`, `2 h 5 min`: the two largest units, rounded up, because something happens no sooner. */
export function durationInWords(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return inUnits(Math.floor(seconds / 60), "min", seconds % 60, "s");
  const minutes = Math.ceil(seconds / 60);
  return inUnits(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

function inUnits(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
