import { connect, type Socket } from "node:net";
import { until } from "./wait.ts";

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case, in the order of arrival, repeated ones included. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
}

/** One TCP connection that says what it is told, byte for byte: what no well-behaved HTTP client would send. */
export class RawClient {
  readonly socket: Socket;
  isClosed = false;
  bytesReceived = 0;
  #received = "";

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.bytesReceived += bytes.length;
      this.#received += bytes.toString("latin1");
    });
    socket.on("error", () => socket.destroy()); // A reset is a close like any other here.
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, "localhost");
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawClient(socket);
  }

  /** The first lines of a request, each with its line break, and the empty line behind them. */
  head(requestLine: string, fields: readonly string[] = []): void {
    const lines = [`${requestLine} HTTP/1.1`, ...fields];
    if (!fields.some((field) => /^host:/i.test(field))) lines.splice(1, 0, "Host: edge.example");
    this.socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  }

  /** Asks for a WebSocket. */
  upgrade(path: string, fields: readonly string[] = []): void {
    const handshake = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
    this.head(`GET ${path}`, [...handshake, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", ...fields]);
  }

  /** Everything that has arrived, as one character for each byte. */
  get received(): string {
    return this.#received;
  }

  /** One answer, whole: by its length, its last chunk, or the end of the connection. */
  answer(limitMs = 5_000): Promise<RawAnswer> {
    return until("a whole answer arrives", () => parseAnswer(this.#received, this.isClosed), limitMs);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Sends one request on a connection of its own. */
export async function rawRequest(
  port: number,
  requestLine: string,
  fields: readonly string[] = [],
  body = "",
): Promise<RawAnswer> {
  const client = await RawClient.connect(port);
  try {
    client.head(requestLine, fields);
    client.socket.write(body, "latin1");
    return await client.answer();
  } finally {
    client.close();
  }
}

function parseAnswer(text: string, isClosed: boolean): RawAnswer | undefined {
  const answer = splitAnswer(text, isClosed);
  return answer && { ...answer, body: Buffer.from(answer.body, "latin1").toString() };
}

/** With a body of one character for each byte, which is what its lengths count. */
function splitAnswer(text: string, isClosed: boolean): RawAnswer | undefined {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return undefined;
  const [statusLine = "", ...lines] = text.slice(0, headEnd).split("\r\n");
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const field = (name: string) => fields.find(([candidate]) => candidate === name)?.[1];
  const status = Number(statusLine.split(" ")[1]);
  const rest = text.slice(headEnd + 4);
  const length = field("content-length");
  if (status === 101 || status === 204 || status === 304) return { status, fields, body: "" };
  if (length !== undefined) {
    if (rest.length < Number(length) && !isClosed) return undefined;
    return { status, fields, body: rest.slice(0, Number(length)) };
  }
  if (field("transfer-encoding") === "chunked") {
    const body = unchunked(rest);
    if (body !== undefined) return { status, fields, body };
  }
  return isClosed ? { status, fields, body: rest } : undefined;
}

/** The content of a chunked body; undefined while its last chunk is missing. */
function unchunked(text: string): string | undefined {
  let body = "";
  let offset = 0;
  for (;;) {
    const lineEnd = text.indexOf("\r\n", offset);
    if (lineEnd === -1) return undefined;
    const length = Number.parseInt(text.slice(offset, lineEnd), 16);
    if (length === 0) return body;
    if (text.length < lineEnd + 4 + length) return undefined;
    body += text.slice(lineEnd + 2, lineEnd + 2 + length);
    offset = lineEnd + 4 + length;
  }
}
