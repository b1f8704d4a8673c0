import { type Attack, type AttackReport, inTurns, Tally } from "../attack.ts";
import { RawConnection } from "../raw-connection.ts";

export interface HeldSetup {
  readonly port: number;
  readonly connections: number;
  /** The lines of each request. `{n}` is its number. */
  readonly lines: readonly string[];
  readonly body?: string;
  /** What else is sent, again and again, `everyMs`: a drop of a head or of a body. */
  readonly drop?: { readonly text: string; readonly everyMs: number };
  /** Whether what the host sends is read. */
  readonly reads: boolean;
  /** Lines are sent without the empty one behind them: the head does not end. */
  readonly isHeadOpen?: boolean;
}

const opensAtOnce = 50;

/** Requests that stay open: their answers do not come, or are not read, or their ends are not sent. */
export class Held implements Attack {
  readonly #setup: HeldSetup;
  readonly #tally = new Tally();
  readonly #open = new Set<RawConnection>();
  #opened = 0;
  /** Of those that have left. */
  #readBytes = 0;
  #cancel: Timer | undefined;

  constructor(setup: HeldSetup) {
    this.#setup = setup;
  }

  async begin(): Promise<void> {
    void inTurns(this.#setup.connections, opensAtOnce, (n) => this.#one(n));
    const { drop } = this.#setup;
    if (drop === undefined) return;
    this.#cancel = setInterval(() => {
      for (const connection of this.#open) connection.write(drop.text);
    }, drop.everyMs);
  }

  report(): AttackReport {
    let bytes = this.#readBytes;
    for (const connection of this.#open) bytes += connection.bytesReceived;
    const figures = { opened: this.#opened, open: this.#open.size, bytesRead: bytes };
    return { isDone: this.#opened >= this.#setup.connections, tally: this.#tally.counts, figures };
  }

  async step(name: string): Promise<void> {
    if (name !== "leave") throw new Error(`Held requests cannot ${name}.`);
    clearInterval(this.#cancel);
    for (const connection of [...this.#open]) {
      connection.onClosed = undefined;
      connection.destroy();
      this.#readBytes += connection.bytesReceived;
    }
    this.#open.clear();
  }

  async #one(n: number): Promise<void> {
    const { port, lines, body = "", reads, isHeadOpen } = this.#setup;
    const connection = await RawConnection.open(port);
    this.#open.add(connection);
    const answer = connection.expect();
    if (!reads) connection.pause();
    const head = lines.map((line) => line.replaceAll("{n}", String(n))).join("\r\n");
    connection.write(`${head}\r\n${isHeadOpen ? "" : "\r\n"}${body}`);
    this.#opened++;
    connection.onClosed = () => {
      this.#open.delete(connection);
      this.#tally.end(connection);
    };
    if (!reads) return;
    void answer.then((got) => {
      if (got.status !== 0) this.#tally.answer(got);
    });
  }
}
