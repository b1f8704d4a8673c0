import { clientFrame, upgradeLines } from "../../support/websocket-frames.ts";
import { type Attack, type AttackReport, inTurns, Tally } from "../attack.ts";
import { RawConnection } from "../raw-connection.ts";

export interface SocketsSetup {
  readonly port: number;
  readonly sockets: number;
  /** `{n}` is the number of the socket. */
  readonly path: string;
  /** Sent by each socket once it is open. `{n}` as in `path`. */
  readonly first?: readonly string[];
  /** … and by all of them together, so many a second, each in its turn. */
  readonly messagesPerSecond?: number;
  /** As fast as the host takes them, by each socket. */
  readonly floods?: boolean;
  /** What is said, again and again. Default 36 characters. */
  readonly message?: string;
  /** `always`; `never`: nothing is read once the socket is open; `seldom`: a tenth of the time. */
  readonly reads: "always" | "never" | "seldom";
}

const opensAtOnce = 50;
const seldomMs = { reading: 50, not: 450 };
const floodPieces = 64;
const framedPath = "/-/connect";

/** WebSockets: many, or slow, or loud. */
export class Sockets implements Attack {
  readonly #setup: SocketsSetup;
  readonly #tally = new Tally();
  readonly #open: RawConnection[] = [];
  readonly #frame: Buffer;
  /** Of a connection for many, by their type. */
  readonly #frames: Record<string, number> = {};
  #tried = 0;
  #heard = 0;
  #sent = 0;
  #isOver = false;
  readonly #timers: Timer[] = [];

  constructor(setup: SocketsSetup) {
    this.#setup = setup;
    this.#frame = clientFrame(setup.message ?? "0123456789abcdefghijklmnopqrstuvwxyz");
  }

  async begin(): Promise<void> {
    void inTurns(this.#setup.sockets, opensAtOnce, (n) => this.#one(n));
    const { messagesPerSecond = 0, reads } = this.#setup;
    if (messagesPerSecond > 0) this.#speakInTurns(messagesPerSecond);
    if (reads === "seldom") this.#readSeldom();
  }

  report(): AttackReport {
    let bytes = 0;
    let open = 0;
    for (const connection of this.#open) {
      bytes += connection.bytesReceived;
      if (!connection.isClosed) open++;
    }
    const figures = { open, heard: this.#heard, sent: this.#sent, bytesRead: bytes, ...this.#frames };
    return { isDone: this.#tried >= this.#setup.sockets, tally: this.#tally.counts, figures };
  }

  async step(name: string): Promise<void> {
    if (name === "read") for (const connection of this.#open) connection.resume();
    else if (name === "speak") this.#open.find(({ isClosed }) => !isClosed)?.write(this.#frame);
    else if (name === "leave") this.#leave();
    else throw new Error(`Sockets cannot ${name}.`);
  }

  async #one(n: number): Promise<void> {
    const { port, path, first = [], reads, floods } = this.#setup;
    const connection = await RawConnection.open(port);
    connection.onMessage = (payload) => {
      this.#heard++;
      if (path.startsWith(framedPath)) this.#framed(payload);
    };
    const answer = await connection.request(upgradeLines(path.replaceAll("{n}", String(n))));
    this.#tally.answer(answer);
    this.#tried++;
    if (answer.status !== 101) return connection.destroy();
    connection.onClosed = () => this.#tally.end(connection);
    this.#open.push(connection);
    for (const text of first) connection.write(clientFrame(text.replaceAll("{n}", String(n))));
    if (reads === "never") connection.pause();
    if (floods) void this.#flood(connection);
  }

  #framed(payload: Buffer): void {
    const [, type = "unknown"] = /^\{"type":"(\w+)"/.exec(payload.toString("latin1", 0, 40)) ?? [];
    this.#frames[type] = (this.#frames[type] ?? 0) + 1;
  }

  async #flood(connection: RawConnection): Promise<void> {
    const many = Buffer.concat(Array.from({ length: floodPieces }, () => this.#frame));
    while (!this.#isOver && !connection.isClosed) {
      connection.write(many);
      this.#sent += floodPieces;
      await connection.sent();
      await new Promise(setImmediate);
    }
  }

  #speakInTurns(perSecond: number): void {
    let next = 0;
    const everyMs = 20;
    let owed = 0;
    const speak = () => {
      owed += (perSecond * everyMs) / 1000;
      for (; owed >= 1 && this.#open.length > 0; owed--) {
        this.#open[next++ % this.#open.length]?.write(this.#frame);
        this.#sent++;
      }
    };
    this.#timers.push(setInterval(speak, everyMs));
  }

  #readSeldom(): void {
    const turn = async () => {
      for (const connection of this.#open) connection.resume();
      await Bun.sleep(seldomMs.reading);
      for (const connection of this.#open) connection.pause();
    };
    this.#timers.push(setInterval(turn, seldomMs.reading + seldomMs.not));
  }

  #leave(): void {
    this.#isOver = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const connection of this.#open) {
      connection.onClosed = undefined;
      connection.destroy();
    }
    this.#open.length = 0;
  }
}
