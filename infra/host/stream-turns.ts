import type { Clock } from "../lib/clock.ts";

/** What all streams of a host pass on in one turn of its event loop. Smaller: more turns for the same bytes; larger: longer ones. */
export const turnBytesMax = 1024 * 1024;

/**
 * Turns for streamed responses. A stream that always has something to give, to a client that takes it at once, runs from promise to
 * promise and never comes back to the event loop: as long as it lasts the host does nothing else, and hears nobody. So what streams pass
 * on in one turn is limited, for all of them together, and the rest waits for the next, in the order in which it came.
 */
export class StreamTurns {
  readonly #clock: Pick<Clock, "nextTurn">;
  #leftBytes = turnBytesMax;
  #isTurnDue = false;
  readonly #waiting: Chunk[] = [];

  constructor(clock: Pick<Clock, "nextTurn">) {
    this.#clock = clock;
  }

  /** What a chunk of that size waits for; undefined where it may pass now. */
  take(bytes: number): Promise<void> | undefined {
    this.#turnLater();
    if (this.#waiting.length === 0 && this.#leftBytes > 0) {
      this.#leftBytes -= bytes;
      return undefined;
    }
    return new Promise((pass) => this.#waiting.push({ bytes, pass }));
  }

  #turnLater(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#clock.nextTurn(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    this.#leftBytes = turnBytesMax;
    let passed = 0;
    for (const { bytes, pass } of this.#waiting) {
      if (this.#leftBytes <= 0) break;
      this.#leftBytes -= bytes;
      passed += 1;
      pass();
    }
    this.#waiting.splice(0, passed);
    if (this.#waiting.length > 0) this.#turnLater();
  }
}

interface Chunk {
  readonly bytes: number;
  pass(): void;
}
