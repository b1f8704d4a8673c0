import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { type Clock, systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import type { FailureReport } from "./failure-report.ts";
import {
  type FileOrder,
  type HostEvent,
  type HostMessage,
  type HostOrder,
  type HostSetup,
  hostSetupVariable,
  type OrderOutcome,
  type ReadyHost,
} from "./host-messages.ts";

/** What a host process says while it lives. */
export interface ChildHearing {
  event(event: HostEvent): void;
  /** A line that it wrote to its standard output or error, as `console.log` in a class does. */
  output(line: string): void;
}

export interface ChildExit {
  /** "exit code 1", "SIGKILL". */
  readonly how: string;
}

/** A host did not start. `report` is for the person to read. */
export class HostStartError extends Error {
  override readonly name = "HostStartError";
  readonly report: FailureReport;

  constructor(report: FailureReport) {
    super(report.message);
    this.report = report;
  }
}

const entry = join(import.meta.dir, "host-process.ts");
const startLimitMs = 30_000;
const orderLimitMs = 15_000;

/** One life of one host process, from its start to its exit. */
export class HostChild {
  /** Rejects with a `HostStartError`, also when the process ends before it is ready. */
  readonly ready: Promise<ReadyHost>;
  /** Never rejects. */
  readonly exited: Promise<ChildExit>;
  readonly #clock: Clock = systemClock;
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #hear: ChildHearing;
  readonly #ready = Promise.withResolvers<ReadyHost>();
  readonly #orders = new Map<number, (outcome: OrderOutcome | undefined) => void>();
  #lastOrder = 0;

  constructor(setup: HostSetup, hear: ChildHearing) {
    this.#hear = hear;
    this.#process = Bun.spawn([process.execPath, entry], {
      env: { ...process.env, [hostSetupVariable]: JSON.stringify(setup) },
      stdio: ["ignore", "pipe", "pipe"],
      serialization: "json",
      // Only the entry of the same checkout writes to this channel.
      ipc: (message) => this.#told(message as HostMessage),
    });
    void this.#pass(this.#process.stdout);
    void this.#pass(this.#process.stderr);
    this.exited = this.#process.exited.then(() => this.#gone());
    this.ready = withTimeLimit(this.#clock, startLimitMs, this.#ready.promise, startTooLong);
    // Whoever waits for it sees the rejection; a cluster that is being stopped may not wait any more.
    this.ready.catch(() => undefined);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves with undefined when the process ends first. */
  async order(order: FileOrder): Promise<OrderOutcome | undefined> {
    const number = ++this.#lastOrder;
    const { promise, resolve } = Promise.withResolvers<OrderOutcome | undefined>();
    this.#orders.set(number, resolve);
    try {
      if (!this.#send({ ...order, number })) return undefined;
      return await withTimeLimit(this.#clock, orderLimitMs, promise, () => new Error("too late"));
    } catch {
      const message = `No answer within ${orderLimitMs / 1000} s.`;
      return { succeeded: false, report: { message, details: [] } };
    } finally {
      this.#orders.delete(number);
    }
  }

  /** Asks it to stop; kills it when it has not within `limitMs`. Resolves once it is gone. */
  async stop(limitMs: number): Promise<void> {
    this.#send({ kind: "stop" });
    const cancel = this.#clock.after(limitMs, () => this.kill());
    await this.exited;
    cancel();
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #send(order: HostOrder): boolean {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return false;
    try {
      this.#process.send(order);
      return true;
    } catch {
      // The channel closes a moment before the exit is known.
      return false;
    }
  }

  #told(message: HostMessage): void {
    switch (message.kind) {
      case "ready":
        return this.#ready.resolve(message);
      case "failed":
        this.#ready.reject(new HostStartError(message.report));
        this.#send({ kind: "stop" });
        return;
      case "event":
        return this.#hear.event(message);
      case "done":
        return this.#orders.get(message.number)?.(message.outcome);
    }
  }

  #gone(): ChildExit {
    const { exitCode, signalCode } = this.#process;
    const how = signalCode === null ? `exit code ${exitCode}` : String(signalCode);
    for (const settle of this.#orders.values()) settle(undefined);
    this.#ready.reject(
      new HostStartError({ message: `The process ended at its start: ${how}.`, details: [] }),
    );
    return { how };
  }

  async #pass(stream: ReadableStream<Uint8Array>): Promise<void> {
    // Bun's stream has all that Node's needs; the two type declarations differ.
    const lines = createInterface({ input: Readable.fromWeb(stream as never) });
    for await (const line of lines) this.#hear.output(line);
  }
}

function startTooLong(): HostStartError {
  return new HostStartError({ message: `It was not ready after ${startLimitMs / 1000} s.`, details: [] });
}
