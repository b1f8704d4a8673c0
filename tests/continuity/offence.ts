/** What is wrong with what was seen, in one word, and in a sentence with what is around it. */
export interface Offence {
  readonly kind: OffenceKind;
  readonly client: string;
  readonly text: string;
}

export type OffenceKind =
  | "lost"
  | "repeated"
  | "reordered"
  | "invented"
  | "strayed"
  | "closed"
  | "forked"
  | "restarted"
  | "rolled back"
  | "refused"
  | "needless"
  | "absent"
  | "unsettled"
  | "contradiction"
  | "two copies"
  | "unavailable"
  | "ended";

/** Offences in a report; how many there are is said in any case. */
const offencesShownMax = 40;

export function offenceLines(offences: readonly Offence[]): string[] {
  const lines = offences
    .slice(0, offencesShownMax)
    .map(({ kind, client, text }) => `${kind.toUpperCase()} ${client}: ${text}`);
  const more = offences.length - lines.length;
  return more > 0 ? [...lines, `and ${more} more offences`] : lines;
}

/** Numbers on each side of the place of an offence. */
const contextLength = 5;

/** The numbers around a place, as a person reads them: `… 38 39 [40] 41 42 …`. */
export function around(numbers: readonly number[], from: number, to = from): string {
  const first = Math.max(0, from - contextLength);
  const last = Math.min(numbers.length, to + contextLength + 1);
  const shown = numbers
    .slice(first, last)
    .map((number, index) => (first + index >= from && first + index <= to ? `[${number}]` : `${number}`));
  return `${first > 0 ? "… " : ""}${shown.join(" ")}${last < numbers.length ? " …" : ""}`;
}

/** Whole numbers that follow each other, as `40-43`. */
export function span(from: number, to: number): string {
  return from === to ? `${from}` : `${from}-${to}`;
}

/** The place after the last number that is smaller, in a list that rises. */
export function placeOf(numbers: readonly number[], number: number): number {
  const found = numbers.findIndex((other) => other >= number);
  return found === -1 ? numbers.length : found;
}
