import { type Attack, type AttackReport, Tally } from "../attack.ts";
import { RawConnection } from "../raw-connection.ts";

export interface BodiesSetup {
  readonly port: number;
  readonly connections: number;
  readonly lines: readonly string[];
  /** Bytes of each body; one that is chunked has no end beyond them either. */
  readonly bytes: number;
  readonly isChunked: boolean;
  /** It goes on for as long as the host reads; an answer does not stop it. */
  readonly forMs: number;
}

const chunkBytes = 64 * 1024;

/** Bodies that are larger than anybody wants, as fast as the host takes them. */
export class Bodies implements Attack {
  readonly #setup: BodiesSetup;
  readonly #tally = new Tally();
  #sentBytes = 0;
  #over = 0;

  constructor(setup: BodiesSetup) {
    this.#setup = setup;
  }

  async begin(): Promise<void> {
    for (let n = 0; n < this.#setup.connections; n++) void this.#send();
  }

  report(): AttackReport {
    const figures = { sentMiB: Math.round(this.#sentBytes / 1024 / 1024) };
    return { isDone: this.#over >= this.#setup.connections, tally: this.#tally.counts, figures };
  }

  async #send(): Promise<void> {
    const { port, lines, bytes, isChunked, forMs } = this.#setup;
    const connection = await RawConnection.open(port);
    const length = isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes}`;
    const answer = connection.request([...lines, length]);
    void answer.then((got) => this.#tally.answer(got));
    const payload = Buffer.alloc(chunkBytes, "a");
    const chunk = isChunked
      ? Buffer.concat([Buffer.from(`${chunkBytes.toString(16)}\r\n`), payload, Buffer.from("\r\n")])
      : payload;
    const endMs = performance.now() + forMs;
    for (
      let sent = 0;
      sent < bytes && performance.now() < endMs && !connection.isClosed;
      sent += chunkBytes
    ) {
      connection.write(chunk);
      await Promise.race([connection.sent(), Bun.sleep(Math.max(1, endMs - performance.now()))]);
      this.#sentBytes += chunkBytes;
      // So that what has come is read: writes alone would keep this process from it.
      await new Promise(setImmediate);
    }
    await Promise.race([answer, Bun.sleep(1000)]);
    connection.destroy();
    this.#over++;
  }
}
