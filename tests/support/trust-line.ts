/** A figure, or how often each of some kinds was seen. */
export type Figure = number | string | Readonly<Record<string, number>>;

/**
 * What a test has done, in one line, so that the output of all tests says what their passing is worth:
 *
 *     trust: simulation: runs 20; faults 331 (move 80, freeze 51); violations 0
 *
 * `grep '^trust: '` finds these lines.
 */
export function tellTrust(what: string, figures: Readonly<Record<string, Figure>>): void {
  console.log(trustLine(what, figures));
}

export function trustLine(what: string, figures: Readonly<Record<string, Figure>>): string {
  const shown = Object.entries(figures).map(([name, figure]) => `${name} ${textOf(figure)}`);
  return `trust: ${what}: ${shown.join("; ")}`;
}

/** Of kinds: their sum, and each of them, the most frequent first. */
function textOf(figure: Figure): string {
  if (typeof figure === "string") return figure;
  if (typeof figure === "number") return thousands(figure);
  const kinds = Object.entries(figure).sort((a, b) => b[1] - a[1]);
  const total = kinds.reduce((sum, [, count]) => sum + count, 0);
  const parts = kinds.map(([kind, count]) => `${kind} ${thousands(count)}`).join(", ");
  return parts === "" ? thousands(total) : `${thousands(total)} (${parts})`;
}

function thousands(count: number): string {
  return count.toLocaleString("en", { maximumFractionDigits: 1 });
}
