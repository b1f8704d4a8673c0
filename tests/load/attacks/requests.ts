import { type Attack, type AttackReport, Tally } from "../attack.ts";
import { type Answer, RawConnection } from "../raw-connection.ts";

export interface RequestsSetup {
  readonly port: number;
  readonly connections: number;
  readonly count: number;
  /** `{n}` is the number of the request, `{n%100}` what is left of it by 100. */
  readonly line: string;
  readonly fields?: readonly string[];
  readonly body?: string;
  /** What is answered with one of these codes is asked again, as it says, until it is answered otherwise. */
  readonly repeats?: readonly string[];
  /** Each on a connection of its own. */
  readonly opensAnew?: boolean;
  /** No further request is begun after this time. Default: all are. */
  readonly forMs?: number;
  /** Requests a second at most, of all connections together. */
  readonly perSecond?: number;
}

/** So often one request is asked again. */
const repeatsMax = 1_000;

/** Many requests, one after the other on each of some connections. */
export class Requests implements Attack {
  readonly #setup: RequestsSetup;
  readonly #tally = new Tally();
  readonly #latencies: number[] = [];
  #next = 0;
  #answered = 0;
  #startMs = 0;
  #elapsedMs = 0;
  #callers: number;

  constructor(setup: RequestsSetup) {
    this.#setup = setup;
    this.#callers = setup.connections;
  }

  async begin(): Promise<void> {
    this.#startMs = performance.now();
    for (let n = 0; n < this.#setup.connections; n++) void this.#caller();
  }

  report(): AttackReport {
    const isDone = this.#callers === 0;
    const seconds = (isDone ? this.#elapsedMs : performance.now() - this.#startMs) / 1000;
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    const figures = {
      answered: this.#answered,
      perSecond: Math.round(this.#answered / seconds),
      p99Ms: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0),
    };
    return { isDone, tally: this.#tally.counts, figures };
  }

  async #caller(): Promise<void> {
    const { port, count, forMs = Number.POSITIVE_INFINITY } = this.#setup;
    let connection = await RawConnection.open(port);
    const endMs = this.#startMs + forMs;
    while (this.#next < count && performance.now() < endMs) {
      const n = this.#next++;
      await this.#paced(n);
      const sentMs = performance.now();
      let answer = await this.#ask(connection, n);
      for (let again = 0; this.#isRepeated(answer) && again < repeatsMax; again++) {
        await Bun.sleep(Math.min(1000, 100 * 2 ** again));
        answer = await this.#ask(connection, n);
      }
      if (this.#latencies.length < 100_000) this.#latencies.push(performance.now() - sentMs);
      this.#answered++;
      if (this.#setup.opensAnew) connection.destroy();
      if (connection.isClosed) connection = await RawConnection.open(port);
    }
    connection.destroy();
    this.#callers--;
    this.#elapsedMs = performance.now() - this.#startMs;
  }

  async #ask(connection: RawConnection, n: number): Promise<Answer> {
    const { line, fields = [], body } = this.#setup;
    const numbered = line.replace(/\{n(?:%(\d+))?\}/g, (_, by) =>
      String(by === undefined ? n : n % Number(by)),
    );
    const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const answer = await connection.request(
      [`${numbered} HTTP/1.1`, "Host: load.test", ...fields, ...length],
      body,
    );
    this.#tally.answer(answer);
    return answer;
  }

  #isRepeated({ code }: Answer): boolean {
    return code !== undefined && (this.#setup.repeats ?? []).includes(code);
  }

  async #paced(n: number): Promise<void> {
    const { perSecond } = this.#setup;
    if (perSecond === undefined) return;
    const waitMs = this.#startMs + (n * 1000) / perSecond - performance.now();
    if (waitMs > 1) await Bun.sleep(waitMs);
  }
}
