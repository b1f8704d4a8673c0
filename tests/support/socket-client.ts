import { until } from "./wait.ts";

export interface SocketClientOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly protocols?: readonly string[];
}

export type Closing = readonly [code: number, reason: string];

/** A client's WebSocket that notes what it hears. */
export class SocketClient {
  readonly heard: (string | Uint8Array)[] = [];
  closing: Closing | undefined;
  readonly socket: WebSocket;

  private constructor(url: string, { headers = {}, protocols = [] }: SocketClientOptions) {
    // Bun's WebSocket takes headers, which the DOM's type of it does not know.
    this.socket = new WebSocket(url, { headers, protocols: [...protocols] } as never);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => {
      this.heard.push(data instanceof ArrayBuffer ? new Uint8Array(data) : String(data));
    });
    this.socket.addEventListener("close", ({ code, reason }) => {
      this.closing = [code, reason];
    });
    this.socket.addEventListener("error", () => undefined); // Its close says it too.
  }

  /** Resolves when it is open; rejects where the upgrade is refused. */
  static async open(url: string, options: SocketClientOptions = {}): Promise<SocketClient> {
    const client = new SocketClient(url, options);
    await until(`${url} opens`, () => {
      if (client.closing) throw new Error(`${url} was closed: ${client.closing.join(" ")}`);
      return client.socket.readyState === WebSocket.OPEN;
    });
    return client;
  }

  send(message: string | Uint8Array<ArrayBuffer>): void {
    this.socket.send(message);
  }

  close(code?: number, reason?: string): void {
    this.socket.close(code, reason);
  }

  closed(limitMs?: number): Promise<Closing> {
    return until("the client's socket closes", () => this.closing, limitMs);
  }

  /** Resolves with the first `count` messages. */
  async hears(count: number, limitMs?: number): Promise<readonly (string | Uint8Array)[]> {
    await until(`${count} messages arrive`, () => this.heard.length >= count, limitMs);
    return this.heard.slice(0, count);
  }
}
