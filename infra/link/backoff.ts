import type { Clock } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";

/** The pause after a failure: doubled by each further one, and drawn between half and the whole of that (K12). */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;
  #untilMs = 0;
  #error: StatefulError | undefined;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  /** What failed last, while nothing has succeeded since. */
  get error(): StatefulError | undefined {
    return this.#error;
  }

  get remainingMs(): number {
    return Math.max(0, this.#untilMs - this.#options.clock.monotonicMs());
  }

  /** Answers how long the pause is. */
  failed(error: StatefulError): number {
    const { clock, limits, random } = this.#options;
    this.#failures += 1;
    const wholeMs = limits.backoffMinMs * 2 ** Math.min(this.#failures - 1, 30);
    const pauseMs = Math.min(limits.backoffMaxMs, wholeMs) * (0.5 + random() / 2);
    this.#untilMs = clock.monotonicMs() + pauseMs;
    this.#error = error;
    return pauseMs;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#untilMs = 0;
    this.#error = undefined;
  }
}

interface BackoffOptions {
  readonly clock: Clock;
  readonly limits: { readonly backoffMinMs: number; readonly backoffMaxMs: number };
  random(): number;
}
