import type { Socket } from "bun";
import { converse, setupOf } from "./conversation.ts";

/**
 * HTTP load: keep-alive connections with one request outstanding on each, over raw TCP. It reads of an answer what it
 * needs to know where it ends and that it is a 200, and nothing else, so that it is faster than any server it asks.
 */
export interface HttpLoad {
  readonly port: number;
  readonly connections: number;
  readonly method: "GET" | "POST";
  /** Of the objects. Default `counter`. */
  readonly className?: string;
  /** Objects that the requests go around; `"fresh"`: no id is used twice. */
  readonly objects: number | "fresh";
}

export interface LoadQuestion {
  readonly forMs: number;
}
export interface LoadAnswer {
  readonly operations: number;
  readonly elapsedMs: number;
}

class Connection {
  readonly #load: Load;
  #socket: Socket<Connection> | undefined;
  #received = "";

  constructor(load: Load) {
    this.#load = load;
  }

  async open(port: number): Promise<void> {
    this.#socket = await Bun.connect<Connection>({
      hostname: "127.0.0.1",
      port,
      data: this,
      socket: {
        data: (socket, bytes) => socket.data.#data(bytes),
        close: () => fail("The server closed a connection."),
        error: (_, error) => fail(error.message),
      },
    });
  }

  send(): void {
    const request = this.#load.nextRequest();
    if (this.#socket?.write(request) !== request.length)
      fail("A request did not fit into the socket's buffer.");
  }

  #data(bytes: Buffer): void {
    this.#received += bytes.toString("latin1");
    const length = lengthOfResponse(this.#received);
    if (this.#received.length < length) return;
    if (this.#received.length > length) fail("The server answered more than was asked.");
    if (!this.#received.startsWith("HTTP/1.1 200")) fail(this.#received);
    this.#received = "";
    this.#load.answered(this);
  }
}

/** Infinity while the head is not complete. */
function lengthOfResponse(text: string): number {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return Number.POSITIVE_INFINITY;
  const [, bodyLength] = /content-length: *(\d+)/i.exec(text) ?? fail(`No content-length in: ${text}`);
  return headEnd + 4 + Number(bodyLength);
}

class Load {
  readonly #setup: HttpLoad;
  readonly #requests: readonly Buffer[];
  readonly #connections: Connection[] = [];
  #next = 0;
  #isOver = true;
  #outstanding = 0;
  #answers = 0;
  #finished: PromiseWithResolvers<void> | undefined;

  constructor(setup: HttpLoad) {
    this.#setup = setup;
    const ids = setup.objects === "fresh" ? 0 : setup.objects;
    this.#requests = Array.from({ length: ids }, (_, index) => requestFor(setup, `object-${index}`));
  }

  async connect(): Promise<void> {
    for (let count = 0; count < this.#setup.connections; count++) {
      const connection = new Connection(this);
      await connection.open(this.#setup.port);
      this.#connections.push(connection);
    }
  }

  nextRequest(): Buffer {
    const number = this.#next++;
    const known = this.#requests[number % this.#requests.length];
    return known ?? requestFor(this.#setup, `fresh-${process.pid}-${number}`);
  }

  answered(connection: Connection): void {
    this.#answers++;
    if (!this.#isOver) connection.send();
    else if (--this.#outstanding === 0) this.#finished?.resolve();
  }

  /** Ends when every request is answered, so that one side's work never runs into the other's turn. */
  async run(ms: number): Promise<LoadAnswer> {
    this.#finished = Promise.withResolvers();
    this.#answers = 0;
    this.#isOver = false;
    this.#outstanding = this.#connections.length;
    const startMs = performance.now();
    for (const connection of this.#connections) connection.send();
    setTimeout(() => {
      this.#isOver = true;
    }, ms);
    await this.#finished.promise;
    return { operations: this.#answers, elapsedMs: performance.now() - startMs };
  }
}

function requestFor({ method, className = "counter" }: HttpLoad, id: string): Buffer {
  const head = (path: string) => `${method} ${path} HTTP/1.1\r\nHost: bench.test\r\n`;
  if (method === "GET") return Buffer.from(`${head(`/${className}/${id}`)}\r\n`);
  const body = '{"by":1}';
  const fields = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.from(`${head(`/${className}/${id}/add`)}${fields}${body}`);
}

function fail(message: string): never {
  console.error(`load-http: ${message}`);
  process.exit(1);
}

if (import.meta.main) {
  const setup = setupOf<HttpLoad>();
  const load = new Load(setup);
  await load.connect();
  converse<LoadQuestion>({ connections: setup.connections }, ({ forMs }) => load.run(forMs));
}
