import { Worker } from "node:worker_threads";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { SqlConnection, SqlRows, SqlStatement } from "./sql-connection.ts";

/**
 * The near side of a native connection that lives in a Worker (L10). It never waits for the Worker without a limit: every
 * call has a time limit of its own, and neither starting nor closing blocks.
 *
 * The thread is asked to close and never terminated: one that is killed inside a native call takes the whole process with
 * it once that call returns (the native module aborts on Bun 1.4.5). A stuck one is left behind instead. It keeps neither
 * the loop nor the process from ending, and closes when it is through.
 */
export interface WorkerConfig {
  /** `file:…` */
  readonly url: string;
  readonly busyTimeoutMs: number;
  /** Present for an embedded replica of the server at `syncUrl`. */
  readonly replica?: {
    readonly syncUrl: string;
    readonly authToken?: string;
    readonly syncIntervalMs: number;
  };
}

export type ToWorker =
  | { readonly config: WorkerConfig }
  | { readonly close: true }
  | { readonly id: number; readonly mode: "read" | "write"; readonly statements: readonly SqlStatement[] };

export type FromWorker =
  | { readonly ready: true }
  | { readonly failed: string }
  | { readonly id: number; readonly results: readonly SqlRows[] }
  | { readonly id: number; readonly error: { readonly message: string; readonly code: string } };

export interface WorkerConnectionOptions {
  readonly clock: Clock;
  readonly config: WorkerConfig;
  readonly timeLimitMs: number;
}

/** Calls that may wait for the Worker at once. Past this the answer is immediate: it is not keeping up. */
const callsMax = 1_000;
/** A thread that could not open its database, or died, is replaced after this long. */
const restartDelayMs = 1_000;
/** How long closing waits for the thread to end. */
const closeLimitMs = 500;

interface Call {
  readonly resolve: (results: readonly SqlRows[]) => void;
  readonly reject: (error: Error) => void;
  readonly cancel: CancelTimer;
}

export class WorkerConnection implements SqlConnection {
  readonly #options: WorkerConnectionOptions;
  readonly #calls = new Map<number, Call>();
  #worker: Worker | undefined;
  #nextId = 1;
  #isReady = false;
  #isClosed = false;
  #cancelRestart: CancelTimer | undefined;
  /** Calls that ran out of time and whose answer has not come since: the thread is stuck in one of them. */
  readonly #overdue = new Set<number>();

  constructor(options: WorkerConnectionOptions) {
    this.#options = options;
    this.#start();
  }

  /** A replica that has been filled and is not stuck. */
  get isReady(): boolean {
    return this.#isReady && this.#overdue.size === 0;
  }

  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    return this.#call("write", statements);
  }

  async query(statement: SqlStatement): Promise<SqlRows> {
    return (await this.#call("read", [statement]))[0] ?? [];
  }

  /** A thread is near: there is no way to it that could be dead. */
  reset(): void {
    // Nothing to do.
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#isClosed = true;
    this.#cancelRestart?.();
    this.#discard("was closed");
    if (worker !== undefined) await this.#ended(worker);
  }

  /** An orderly end leaves the file to whoever comes next; a stuck one is not waited for. */
  #ended(worker: Worker): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(closeLimitMs, resolve);
      worker.once("exit", () => {
        cancel();
        resolve();
      });
    });
  }

  #start(): void {
    const worker = new Worker(new URL("./libsql-worker.ts", import.meta.url));
    // A stuck thread must not keep the process alive either.
    worker.unref();
    worker.on("message", (message: FromWorker) => {
      if (this.#worker === worker) this.#receive(message);
    });
    worker.on("error", (error) => {
      if (this.#worker === worker)
        this.#replace(`failed: ${error instanceof Error ? error.message : String(error)}`);
    });
    this.#worker = worker;
    this.#send({ config: this.#options.config });
  }

  #call(mode: "read" | "write", statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    if (this.#isClosed) return Promise.reject(unavailable("was closed"));
    if (this.#worker === undefined)
      return Promise.reject(unavailable("could not be opened; it is tried again shortly"));
    if (this.#calls.size >= callsMax) return Promise.reject(unavailable(`has ${callsMax} calls waiting`));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const cancel = this.#options.clock.after(this.#options.timeLimitMs, () => this.#giveUp(id));
      this.#calls.set(id, { resolve, reject, cancel });
      this.#send({ id, mode, statements });
    });
  }

  #giveUp(id: number): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    this.#overdue.add(id);
    if (this.#overdue.size > callsMax) this.#replace("stuck");
    call?.reject(unavailable(`did not answer within ${this.#options.timeLimitMs} ms`));
  }

  #receive(message: FromWorker): void {
    if ("ready" in message) {
      this.#isReady = true;
      return;
    }
    if ("failed" in message) {
      // A replica that was filled once keeps answering from what it has; reads of it are hints (L5).
      if (!this.#isReady) this.#replace(message.failed);
      return;
    }
    this.#overdue.delete(message.id);
    const call = this.#calls.get(message.id);
    if (call === undefined) return;
    this.#calls.delete(message.id);
    call.cancel();
    if ("results" in message) call.resolve(message.results);
    else call.reject(failureOf(message.error));
  }

  #replace(reason: string): void {
    this.#discard(reason);
    if (this.#isClosed) return;
    this.#cancelRestart = this.#options.clock.after(restartDelayMs, () => this.#start());
  }

  #discard(reason: string): void {
    this.#send({ close: true });
    this.#worker = undefined;
    this.#isReady = false;
    this.#overdue.clear();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      call.cancel();
      call.reject(unavailable(reason));
    }
  }

  #send(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }
}

/** A locked or failing file may be fine a moment later; whatever else the database says is its answer to the statement. */
function failureOf(error: { readonly message: string; readonly code: string }): Error {
  const isPassing = /BUSY|LOCKED|IOERR|CANTOPEN|FULL|UNKNOWN/.test(error.code);
  const cause = new Error(`${error.code}: ${error.message}`);
  return isPassing ? unavailable("cannot be used", cause) : cause;
}

/** Clients read what it says; what the database has said of it is for the log. */
function unavailable(what: string, cause?: Error): StatefulError {
  return new StatefulError("directory_unavailable", `The directory's database file ${what}.`, { cause });
}
