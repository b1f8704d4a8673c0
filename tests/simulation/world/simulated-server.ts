import type { ServerWebSocket } from "bun";
import type { Serve, SocketServer } from "../../../apps/server/frontend.ts";
import type { ConnectionEnd, Payload } from "./connection.ts";

type Options = Parameters<Serve>[0];
type Socket = ServerWebSocket<ServedSocket>;
type ServedSocket = Parameters<NonNullable<NonNullable<Options["websocket"]>["message"]>>[0]["data"];
type Answer = Response | undefined;
type Route = (request: Request) => Response | Promise<Response>;

/** What became of a request: an answer, or a socket. */
export type Served =
  | { readonly kind: "response"; readonly response: Response }
  | { readonly kind: "upgraded"; readonly connect: (end: ConnectionEnd) => void };

/** Bun's server, as far as a host can tell: routes, upgrades, and topics that it fans out by itself. */
export class SimulatedServer implements SocketServer {
  readonly port = 1;
  #options: Options;
  #isStopped = false;
  #open = 0;
  readonly #upgraded = new WeakMap<Request, ServedSocket>();
  readonly #sockets = new Set<SimulatedSocket>();
  readonly topics = new Map<string, Set<SimulatedSocket>>();

  constructor(options: Options) {
    this.#options = options;
  }

  get pendingRequests(): number {
    return this.#open;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** On the loop of its host. */
  async serve(request: Request): Promise<Served> {
    this.#open += 1;
    try {
      const response = await this.#answer(request);
      if (response !== undefined) return { kind: "response", response };
      const data = this.#upgraded.get(request);
      if (data === undefined) throw new Error(`${request.url} was neither answered nor upgraded.`);
      return { kind: "upgraded", connect: (end) => this.#connect(end, data) };
    } finally {
      this.#open -= 1;
    }
  }

  #answer(request: Request): Answer | Promise<Answer> {
    const route = this.#routeOf(request);
    if (route !== undefined) return route(request);
    // The host's `fetch` uses neither `this` nor a second argument.
    return (this.#options.fetch as (request: Request) => Answer | Promise<Answer>)(request);
  }

  /** As Bun matches them: literal segments, and names for whole ones. */
  #routeOf(request: Request): Route | undefined {
    const segments = new URL(request.url).pathname.split("/");
    for (const [pattern, handlers] of Object.entries(this.#options.routes ?? {})) {
      const params = paramsOf(pattern.split("/"), segments);
      // The host's routes are objects of handlers by method, and nothing else.
      const handler = params && (handlers as Record<string, Route>)[request.method];
      if (handler === undefined) continue;
      Object.defineProperty(request, "params", { value: params });
      return handler;
    }
    return undefined;
  }

  upgrade(request: Request, options?: { readonly data?: ServedSocket }): boolean {
    if (this.#isStopped || options?.data === undefined) return false;
    this.#upgraded.set(request, options.data);
    return true;
  }

  #connect(end: ConnectionEnd, data: ServedSocket): void {
    const { websocket } = this.#options;
    const socket = new SimulatedSocket(this, end, data);
    // It is all of Bun's socket that a host uses.
    const ws = socket as unknown as Socket;
    this.#sockets.add(socket);
    end.onOver = () => {
      this.#sockets.delete(socket);
      socket.unsubscribeAll();
    };
    websocket?.open?.(ws);
    end.listen({
      message: (message) => void websocket?.message?.(ws, message as string | Buffer<ArrayBuffer>), // bytes, for whom a copy was made
      closed: (code, reason) => void websocket?.close?.(ws, code, reason),
    });
  }

  reload(options: Options): never {
    this.#options = options;
    return this as never; // nobody looks at what Bun answers here
  }

  publish(topic: string, message: unknown): number {
    return this.publishToOthers(topic, message as Payload, undefined); // a host publishes nothing else
  }

  publishToOthers(topic: string, message: Payload, except: SimulatedSocket | undefined): number {
    for (const socket of this.topics.get(topic) ?? []) if (socket !== except) socket.send(message);
    return message.length;
  }

  requestIP(): { address: string; port: number; family: "IPv4" } {
    return { address: "192.0.2.1", port: 1, family: "IPv4" };
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const socket of [...this.#sockets]) socket.terminate();
  }
}

function paramsOf(
  pattern: readonly string[],
  segments: readonly string[],
): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index] ?? "";
    if (part.startsWith(":")) params[part.slice(1)] = decodeURIComponent(segment);
    else if (part !== segment) return undefined;
  }
  return params;
}

/** The accepted end of a WebSocket. */
class SimulatedSocket {
  readonly data: ServedSocket;
  readonly #server: SimulatedServer;
  readonly #end: ConnectionEnd;
  readonly #topics = new Set<string>();

  constructor(server: SimulatedServer, end: ConnectionEnd, data: ServedSocket) {
    this.#server = server;
    this.#end = end;
    this.data = data;
  }

  get readyState(): 1 | 3 {
    return this.#end.isOpen ? 1 : 3;
  }

  send(message: Payload): number {
    if (!this.#end.isOpen) return 0;
    this.#end.send(message);
    return message.length;
  }

  /** Whoever listens answers by itself. */
  ping(): number {
    return 0;
  }
  pong(): number {
    return 0;
  }
  getBufferedAmount(): number {
    return 0;
  }
  cork<T>(send: (socket: this) => T): T {
    return send(this);
  }

  close(code = 1000, reason = ""): void {
    this.#end.close(code, reason);
  }
  terminate(): void {
    this.#end.close(1006, "");
  }

  subscribe(topic: string): boolean {
    const subscribers = this.#server.topics.get(topic) ?? new Set();
    this.#server.topics.set(topic, subscribers.add(this));
    this.#topics.add(topic);
    return true;
  }
  unsubscribe(topic: string): boolean {
    this.#server.topics.get(topic)?.delete(this);
    return this.#topics.delete(topic);
  }
  unsubscribeAll(): void {
    for (const topic of [...this.#topics]) this.unsubscribe(topic);
  }
  isSubscribed(topic: string): boolean {
    return this.#topics.has(topic);
  }
  publish(topic: string, message: Payload): number {
    return this.#server.publishToOthers(topic, message, this);
  }
}
