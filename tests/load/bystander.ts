import { percentileOf } from "../bench/pace.ts";
import { clientFrame, upgradeLines } from "../support/websocket-frames.ts";
import { RawConnection } from "./raw-connection.ts";

export type Phase = "before" | "during" | "after";

/** Of one phase. Times in ms. */
export interface BystanderFigures {
  readonly requests: Waits;
  readonly echoes: Waits;
  /** Answers that did not come, came late or were none. */
  readonly failures: readonly string[];
}

export interface Waits {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const everyMs = 50;
/** What is not answered by then has failed. */
const answerLimitMs = 10_000;
const requestLines = ["GET /bystander/a HTTP/1.1", "Host: load.test"];
const failuresMax = 20;

/** Another object of the same host, which is asked something small twenty times a second, and a socket of it that echoes. */
export class Bystander {
  readonly #port: number;
  readonly #notes = { before: newNotes(), during: newNotes(), after: newNotes() };
  #phase: Phase = "before";
  #isOver = false;
  readonly #loops: Promise<void>[] = [];

  private constructor(port: number) {
    this.#port = port;
  }

  static async start(port: number): Promise<Bystander> {
    const bystander = new Bystander(port);
    const [requests, echoes] = await Promise.all([bystander.#open(), bystander.#openSocket()]);
    bystander.#loops.push(
      bystander.#repeat("requests", requests, () => bystander.#open(), ask),
      bystander.#repeat("echoes", echoes, () => bystander.#openSocket(), echo),
    );
    return bystander;
  }

  enter(phase: Phase): void {
    this.#phase = phase;
  }

  figures(phase: Phase): BystanderFigures {
    const { requests, echoes, failures } = this.#notes[phase];
    return { requests: waitsOf(requests), echoes: waitsOf(echoes), failures };
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #repeat(
    what: "requests" | "echoes",
    first: RawConnection,
    open: () => Promise<RawConnection>,
    once: (connection: RawConnection) => Promise<string | undefined>,
  ): Promise<void> {
    let connection = first;
    while (!this.#isOver) {
      const phase = this.#phase;
      const startMs = performance.now();
      const failure = await withLimit(once(connection).catch(String));
      const notes = this.#notes[phase];
      notes[what].push(performance.now() - startMs);
      if (failure !== undefined) {
        if (notes.failures.length < failuresMax) notes.failures.push(`${what}: ${failure}`);
        connection.destroy();
        const next = await withLimit(open().catch(String));
        if (next instanceof RawConnection) connection = next;
      }
      await Bun.sleep(Math.max(1, everyMs - (performance.now() - startMs)));
    }
    connection.destroy();
  }

  #open(): Promise<RawConnection> {
    return RawConnection.open(this.#port);
  }

  async #openSocket(): Promise<RawConnection> {
    const connection = await this.#open();
    const answer = await connection.request(upgradeLines("/bystander/a/live"));
    if (answer.status !== 101) throw new Error(`The bystander's socket was refused: ${answer.status}`);
    return connection;
  }
}

const echoFrame = clientFrame("here?");

async function ask(connection: RawConnection): Promise<string | undefined> {
  const { status, code } = await connection.request(requestLines);
  return status === 200 ? undefined : `${status} ${code ?? ""}`;
}

async function echo(connection: RawConnection): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  connection.onMessage = () => resolve(undefined);
  connection.onClosed = () => resolve(`closed with ${connection.closeCode ?? "nothing"}`);
  if (connection.isClosed) return "closed";
  connection.write(echoFrame);
  return promise;
}

function withLimit<T>(work: Promise<T>): Promise<T | string> {
  const late = Promise.withResolvers<string>();
  const limit = setTimeout(() => late.resolve(`nothing within ${answerLimitMs} ms`), answerLimitMs);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(limit));
}

function newNotes() {
  const notes: { requests: number[]; echoes: number[]; failures: string[] } = {
    requests: [],
    echoes: [],
    failures: [],
  };
  return notes;
}

function waitsOf(values: readonly number[]): Waits {
  const of = (share: number) => Math.round(percentileOf(values, share) * 10) / 10;
  return { count: values.length, p50Ms: of(0.5), p99Ms: of(0.99), maxMs: of(1) };
}
