import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { Call, Outcome } from "./calls-check.ts";

/** A call that is not answered by then has an outcome that nobody knows. */
const patienceMs = 8_000;

export interface CallerSetup {
  readonly name: string;
  readonly object: string;
  readonly hosts: readonly HostProcess[];
  readonly random: SeededRandom;
  readonly everyMs: number;
}

/** Increments over HTTP, one after the other, each at any edge and none a second time. */
export class Caller {
  readonly calls: Call[] = [];
  readonly name: string;
  readonly #setup: CallerSetup;
  readonly #stop = new AbortController();
  #successes = 0;
  #n = 0;
  #running: Promise<void> | undefined;

  constructor(setup: CallerSetup) {
    this.#setup = setup;
    this.name = setup.name;
  }

  start(): void {
    this.#running = this.#run();
  }

  get successes(): number {
    return this.#successes;
  }

  /** Resolves when the last call has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random, everyMs, hosts } = this.#setup;
    while (!this.#stop.signal.aborted) {
      await Bun.sleep(random.between(everyMs / 2, everyMs * 1.5)); // its pace, which is what the load consists of
      // A load balancer sends nobody to a host that says it is not well.
      const ready = hosts.filter(({ isReady }) => isReady);
      if (ready.length > 0) await this.#call(random.pick(ready));
    }
  }

  async #call(host: HostProcess): Promise<void> {
    this.#n += 1;
    const n = this.#n;
    const edge = host.id;
    const sentAtMs = performance.now();
    const outcome = await this.#outcomeAt(host.url(`${this.#setup.object}/increment`), n);
    if (outcome.kind === "counted") this.#successes += 1;
    this.calls.push({ client: this.name, n, edge, sentAtMs, endedAtMs: performance.now(), outcome });
  }

  async #outcomeAt(url: string, n: number): Promise<Outcome> {
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ client: this.name, n }),
        signal: AbortSignal.timeout(patienceMs),
      });
      const answer = await response.json();
      if (response.status === 200) return { kind: "counted", ...answer };
      const code = `${response.status} ${answer.code}`;
      return { kind: answer.retryable === true ? "refused" : "unknown", code };
    } catch (thrown) {
      const isLate = thrown instanceof Error && thrown.name === "TimeoutError";
      return { kind: "unknown", code: isLate ? "timed out" : "no connection" };
    }
  }
}
