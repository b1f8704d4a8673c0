import type { ClientConnection, EdgeSocket } from "../../infra/edge/edge-socket.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";

/** A client's WebSocket as Bun gives it: closing it calls the close handler at once. */
export class FakeClient implements ClientConnection {
  readonly heard: SocketData[] = [];
  readonly topics = new Set<string>();
  /** What it has published natively, to all others. */
  readonly published: (readonly [name: string, message: SocketData])[] = [];
  readonly socket: EdgeSocket;
  /** How it was closed, the first time. */
  closing: readonly [number, string] | undefined;
  bufferedBytes = 0;
  /** It reads too slowly: what is sent is queued. */
  isBehind = false;
  /** It takes no more: what is sent is dropped. */
  isFull = false;

  constructor(socket: EdgeSocket) {
    this.socket = socket;
  }
  get number(): number {
    return this.socket.socketId;
  }
  /** The client says something. */
  say(message: SocketData): void {
    if (this.closing === undefined) this.socket.received(message);
  }
  leave(code = 1001): void {
    this.closing = [code, "left"];
    this.socket.disconnected(code, "left");
  }
  send(message: SocketData): number {
    if (this.isFull) return 0;
    this.heard.push(message);
    return this.isBehind ? -1 : message.length;
  }
  subscribe(name: string): void {
    this.topics.add(name);
  }
  unsubscribe(name: string): void {
    this.topics.delete(name);
  }
  isSubscribed(name: string): boolean {
    return this.topics.has(name);
  }
  publish(name: string, message: SocketData): void {
    this.published.push([name, message]);
  }
  ping(): void {
    // Nothing hears it.
  }
  pong(): void {
    // Nothing hears it.
  }
  close(code: number, reason: string): void {
    if (this.closing) return;
    this.closing = [code, reason];
    this.socket.disconnected(code, reason);
  }
  terminate(): void {
    this.close(1006, "");
  }
  getBufferedAmount(): number {
    return this.bufferedBytes;
  }
}
