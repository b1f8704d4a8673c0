import { SocketClient, type SocketClientOptions } from "./socket-client.ts";
import { until } from "./wait.ts";

/** A frame of the host, as it came. */
export interface HostFrame {
  readonly type: string;
  readonly id?: number;
  readonly object?: string;
  readonly topic?: string;
  readonly position?: string;
  readonly recovered?: boolean;
  readonly data?: unknown;
  readonly text?: string;
  readonly bytes?: string;
  readonly status?: number;
  readonly error?: Readonly<Record<string, unknown>>;
  readonly ref?: number;
  readonly code?: number;
  readonly reason?: string;
}

/** A client of `/-/connect` that notes every frame and says what it is told. */
export class ConnectClient {
  readonly socket: SocketClient;
  #lastId = 0;

  private constructor(socket: SocketClient) {
    this.socket = socket;
  }

  /** @param host as `ws://localhost:1234` */
  static async open(host: string, options?: SocketClientOptions): Promise<ConnectClient> {
    return new ConnectClient(await SocketClient.open(`${host}/-/connect`, options));
  }

  get frames(): readonly HostFrame[] {
    return this.socket.heard.map((text) => JSON.parse(String(text)));
  }

  of(type: string): readonly HostFrame[] {
    return this.frames.filter((frame) => frame.type === type);
  }

  /** What its messages of a topic say, in order. */
  heard(object: string, topic: string): readonly unknown[] {
    const messages = this.of("message").filter((frame) => frame.object === object && frame.topic === topic);
    return messages.map(({ data, text, bytes }) => data ?? text ?? bytes);
  }

  say(frame: object): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** Asks to subscribe; the id. */
  ask(object: string, topic: string, more: object = {}): number {
    const id = ++this.#lastId;
    this.say({ type: "subscribe", id, object, topic, ...more });
    return id;
  }

  /** The first frame of that type with that id. */
  told(type: string, id: number, limitMs?: number): Promise<HostFrame> {
    const find = () => this.of(type).find((frame) => frame.id === id);
    return until(`${type} ${id} arrives`, find, limitMs);
  }

  /** Resolves when it is subscribed. */
  async subscribe(
    object: string,
    topic: string,
    more?: object,
  ): Promise<HostFrame & { readonly id: number }> {
    const id = this.ask(object, topic, more);
    return { ...(await this.told("subscribed", id)), id };
  }

  close(): void {
    this.socket.close();
  }
}
