import { sleep, systemClock } from "../../infra/lib/clock.ts";
import type { FailureReport } from "./failure-report.ts";
import { type ChildHearing, HostChild, HostStartError } from "./host-child.ts";
import type { FileOrder, HostSetup, OrderOutcome, ReadyHost } from "./host-messages.ts";

/** What happens to a host beyond its own events. */
export interface HostHearing extends ChildHearing {
  ready(host: ReadyHost): void;
  /** It ended without being told to, and starts again after the pause. */
  died(how: string, pauseMs: number): void;
  /** It could not start again; the next attempt follows after the pause, or when a file changes. */
  restartFailed(report: FailureReport, pauseMs: number): void;
}

const pauseMinMs = 250;
const pauseMaxMs = 10_000;
/** A host that has lived this long has earned a quick restart. */
const healthyAfterMs = 30_000;

/** One region: a host process, and another in its place when it dies. */
export class DevHost {
  readonly region: string;
  readonly #setup: HostSetup;
  readonly #hear: HostHearing;
  readonly #stopping = new AbortController();
  #child: HostChild;
  #address: ReadyHost | undefined;
  #retryNow = new AbortController();
  #kept: Promise<void> | undefined;

  constructor(setup: HostSetup, hear: HostHearing) {
    this.region = setup.region;
    this.#setup = setup;
    this.#hear = hear;
    this.#child = new HostChild(setup, hear);
  }

  /** Known from the first start on, and the same after each. */
  get url(): string | undefined {
    return this.#address?.url;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when the host serves; rejects with a `HostStartError`, and does not try again. */
  async start(): Promise<void> {
    this.#isReady(await this.#child.ready);
    this.#kept = this.#keep();
  }

  /** Undefined where there is no process just now: the next one reads every file anyway. */
  async order(order: FileOrder): Promise<OrderOutcome | undefined> {
    this.#retryNow.abort();
    const child = this.#child;
    const isReady = await child.ready.then(
      () => true,
      () => false,
    );
    return isReady ? child.order(order) : undefined;
  }

  async stop(limitMs: number): Promise<void> {
    this.#stopping.abort();
    this.#retryNow.abort();
    await this.#child.stop(limitMs);
    await this.#kept;
  }

  kill(): void {
    this.#stopping.abort();
    this.#child.kill();
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  #isReady(address: ReadyHost): void {
    this.#address = address;
    this.#hear.ready(address);
  }

  async #keep(): Promise<void> {
    let pauseMs = pauseMinMs;
    let failure: FailureReport | undefined;
    while (!this.#isStopping) {
      const startedMs = performance.now();
      const { how } = await this.#child.exited;
      if (this.#isStopping) return;
      if (performance.now() - startedMs > healthyAfterMs) pauseMs = pauseMinMs;
      if (failure) this.#hear.restartFailed(failure, pauseMs);
      else this.#hear.died(how, pauseMs);
      await this.#pause(pauseMs);
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
      if (!this.#isStopping) failure = await this.#startAgain();
    }
  }

  async #startAgain(): Promise<FailureReport | undefined> {
    // On the port it had, so that the URLs on the screen stay right.
    const port = this.#address?.port ?? this.#setup.port;
    this.#child = new HostChild({ ...this.#setup, port }, this.#hear);
    try {
      this.#isReady(await this.#child.ready);
      return undefined;
    } catch (error) {
      this.#child.kill();
      return error instanceof HostStartError ? error.report : { message: String(error), details: [] };
    }
  }

  async #pause(pauseMs: number): Promise<void> {
    this.#retryNow = new AbortController();
    await sleep(systemClock, pauseMs, this.#retryNow.signal);
  }
}
