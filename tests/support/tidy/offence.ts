/** One place that breaks a house rule. */
export interface Offence {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly what: string;
}

/** Fails with every offence at once, each as `file:line what`, and with what to do about them. */
export function expectNone(offences: readonly Offence[], remedy: string): void {
  if (offences.length === 0) return;
  const sorted = offences.toSorted((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
  const lines = sorted.map(({ file, line, what }) => `  ${file}:${line}  ${what}`);
  throw new Error(`${offences.length} to tidy up. ${remedy}\n${lines.join("\n")}`);
}
