import type { CallsFindings } from "./calls-check.ts";
import type { Call } from "./operations.ts";

/** To the thread that checks. */
export interface CheckRequest {
  /** What has been seen since the last request. */
  readonly calls: readonly Call[];
  /** What is under way: it may have acted, and is not to be kept. */
  readonly open: readonly Call[];
}

/** Of the time, at most one part in so many goes to checks that are made on the way. */
const idleShare = 6;

/** Compares what has been seen so far, in a thread of its own: clients go on meanwhile. */
export class Checking {
  readonly #worker = new Worker(new URL("./check-worker.ts", import.meta.url).href);
  #unsent: Call[] = [];
  #running: Promise<CallsFindings> | undefined;
  #nextAtMs = 0;

  add(call: Call): void {
    this.#unsent.push(call);
  }

  /**
   * Begins a check, unless one is under way or was made a moment ago; `then` is told what was found.
   *
   * @param open calls that are not answered yet
   */
  checkSometimes(open: readonly Call[], then: (found: CallsFindings) => void): void {
    if (this.#running !== undefined || performance.now() < this.#nextAtMs) return;
    const startedAtMs = performance.now();
    this.#running = this.#ask(open).then((found) => {
      this.#running = undefined;
      const tookMs = performance.now() - startedAtMs;
      this.#nextAtMs = performance.now() + idleShare * tookMs;
      then(found);
      return found;
    });
    this.#running.catch(() => undefined); // The check at the end fails as well, and is waited for.
  }

  /** All that there is. */
  async checkAll(): Promise<CallsFindings> {
    await this.#running;
    return this.#ask([]);
  }

  close(): void {
    this.#worker.terminate();
  }

  #ask(open: readonly Call[]): Promise<CallsFindings> {
    const { promise, resolve, reject } = Promise.withResolvers<CallsFindings>();
    this.#worker.onmessage = ({ data }: MessageEvent<CallsFindings>) => resolve(data);
    this.#worker.onerror = ({ message }) => reject(new Error(message));
    this.#worker.postMessage({ calls: this.#unsent, open } satisfies CheckRequest);
    this.#unsent = [];
    return promise;
  }
}
