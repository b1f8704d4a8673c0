import type { Socket } from "bun";
import { converse, setupOf } from "./conversation.ts";
import type { LoadAnswer, LoadQuestion } from "./load-http.ts";
import { handshakeFor, clientFrame, pongFrame } from "../support/websocket-frames.ts";

/**
 * WebSocket load over raw TCP. All messages of a run are alike, so what arrives is counted in bytes and never taken
 * apart: that keeps this side cheaper than the server. Runs are shorter than a server's ping interval, which is the
 * other thing that could arrive.
 */
export interface SocketLoad {
  readonly port: number;
  readonly sockets: number;
  readonly path: string;
  /**
   * `echo`: each socket sends its message again when it came back; an operation is a round trip. `fan-out`: the first
   * socket makes the server publish; an operation is a delivery. `idle`: the sockets are open, and that is all.
   */
  readonly kind: "echo" | "fan-out" | "idle";
}

const text = "0123456789abcdefghijklmnopqrstuvwxyz";
const echoedBytes = 2 + text.length;
const frame = clientFrame(text);
/** Publishes under way: the server has one to work on while this process still counts the one before. */
const publishesMax = 2;
const connectsAtOnceMax = 100;

class Connection {
  readonly #load: Load;
  readonly #opened = Promise.withResolvers<void>();
  #socket: Socket<Connection> | undefined;
  #isOpen = false;
  /** Bytes of the echo that is on its way, so far. */
  #echoed = 0;

  constructor(load: Load) {
    this.#load = load;
  }

  async open({ port, path }: SocketLoad): Promise<void> {
    this.#socket = await Bun.connect<Connection>({
      hostname: "127.0.0.1",
      port,
      data: this,
      socket: {
        data: (socket, bytes) => socket.data.#data(bytes),
        close: () => fail("The server closed a socket."),
        error: (_, error) => fail(error.message),
      },
    });
    this.#socket.write(handshakeFor(path));
    await this.#opened.promise;
  }

  send(): void {
    if (this.#socket?.write(frame) !== frame.length) fail("A message did not fit into the buffer.");
  }

  #data(bytes: Buffer): void {
    if (!this.#isOpen) return this.#handshake(bytes);
    if (this.#load.kind === "idle") return this.#answerPing();
    if (this.#load.kind === "fan-out") return this.#load.delivered(bytes.length);
    this.#echoed += bytes.length;
    if (this.#echoed < echoedBytes) return;
    if (this.#echoed > echoedBytes) fail("More came back than was sent.");
    this.#echoed = 0;
    this.#load.echoed(this);
  }

  /** Nothing else comes to a socket that says nothing. Without an answer the server closes it. */
  #answerPing(): void {
    this.#socket?.write(pongFrame);
  }

  #handshake(bytes: Buffer): void {
    const answer = bytes.toString("latin1");
    if (!answer.startsWith("HTTP/1.1 101") || !answer.endsWith("\r\n\r\n")) fail(answer);
    this.#isOpen = true;
    this.#opened.resolve();
  }
}

class Load {
  readonly kind: SocketLoad["kind"];
  readonly #setup: SocketLoad;
  readonly #connections: Connection[] = [];
  #isOver = true;
  #outstanding = 0;
  #operations = 0;
  #deliveredBytes = 0;
  #finished: PromiseWithResolvers<void> | undefined;

  constructor(setup: SocketLoad) {
    this.kind = setup.kind;
    this.#setup = setup;
  }

  async connect(): Promise<void> {
    while (this.#connections.length < this.#setup.sockets) {
      const count = Math.min(connectsAtOnceMax, this.#setup.sockets - this.#connections.length);
      const group = Array.from({ length: count }, () => new Connection(this));
      await Promise.all(group.map((connection) => connection.open(this.#setup)));
      this.#connections.push(...group);
    }
  }

  echoed(connection: Connection): void {
    this.#operations++;
    if (!this.#isOver) connection.send();
    else if (--this.#outstanding === 0) this.#finished?.resolve();
  }

  delivered(bytes: number): void {
    this.#deliveredBytes += bytes;
    const publishBytes = this.#connections.length * echoedBytes;
    while (this.#deliveredBytes >= publishBytes) {
      this.#deliveredBytes -= publishBytes;
      this.#operations += this.#connections.length;
      if (!this.#isOver) this.#connections[0]?.send();
      else if (--this.#outstanding === 0) this.#finished?.resolve();
    }
  }

  /** Ends when nothing is under way, so that one side's work never runs into the other's turn. */
  async run(ms: number): Promise<LoadAnswer> {
    this.#finished = Promise.withResolvers();
    this.#operations = 0;
    this.#isOver = false;
    const startMs = performance.now();
    this.#begin();
    setTimeout(() => {
      this.#isOver = true;
    }, ms);
    await this.#finished.promise;
    return { operations: this.#operations, elapsedMs: performance.now() - startMs };
  }

  #begin(): void {
    this.#outstanding = this.kind === "echo" ? this.#connections.length : publishesMax;
    if (this.kind === "echo") for (const connection of this.#connections) connection.send();
    else for (let count = 0; count < publishesMax; count++) this.#connections[0]?.send();
  }
}

function fail(message: string): never {
  console.error(`load-sockets: ${message}`);
  process.exit(1);
}

if (import.meta.main) {
  const setup = setupOf<SocketLoad>();
  const load = new Load(setup);
  await load.connect();
  converse<LoadQuestion>({ sockets: setup.sockets }, ({ forMs }) => load.run(forMs));
}
