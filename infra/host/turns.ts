import type { Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";

/** What all streams of a host pass on in one turn of its event loop, in bytes. Smaller: more turns for the same; larger: longer ones. */
export const streamedBytesPerTurn = 1024 * 1024;
/** Calls to other objects that begin in one turn, of all objects of a host. A call that stays in the host takes some 50 to 100 µs. */
export const callsPerTurn = 64;
/** Calls that wait for theirs. Each keeps its request in memory, and a handler may make any number at once. */
export const callsWaitingMax = 100_000;

/** Subscriptions on connections for many that begin in one turn. */
export const subscriptionsPerTurn = 64;

/**
 * Turns for work that never waits for anything but itself. A stream that always has something to give, to a client that takes it at
 * once, or a handler that calls a thousand objects of its own host, runs from promise to promise and does not come back to the event
 * loop: as long as it lasts the host does nothing else, and hears nobody. So what may pass in one turn is limited, for all who do the
 * same together, and the rest waits for the next turns, in the order in which it came.
 */
export class Turns {
  readonly #clock: Pick<Clock, "nextTurn">;
  readonly #perTurn: number;
  readonly #waitingMax: number;
  #left: number;
  #isTurnDue = false;
  readonly #waiting: Waiter[] = [];

  /** @param waitingMax more do not wait. Default: as many as come, where something else limits those */
  constructor(clock: Pick<Clock, "nextTurn">, perTurn: number, waitingMax = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#perTurn = perTurn;
    this.#waitingMax = waitingMax;
    this.#left = perTurn;
  }

  /** What so much waits for; undefined where it may pass now. @throws StatefulError `host_full` where too many wait */
  take(amount: number): Promise<void> | undefined {
    this.#turnLater();
    if (this.#waiting.length === 0 && this.#left > 0) {
      this.#left -= amount;
      return undefined;
    }
    if (this.#waiting.length >= this.#waitingMax)
      throw new StatefulError("host_full", "Too much waits for its turn at this host.", {
        retryAfterMs: 1000,
      });
    return new Promise((pass) => this.#waiting.push({ amount, pass }));
  }

  #turnLater(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#clock.nextTurn(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    this.#left = this.#perTurn;
    let passed = 0;
    for (const { amount, pass } of this.#waiting) {
      if (this.#left <= 0) break;
      this.#left -= amount;
      passed += 1;
      pass();
    }
    this.#waiting.splice(0, passed);
    if (this.#waiting.length > 0) this.#turnLater();
  }
}

interface Waiter {
  readonly amount: number;
  pass(): void;
}
