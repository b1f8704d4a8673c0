import type { ClientContext } from "./context.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Closing } from "./errors.ts";
import { Heartbeat } from "./heartbeat.ts";
import { type Settings, type WebSocketConstructor, webSocketOf } from "./options.ts";
import { type Retry, retryAfterClose, retryDelayMs } from "./retry.ts";
import type { Cancel, Surroundings } from "./surroundings.ts";

/** Where a connection is. Each state has the fields that mean something in it. */
export type ConnectionState =
  /** Nobody needs it now, or it waits for `reconnect()`. */
  | { readonly status: "idle" }
  | { readonly status: "connecting"; readonly url: string }
  /** `host` and `region` are as the host named itself; of a `socket(path)` they are not known. */
  | {
      readonly status: "open";
      readonly url: string;
      readonly host: string | undefined;
      readonly region: string | undefined;
    }
  /** `url` is tried next, at `retryAt`. `failures`: so many attempts have failed one after the other. */
  | {
      readonly status: "waiting";
      readonly url: string;
      readonly retryAt: Date;
      readonly failures: number;
      readonly code: number;
      readonly reason: string;
    }
  /** For good: by us, or with a code after which nobody may try again. */
  | { readonly status: "closed"; readonly code: number; readonly reason: string };

/** What a connection is kept for. */
export interface ConnectionUser {
  /** What to dial at a host; asked before each attempt, and part of its time. */
  addressAt(url: string): Promise<string>;
  /** The socket is open. It counts as connected once `greeted` is called. */
  opened(): void;
  received(event: MessageEvent): void;
  /** It is gone, and its state says already what comes next. Not called where we closed it. */
  lost(closing: Closing): void;
  changed(state: ConnectionState): void;
  /** Overrules the table of close codes. */
  retryAfter?(closing: Closing): Retry;
  /** What the other side answers at once; undefined where it is not known. */
  readonly ping: string | undefined;
  readonly protocols: readonly string[];
}

/** The part of a WebSocket that is used; typed here, because it may be anybody's. */
export interface Socket extends EventTarget {
  readonly readyState: number;
  readonly bufferedAmount: number;
  readonly protocol: string;
  binaryType: BinaryType;
  send(data: string | ArrayBufferLike | ArrayBufferView | Blob): void;
  close(code?: number, reason?: string): void;
}

/** After so long at another host, the next connection begins with the nearest again. */
const preferFirstAfterMs = 60_000;

/**
 * One WebSocket that comes back: dials, gives up what does not answer, waits, and dials the next host. At most one attempt is
 * under way at any time, and each is given up as a whole: nothing that a former socket still says is heard.
 */
export class KeptConnection {
  readonly #user: ConnectionUser;
  readonly #endpoints: Endpoints;
  readonly #settings: Settings;
  readonly #around: Surroundings;
  readonly #WebSocket: WebSocketConstructor;
  #state: ConnectionState = { status: "idle" };
  #socket: Socket | undefined;
  #heartbeat: Heartbeat | undefined;
  /** Number of the attempt; one that finds another here has been given up. */
  #attempt = 0;
  #attemptedAtMs = 0;
  #openedAtMs = 0;
  #failures = 0;
  #hasRenewedCredentials = false;
  /** The one timer of a state: the limit of an attempt, or the end of a wait. */
  #cancelTimer: Cancel | undefined;
  #cancelWake: Cancel | undefined;

  /** @throws ClientError `no_websocket` */
  constructor(user: ConnectionUser, { endpoints, settings, around }: ClientContext) {
    this.#user = user;
    this.#endpoints = endpoints;
    this.#settings = settings;
    this.#around = around;
    this.#WebSocket = webSocketOf(settings);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Undefined unless there is one that was opened. */
  get socket(): Socket | undefined {
    return this.#socket;
  }

  /** Whether what is sent now goes out; not so any more from the moment on in which the connection begins to close. */
  get isOpen(): boolean {
    return this.#socket?.readyState === 1;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Connects, unless it is about to already. */
  open(): void {
    if (this.#state.status === "idle" || this.#state.status === "closed") this.#dial();
  }

  /** Leaves the connection that there is, and connects anew: to the nearest host, with fresh credentials, without waiting. */
  reconnect(code?: number, reason?: string): void {
    this.#leave(code, reason);
    this.#failures = 0;
    this.#hasRenewedCredentials = false;
    this.#endpoints.preferFirst();
    this.#dial();
  }

  /** @param next `idle` where it may be opened again. */
  close(
    next: ConnectionState & { readonly status: "idle" | "closed" },
    code?: number,
    reason?: string,
  ): void {
    this.#leave(code, reason);
    this.#change(next);
  }

  send(data: Parameters<Socket["send"]>[0]): void {
    this.#socket?.send(data);
  }

  /** The host has shown itself. */
  greeted(host?: string, region?: string): void {
    if (this.#state.status !== "connecting") return;
    this.#cancelTimer?.();
    this.#openedAtMs = this.#around.monotonicMs();
    this.#change({ status: "open", url: this.#state.url, host, region });
  }

  #dial(): void {
    const url = this.#endpoints.current;
    const attempt = this.#newAttempt();
    this.#attemptedAtMs = this.#around.monotonicMs();
    this.#cancelWake ??= this.#around.onWake(() => this.#wake());
    const limitMs = this.#settings.connectionTimeout;
    this.#cancelTimer = this.#around.after(limitMs, () => {
      const isHostsFault = this.#socket !== undefined; // or nothing has been dialled yet
      this.#failed(`${url} did not open within ${limitMs} ms`, isHostsFault);
    });
    this.#change({ status: "connecting", url });
    void this.#connect(url, attempt);
  }

  async #connect(url: string, attempt: number): Promise<void> {
    let address: string;
    try {
      address = await this.#user.addressAt(url);
    } catch (error) {
      // No fault of the host's: it is the one to try again.
      if (attempt === this.#attempt) this.#failed(messageOf(error), false);
      return;
    }
    if (attempt !== this.#attempt) return;
    try {
      const WebSocket = this.#WebSocket;
      // `protocols` is left out where there are none: not every implementation takes an empty list. The user's constructor
      // makes what the options ask for.
      const { protocols } = this.#user;
      const socket = protocols.length > 0 ? new WebSocket(address, [...protocols]) : new WebSocket(address);
      this.#listen(socket as Socket, attempt); // the options say what it must be
    } catch (error) {
      this.#failed(messageOf(error));
    }
  }

  #listen(socket: Socket, attempt: number): void {
    const isStale = () => attempt !== this.#attempt;
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (isStale()) return;
      const { ping } = this.#user;
      if (ping !== undefined)
        this.#heartbeat = new Heartbeat(this.#around, {
          ask: () => this.send(ping),
          dead: () => this.#failed("nothing was heard, and no answer came"),
        });
      this.#user.opened();
    });
    socket.addEventListener("message", (event) => {
      if (isStale()) return;
      this.#heartbeat?.heard();
      this.#user.received(event as MessageEvent); // as its name says
    });
    socket.addEventListener("close", (event) => {
      const { code, reason } = event as CloseEvent; // as its name says
      if (!isStale()) this.#lost({ code, reason: String(reason) });
    });
    // Its close says it too; where an implementation forgets that, the limit of the attempt or the heartbeat does.
    socket.addEventListener("error", () => undefined);
  }

  #failed(reason: string, isHostsFault?: boolean): void {
    this.#lost({ code: 1006, reason }, isHostsFault);
  }

  #lost(closing: Closing, isHostsFault = true): void {
    const uptimeMs = this.#state.status === "open" ? this.#around.monotonicMs() - this.#openedAtMs : -1;
    this.#leave();
    const isGood = uptimeMs >= this.#settings.minUptime;
    if (isGood) {
      this.#failures = 0;
      this.#hasRenewedCredentials = false;
      if (uptimeMs >= preferFirstAfterMs) this.#endpoints.preferFirst();
    } else {
      this.#failures += 1;
      // One that was open is asked once more: a host that goes has others beside it.
      if (isHostsFault && (uptimeMs < 0 || this.#failures > 1)) this.#endpoints.failed(this.#endpointInUse());
    }
    this.#change(this.#afterLoss(closing), closing);
  }

  /** Decides, and sets the timer where it is worth another try. */
  #afterLoss(closing: Closing): ConnectionState {
    const retry = this.#user.retryAfter?.(closing) ?? retryAfterClose(closing.code);
    const isLast = retry === "credentials" && this.#hasRenewedCredentials;
    if (retry === "no" || isLast || this.#failures > this.#settings.maxRetries)
      return { status: "closed", ...closing };
    if (retry === "credentials") this.#hasRenewedCredentials = true;
    const failures = this.#failures;
    const ways = this.#endpoints.count;
    const delayMs = retryDelayMs(this.#settings, { failures, ways, retry }, this.#around);
    this.#cancelTimer = this.#around.after(delayMs, () => this.#dial());
    const retryAt = new Date(this.#around.wallMs() + delayMs);
    return { status: "waiting", url: this.#endpoints.current, retryAt, failures, ...closing };
  }

  /** The machine may have slept: what waits need wait no longer, and what seems to be open is asked. */
  #wake(): void {
    if (this.#state.status === "open") return this.#heartbeat?.ask();
    if (this.#state.status !== "waiting") return;
    // A network that comes and goes wakes often. That must not become a way around the delays.
    const sinceMs = this.#around.monotonicMs() - this.#attemptedAtMs;
    if (sinceMs >= this.#settings.minReconnectionDelay) this.#dial();
  }

  #endpointInUse(): string {
    return "url" in this.#state ? this.#state.url : this.#endpoints.current;
  }

  #newAttempt(): number {
    this.#cancelTimer?.();
    this.#attempt += 1;
    return this.#attempt;
  }

  /** Ends whatever is under way, without a word to the user. */
  #leave(code?: number, reason?: string): void {
    const socket = this.#socket;
    if (socket !== undefined && socket.readyState <= 1) {
      if (code === undefined) socket.close();
      else socket.close(code, reason); // throws for a code that may not be sent, and then nothing has happened
    }
    this.#newAttempt();
    this.#heartbeat?.stop();
    this.#heartbeat = undefined;
    this.#socket = undefined;
  }

  #change(state: ConnectionState, lost?: Closing): void {
    this.#state = state;
    if (state.status === "closed" || state.status === "idle") {
      this.#cancelWake?.();
      this.#cancelWake = undefined;
    }
    if (lost) this.#user.lost(lost);
    this.#settings.log(`stateful-objects: ${JSON.stringify(this.#state)}`);
    this.#user.changed(this.#state);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
