import { isErrorCode, StatefulError } from "../lib/errors.ts";
import { transportMessageBytesMax } from "./frame.ts";
import { Inbox } from "./inbox.ts";
import type { Transport, TransportHandlers } from "./transport.ts";

/**
 * A link over a WebSocket of Bun, at both ends.
 *
 * Back-pressure is the link's own business: at most its window and a batch are ever under way. But all sockets of a server
 * share one `backpressureLimit`, past which Bun drops messages or closes the socket, and for clients it may be far below a
 * link's window. So the accepted end keeps no more than `socketBufferBytesMax` in Bun's buffer and the rest here, until
 * `drained`. Compression is off: what hosts send is small or compressed already, and it would cost latency and memory.
 */

/** What a link may have in Bun's buffer. A server's `backpressureLimit` must be at least this. */
export const socketBufferBytesMax = 2 * transportMessageBytesMax;

/** What a transport needs of Bun's `ServerWebSocket`, whatever its `data`. */
export interface ServerSocket {
  /** 0: dropped. -1: kept back by the kernel, which is fine. */
  send(message: Uint8Array, compress?: boolean): number;
  getBufferedAmount(): number;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

/** The accepted end. Bun calls handlers of the server and not of a socket, so whoever serves hands the events in. */
export class ServerSocketTransport implements Transport {
  readonly #socket: ServerSocket;
  readonly #inbox = new Inbox(() => this.abort());
  /** Copies of what Bun's buffer has no room for; the link's window bounds them. */
  readonly #held: Uint8Array[] = [];
  #isClosing = false;

  constructor(socket: ServerSocket) {
    this.#socket = socket;
  }

  start(handlers: TransportHandlers): void {
    this.#inbox.start(handlers);
  }

  send(message: Uint8Array): boolean {
    if (!this.#inbox.isOpen || this.#isClosing) return false;
    // Not only `drain` moves what is held: the next heartbeat does too, at a server that forgets to pass the event on.
    if (this.#held.length > 0) this.drained();
    if (this.#held.length === 0 && this.#hasRoomFor(message)) return this.#socket.send(message, false) !== 0;
    this.#held.push(new Uint8Array(message));
    return true;
  }

  close(): void {
    this.#isClosing = true;
    if (this.#inbox.isOpen && this.#held.length === 0) this.#socket.close(1000);
  }

  abort(): void {
    this.#isClosing = true;
    if (this.#inbox.isOpen) this.#socket.terminate();
  }

  /** From the server's `drain`. */
  drained(): void {
    for (let next = this.#held[0]; next !== undefined && this.#hasRoomFor(next); next = this.#held[0]) {
      this.#held.shift();
      if (this.#socket.send(next, false) !== 0) continue;
      this.abort();
      return;
    }
    if (this.#isClosing) this.close();
  }

  #hasRoomFor(message: Uint8Array): boolean {
    const buffered = this.#socket.getBufferedAmount();
    return buffered === 0 || buffered + message.byteLength <= socketBufferBytesMax;
  }

  /** From the server's `message`. */
  received(message: string | Uint8Array): void {
    this.#inbox.message(message);
  }

  /** From the server's `close`. */
  closed(code: number, reason: string): void {
    this.#inbox.closed(socketClosed(code, reason));
  }
}

/** The dialled end. */
class ClientSocketTransport implements Transport {
  readonly #socket: Bun.WebSocket;
  readonly #inbox = new Inbox(() => this.abort());

  constructor(socket: Bun.WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.#inbox.message(data instanceof ArrayBuffer ? new Uint8Array(data) : "");
    };
    socket.onclose = ({ code, reason }) => this.#inbox.closed(socketClosed(code, reason));
  }

  start(handlers: TransportHandlers): void {
    this.#inbox.start(handlers);
  }

  send(message: Uint8Array): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(message);
    return true;
  }

  close(): void {
    this.#socket.close(1000);
  }

  abort(): void {
    this.#socket.terminate();
  }
}

function socketClosed(code: number, reason: string): string {
  return `the socket closed with ${code}${reason === "" ? "" : `, ${reason}`}`;
}

/** Opens a transport to a host. `headers` is called for each request, because signed headers are good for one only. */
export type Dial = (
  url: string,
  headers: () => Record<string, string>,
  signal: AbortSignal,
) => Promise<Transport>;

/**
 * Rejects with the peer's own error where it refused the upgrade, and with `owner_unreachable` otherwise. A client's
 * WebSocket shows only the status of a refusal, so the reason is asked for with a plain request.
 */
export const dialWebSocket: Dial = async (url, headers, signal) => {
  const socket = openSocket(url.replace(/^http/, "ws"), { headers: headers(), perMessageDeflate: false });
  const transport = new ClientSocketTransport(socket);
  try {
    await opened(socket, url, signal);
    return transport;
  } catch (error) {
    transport.abort();
    if (signal.aborted) throw error;
    throw (await refusal(url, headers(), signal)) ?? error;
  }
};

type OpenBunSocket = new (url: string, options: Bun.WebSocketOptions) => Bun.WebSocket;

function openSocket(url: string, options: Bun.WebSocketOptions): Bun.WebSocket {
  // Bun's constructor takes options and its sockets can be terminated; the DOM's types, loaded for pages, know neither.
  const BunSocket = WebSocket as unknown as OpenBunSocket;
  return new BunSocket(url, options);
}

function opened(socket: Bun.WebSocket, url: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (why: string) =>
      reject(new StatefulError("owner_unreachable", `${url} cannot be reached: ${why}.`));
    if (signal.aborted) return failed("the dial was given up");
    signal.addEventListener("abort", () => failed("the dial was given up"), { once: true });
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener(
      "close",
      ({ code, reason }) => failed(`the socket closed with ${code} ${reason}`),
      { once: true },
    );
    socket.addEventListener("error", () => failed("the upgrade failed"), { once: true });
  });
}

/**
 * What the host answers to the same request without an upgrade, where that is an error of ours. No host sends another elsewhere:
 * whoever stands at its address by now shall not.
 */
async function refusal(
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<StatefulError | undefined> {
  try {
    const response = await fetch(url.replace(/^ws/, "http"), { headers, signal, redirect: "error" });
    const body = await readLimited(response);
    const problem: unknown = JSON.parse(body);
    if (typeof problem !== "object" || problem === null || !("code" in problem) || !("detail" in problem))
      return undefined;
    const { code, detail } = problem;
    // Without an upgrade this is what a host says that would have accepted it.
    if (!isErrorCode(code) || code === "upgrade_required" || typeof detail !== "string") return undefined;
    return new StatefulError(code, detail);
  } catch {
    // Nothing more to learn: the failure of the upgrade itself is told.
    return undefined;
  }
}

const refusalBytesMax = 16 * 1024;

async function readLimited(response: Response): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > refusalBytesMax) break;
  }
  return text;
}
