import { onAbort } from "./abort.ts";
import type { ClientContext } from "./context.ts";
import { callSafely } from "./emitter.ts";
import { socketUrl } from "./endpoints.ts";
import { ClientError, type Closing, queueFull } from "./errors.ts";
import { type ConnectionState, type ConnectionUser, KeptConnection, type Socket } from "./kept-connection.ts";
import { type ReconnectOptions, withDefaults } from "./options.ts";
import { queryOf } from "./query.ts";
import { type Retry, retryAfterClose } from "./retry.ts";
import type { Cancel } from "./surroundings.ts";

/** Texts by name. Those that are undefined are left out. */
export type Params = Readonly<Record<string, string | number | boolean | undefined>>;

export interface SocketOptions extends ReconnectOptions {
  /**
   * The query of the address; a function is called for each attempt, and may take its time. The place for a token: a browser
   * sends no headers of ours with a WebSocket.
   */
  readonly params?: Params | (() => Params | Promise<Params>);
  readonly protocols?: string | readonly string[];
  /**
   * What the class answers at once (`autoResponse`), sent after 15 s of silence: where nothing at all comes within another 10 s
   * the socket is dead. `response` is not passed on. Without it a connection that is gone without a word is not noticed.
   */
  readonly heartbeat?: { readonly request: string; readonly response: string };
  /** For codes of the class's own handlers. Default: as the table in PROTOCOL.md, and no for all that is not in it. */
  readonly shouldReconnectOnClose?: (closing: Closing) => boolean;
  /** Closes it. */
  readonly signal?: AbortSignal;
}

/** A `close` of one connection. `willReconnect` says whether another follows; of the last one it is false. */
export class SocketCloseEvent extends Event {
  declare readonly code: number;
  declare readonly reason: string;
  declare readonly wasClean: boolean;
  declare readonly willReconnect: boolean;

  constructor(closing: Closing, willReconnect: boolean) {
    super("close");
    Object.assign(this, closing, { wasClean: closing.code !== 1006, willReconnect });
  }
}

/** `open`, `message` and `close` come for each connection; `state` whenever the state changes. */
export interface SocketEventMap {
  open: Event;
  message: MessageEvent;
  close: SocketCloseEvent;
  state: Event;
}

interface TypedTarget extends EventTarget {
  addEventListener<Type extends keyof SocketEventMap>(
    type: Type,
    listener: Heard<SocketEventMap[Type]>,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener<Type extends keyof SocketEventMap>(
    type: Type,
    listener: Heard<SocketEventMap[Type]>,
    options?: EventListenerOptions | boolean,
  ): void;
}
type Heard<Of> = ((event: Of) => void) | { handleEvent(event: Of): void } | null;
/** With the types of the events that it is told; there is nothing else to it. */
const SocketEventTarget = EventTarget as new () => TypedTarget;

type Data = Parameters<Socket["send"]>[0];

/**
 * A WebSocket to a path of an object that comes back by itself. Used like a `WebSocket`: `readyState` is 0 while it is on its
 * way back, and 3 once it is closed for good. What is sent meanwhile waits, up to `maxEnqueuedMessages`. Not promised: that what
 * was sent arrived; a connection that breaks takes along what it had taken, and nothing is sent twice. What the other side said
 * while there was no connection is missed: listen to a topic with a history where that matters.
 */
export class ReconnectingSocket extends SocketEventTarget {
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: SocketCloseEvent) => void) | null = null;
  readonly #connection: KeptConnection;
  readonly #queueLengthMax: number;
  readonly #queue: Data[] = [];
  readonly #signals: readonly (AbortSignal | undefined)[];
  #forget: Cancel | undefined;
  #address = "";
  #binaryType: BinaryType | undefined;

  /** @throws ClientError `no_websocket`, `bad_argument` */
  constructor(path: string, options: SocketOptions, context: ClientContext, closing: AbortSignal) {
    super();
    const base = context.settings;
    const settings = { ...base, ...withDefaults(options, { ...base, startClosed: false }) };
    this.#queueLengthMax = settings.maxEnqueuedMessages;
    this.#connection = new KeptConnection(this.#user(path, options), { ...context, settings });
    this.#signals = [options.signal, closing];
    if (settings.startClosed) return;
    this.#heed();
    this.#connection.open();
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  get readyState(): number {
    const { status } = this.#connection.state;
    if (status === "open") return 1;
    return status === "closed" || status === "idle" ? 3 : 0;
  }

  /** Of the last attempt, with its query. */
  get url(): string {
    return this.#address;
  }

  get protocol(): string {
    return this.#connection.socket?.protocol ?? "";
  }

  /** With what waits for a connection; text counted in UTF-16 units. */
  get bufferedAmount(): number {
    let amount = this.#connection.socket?.bufferedAmount ?? 0;
    for (const data of this.#queue) amount += lengthOf(data);
    return amount;
  }

  get binaryType(): BinaryType {
    return this.#binaryType ?? this.#connection.socket?.binaryType ?? "blob";
  }

  set binaryType(type: BinaryType) {
    this.#binaryType = type;
    if (this.#connection.socket) this.#connection.socket.binaryType = type;
  }

  /** How many attempts have failed one after the other. */
  get retryCount(): number {
    return this.#connection.failures;
  }

  /** @throws ClientError `queue_full`; `closed` where it was closed for good, so that nothing is lost unseen. */
  send(data: Data): void {
    const { status } = this.#connection.state;
    if (this.#connection.isOpen) return this.#connection.send(data);
    if (status === "closed")
      throw new ClientError("closed", "This socket is closed. reconnect() opens it again.");
    if (this.#queue.length >= this.#queueLengthMax) throw queueFull(this.#queueLengthMax);
    this.#queue.push(data);
  }

  /** For good, unless `reconnect` is called. What still waits to be sent is dropped. */
  close(code = 1000, reason = ""): void {
    if (this.#connection.state.status === "closed") return;
    this.#connection.close({ status: "closed", code, reason }, code, reason);
    this.#ended();
    this.#tell(new SocketCloseEvent({ code, reason }, false));
  }

  /**
   * Drops the connection that there is, without an event, and opens another at once, with fresh `params`.
   * @throws ClientError `closed` once its client is; its signal's reason once that is aborted.
   */
  reconnect(code?: number, reason?: string): void {
    this.#heed();
    this.#connection.reconnect(code, reason);
  }

  #user(path: string, options: SocketOptions): ConnectionUser {
    const { params, heartbeat, shouldReconnectOnClose: should } = options;
    const retryAfter = (closing: Closing): Retry => {
      const retry = retryAfterClose(closing.code);
      if (should === undefined) return retry;
      if (!should(closing)) return "no";
      return retry === "slowly" ? retry : "yes";
    };
    return {
      ping: heartbeat?.request,
      protocols: [options.protocols ?? []].flat(),
      retryAfter,
      addressAt: async (url) => {
        const query = queryOf(typeof params === "function" ? await params() : params);
        this.#address = socketUrl(url) + path + (query && (path.includes("?") ? "&" : "?") + query);
        return this.#address;
      },
      opened: () => this.#opened(),
      received: ({ data }) => {
        if (heartbeat === undefined || data !== heartbeat.response)
          this.#tell(new MessageEvent("message", { data }));
      },
      lost: (closing) => {
        const isLast = this.#connection.state.status === "closed";
        if (isLast) this.#ended();
        this.#tell(new SocketCloseEvent(closing, !isLast));
      },
      changed: () => this.#tell(new Event("state")),
    };
  }

  #opened(): void {
    const { socket } = this.#connection;
    if (socket && this.#binaryType) socket.binaryType = this.#binaryType;
    this.#connection.greeted();
    for (const data of this.#queue.splice(0)) this.#connection.send(data);
    this.#tell(new Event("open"));
  }

  /** Ends with whatever it belongs to. */
  #heed(): void {
    for (const signal of this.#signals) signal?.throwIfAborted();
    this.#forget?.();
    this.#forget = onAbort(() => this.close(), ...this.#signals);
  }

  #ended(): void {
    this.#queue.length = 0;
    this.#forget?.();
  }

  #tell(event: Event): void {
    const handler = this[`on${event.type as "open"}`]; // each is called with the event of its name
    if (handler) callSafely(handler, event);
    this.dispatchEvent(event);
  }
}

function lengthOf(data: Data): number {
  if (typeof data === "string") return data.length;
  return "size" in data ? data.size : data.byteLength;
}
