import type { StatefulError } from "../lib/errors.ts";

/** What an activation waits for that does not serve just now: that it goes on, or is over. */
export class Resumption {
  #next: PromiseWithResolvers<void> | undefined;

  /** Resolves the next time that it goes on. Rejects with why it never will. */
  get next(): Promise<void> {
    this.#next ??= Promise.withResolvers();
    return this.#next.promise;
  }

  goOn(): void {
    this.#next?.resolve();
    this.#next = undefined;
  }

  end(cause: StatefulError): void {
    this.#next?.reject(cause);
    this.#next = undefined;
  }
}
