import type { Operation } from "./history.ts";

/**
 * Whether the operations on one object can have happened one after the other, each at some instant between its question and its
 * answer (Herlihy and Wing; the search is that of Wing and Gong, which remembers what it has seen as Lowe does). The object is a
 * sum: it can be read, added to, and exchanged where it is what the client expects.
 *
 * An operation whose outcome nobody knows may have happened at any time after its question, or not at all.
 */
export type Verdict = "linearizable" | "not linearizable" | "undecided";

/** Where it is given up: it takes long only where many outcomes are unknown at once. */
export const stepsMax = 400_000;

export function judge(operations: readonly Operation[], initial = 0): Verdict {
  const search = new Search(operations.filter(({ outcome }) => outcome.kind !== "refused"));
  return search.run(initial);
}

class Search {
  readonly #operations: readonly Operation[];
  /** How many of those have an answer. */
  readonly #answered: number;
  readonly #seen = new Set<string>();
  readonly #isDone: boolean[];
  #steps = 0;

  constructor(operations: readonly Operation[]) {
    this.#operations = operations.toSorted((left, right) => left.invokedAtMs - right.invokedAtMs);
    this.#answered = operations.filter(({ outcome }) => outcome.kind === "answered").length;
    this.#isDone = this.#operations.map(() => false);
  }

  run(initial: number): Verdict {
    return this.#goOn(0, initial, this.#answered);
  }

  /** @param first the first operation that has not been placed @param left answered ones that have not */
  #goOn(first: number, total: number, left: number): Verdict {
    if (left === 0) return "linearizable";
    if (++this.#steps > stepsMax) return "undecided";
    let from = first;
    while (this.#isDone[from] === true) from += 1;
    if (!this.#isNew(from, total)) return "not linearizable";
    const candidates = this.#candidates(from);
    // Those with an answer say at once whether they fit; what is unknown is tried where nothing else does.
    for (const wantsAnswered of [true, false]) {
      for (const index of candidates) {
        const operation = this.#operations[index];
        if (operation === undefined || (operation.outcome.kind === "answered") !== wantsAnswered) continue;
        const next = after(operation, total);
        if (next === undefined || (!wantsAnswered && next === total)) continue;
        this.#isDone[index] = true;
        const verdict = this.#goOn(from, next, left - (wantsAnswered ? 1 : 0));
        this.#isDone[index] = false;
        if (verdict !== "not linearizable") return verdict;
      }
    }
    return "not linearizable";
  }

  /** Those that began before any of the rest had ended: one of them is next. */
  #candidates(from: number): readonly number[] {
    let endMs = Number.POSITIVE_INFINITY;
    const candidates: number[] = [];
    for (let index = from; index < this.#operations.length; index += 1) {
      const operation = this.#operations[index];
      if (operation === undefined || this.#isDone[index] === true) continue;
      if (operation.invokedAtMs > endMs) break;
      candidates.push(index);
      if (operation.returnedAtMs < endMs) endMs = operation.returnedAtMs;
    }
    return candidates.filter((index) => (this.#operations[index]?.invokedAtMs ?? 0) <= endMs);
  }

  #isNew(from: number, total: number): boolean {
    let key = `${from} ${total} `;
    for (let index = from; index < this.#isDone.length; index += 1)
      if (this.#isDone[index] === true) key += `${index},`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }
}

/** What the sum is after it; undefined where it cannot have been told what it was. */
function after({ question, outcome }: Operation, total: number): number | undefined {
  const told = outcome.kind === "answered" ? outcome : undefined;
  switch (question.kind) {
    case "read":
      return told === undefined || told.total === total ? total : undefined;
    case "add": {
      const next = total + question.by;
      return told === undefined || told.total === next ? next : undefined;
    }
    case "exchange": {
      const fits = total === question.expected;
      if (told !== undefined && told.exchanged !== fits) return undefined;
      const next = fits ? question.next : total;
      return told === undefined || told.total === next ? next : undefined;
    }
  }
}
