import type { Socket } from "bun";
import { converse, setupOf } from "./conversation.ts";
import { rateDigits } from "./servers/classes.ts";
import { frameIn, handshakeFor, pingFrame, pongFrame, textFrame } from "../support/websocket-frames.ts";

/** Clients of a topic's own address over raw TCP, of which some stop to read. Messages begin with their number. */
export interface Readers {
  readonly port: number;
  readonly path: string;
  readonly clients: number;
}

export type ReadersQuestion =
  /** The last so many read nothing from now on. Answered at once. */
  | { readonly ask: "stall"; readonly clients: number }
  /** Answered when all who read have heard that number. */
  | { readonly ask: "heard"; readonly number: number }
  /** All read again. Answered when all have heard that number. */
  | { readonly ask: "read"; readonly number: number };

export interface ReadersAnswer {
  readonly elapsedMs: number;
  /** Messages that all clients have heard together, since they connected. */
  readonly heard: number;
}

class Reader {
  readonly #load: Load;
  readonly #opened = Promise.withResolvers<void>();
  #socket: Socket<Reader> | undefined;
  #rest: Buffer = empty;
  #isOpen = false;
  isStalled = false;
  heard = 0;
  latest = -1;

  constructor(load: Load) {
    this.#load = load;
  }

  async open({ port, path }: Readers): Promise<void> {
    this.#socket = await Bun.connect<Reader>({
      hostname: "127.0.0.1",
      port,
      data: this,
      socket: {
        data: (socket, bytes) => socket.data.#data(bytes),
        close: () => fail("The server closed a reader."),
        error: (_, error) => fail(error.message),
      },
    });
    this.#socket.write(handshakeFor(path));
    await this.#opened.promise;
  }

  stall(): void {
    this.isStalled = true;
    this.#socket?.pause();
  }

  read(): void {
    this.isStalled = false;
    this.#socket?.resume();
  }

  #data(bytes: Buffer): void {
    if (!this.#isOpen) return this.#handshake(bytes);
    let all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    for (let frame = frameIn(all); frame !== undefined; frame = frameIn(all)) {
      if (all[0] === pingFrame) this.#socket?.write(pongFrame);
      if (all[0] === textFrame)
        this.#heard(Number(all.toString("latin1", frame.from, frame.from + rateDigits)));
      all = all.subarray(frame.to);
    }
    this.#rest = all.length > 0 ? Buffer.from(all) : empty;
  }

  #heard(number: number): void {
    if (number <= this.latest) fail(`A reader heard ${number} after ${this.latest}.`);
    this.latest = number;
    this.heard += 1;
    this.#load.look();
  }

  #handshake(bytes: Buffer): void {
    const end = bytes.indexOf("\r\n\r\n");
    if (end === -1 || !bytes.toString("latin1").startsWith("HTTP/1.1 101")) fail(bytes.toString("latin1"));
    this.#isOpen = true;
    this.#opened.resolve();
    const rest = bytes.subarray(end + 4);
    if (rest.length > 0) this.#data(rest);
  }
}

class Load {
  readonly #setup: Readers;
  readonly #readers: Reader[] = [];
  #isDone: (() => void) | undefined;
  #awaited = 0;

  constructor(setup: Readers) {
    this.#setup = setup;
  }

  async connect(): Promise<void> {
    while (this.#readers.length < this.#setup.clients) {
      const reader = new Reader(this);
      await reader.open(this.#setup);
      this.#readers.push(reader);
    }
  }

  look(): void {
    if (this.#isDone === undefined) return;
    if (!this.#readers.every(({ isStalled, latest }) => isStalled || latest >= this.#awaited)) return;
    this.#isDone();
    this.#isDone = undefined;
  }

  async answer(question: ReadersQuestion): Promise<ReadersAnswer> {
    const startMs = performance.now();
    if (question.ask === "stall") for (const reader of this.#readers.slice(-question.clients)) reader.stall();
    else {
      if (question.ask === "read") for (const reader of this.#readers) reader.read();
      await this.#until(question.number);
    }
    const heard = this.#readers.reduce((sum, reader) => sum + reader.heard, 0);
    return { elapsedMs: performance.now() - startMs, heard };
  }

  #until(number: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaited = number;
    this.#isDone = resolve;
    this.look();
    return promise;
  }
}

const empty: Buffer = Buffer.alloc(0);

function fail(message: string): never {
  console.error(`load-readers: ${message}`);
  process.exit(1);
}

if (import.meta.main) {
  const setup = setupOf<Readers>();
  const load = new Load(setup);
  await load.connect();
  converse<ReadersQuestion>({ clients: setup.clients }, (question) => load.answer(question));
}
