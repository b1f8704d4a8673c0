import type { Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";

/** How long requests are served in one turn of the event loop. Smaller: more turns for the same; larger: others wait longer for theirs. */
export const requestTurnMsMax = 25;
/** Steps of promises between one that has waited and the next: by then it has looked for its object, and its handler has begun. */
const stepsBetween = 16;
/** More do not wait: whoever comes then is told to come again. Each keeps a connection open, and its headers. */
export const waitingRequestsMax = 10_000;
/** Nor for longer: its client has most likely given up, and would have the host do for nobody what others wait for. */
export const requestWaitMaxMs = 10_000;

/**
 * Turns for requests. Bun takes new connections one after the other for as long as there are any, and has the first request of each
 * served in that very call. Where clients open a connection for each request, and serving one takes longer than opening the next, the
 * call never ends: no connection that is open already is heard, no timer fires, and the host loses its lease. So once a turn has
 * lasted for a while, what comes waits for the next: taking it costs next to nothing, and the call comes to its end.
 */
export class RequestTurns {
  readonly #clock: Pick<Clock, "monotonicMs" | "nextTurn">;
  #isUnderWay = false;
  #beganMs = 0;
  readonly #waiting: Waiter[] = [];

  constructor(clock: Pick<Clock, "monotonicMs" | "nextTurn">) {
    this.#clock = clock;
  }

  /** Whether what comes now has to wait. */
  get isLong(): boolean {
    this.#begin();
    return this.#waiting.length > 0 || this.#hasLasted;
  }

  /**
   * The turn of a request that has to wait, in the order in which they came.
   *
   * @throws StatefulError `host_full` where too many wait. Rejects with the same where it has waited for too long.
   */
  wait(): Promise<void> {
    if (this.#waiting.length >= waitingRequestsMax)
      throw tooBusy("Too many requests wait for their turn at this host.");
    const sinceMs = this.#clock.monotonicMs();
    return new Promise((pass, refuse) => this.#waiting.push({ sinceMs, pass, refuse }));
  }

  get #hasLasted(): boolean {
    return this.#clock.monotonicMs() - this.#beganMs >= requestTurnMsMax;
  }

  #begin(): void {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    this.#beganMs = this.#clock.monotonicMs();
    this.#clock.nextTurn(() => {
      this.#isUnderWay = false;
      if (this.#waiting.length > 0) void this.#admit();
    });
  }

  async #admit(): Promise<void> {
    this.#begin();
    while (this.#waiting.length > 0 && !this.#hasLasted) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (this.#clock.monotonicMs() - next.sinceMs >= requestWaitMaxMs) {
        next.refuse(tooBusy(`It has waited for its turn at this host for ${requestWaitMaxMs / 1000} s.`));
        continue;
      }
      next.pass();
      for (let step = 0; step < stepsBetween; step++) await undefined;
    }
  }
}

interface Waiter {
  readonly sinceMs: number;
  pass(): void;
  refuse(error: StatefulError): void;
}

function tooBusy(message: string): StatefulError {
  return new StatefulError("host_full", message, { retryAfterMs: 1000 });
}
