import type { Stretch } from "./stretches.ts";

/** Where a message stands: in which piece of the topic, and at which place of it. */
export interface Place {
  readonly piece: readonly string[];
  readonly index: number;
}

/**
 * The order of a topic's messages, put together from what its listeners heard one after the other, whatever their positions
 * are. Where they disagree about what comes after a message the most of them are believed; who differs is told of by the check.
 * A topic whose history is lost goes on in another piece, and so does what no listener connects.
 */
export class TopicOrder {
  readonly #places = new Map<string, Place>();

  constructor(stretches: readonly Stretch[]) {
    const next = successors(stretches);
    const followers = new Set(next.values());
    const all = new Set(stretches.flatMap(({ heard }) => heard.map(({ message }) => message)));
    // Those that begin a piece come first. What is left then are circles, which a right history does not have.
    const starts = [...all].filter((message) => !followers.has(message));
    for (const start of [...starts, ...all]) this.#follow(start, next);
  }

  /** Undefined for a message that nobody heard. */
  placeOf(message: string): Place | undefined {
    return this.#places.get(message);
  }

  #follow(start: string, next: ReadonlyMap<string, string>): void {
    const piece: string[] = [];
    let message: string | undefined = start;
    while (message !== undefined && !this.#places.has(message)) {
      this.#places.set(message, { piece, index: piece.length });
      piece.push(message);
      message = next.get(message);
    }
  }
}

/** Of each message the one that most listeners heard next. */
function successors(stretches: readonly Stretch[]): Map<string, string> {
  const votes = new Map<string, Map<string, number>>();
  for (const { heard } of stretches) {
    const once = [...new Set(heard.map(({ message }) => message))];
    for (const [index, message] of once.entries()) {
      const next = once[index + 1];
      if (next === undefined) continue;
      const counts = votes.get(message) ?? new Map<string, number>();
      votes.set(message, counts.set(next, (counts.get(next) ?? 0) + 1));
    }
  }
  return new Map(
    Array.from(votes, ([message, counts]) => {
      const [winner] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
      return [message, winner];
    }),
  );
}
