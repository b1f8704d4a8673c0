import { ClientError } from "./errors.ts";

/** How to come back. The names are those of partysocket, where they mean the same. */
export interface ReconnectOptions {
  /** Milliseconds; default 1,000. The first delay after a failure is half of it to all of it, at random. */
  readonly minReconnectionDelay?: number;
  /** Milliseconds; default 30,000. Smaller: back sooner, and more load on a host that has trouble. */
  readonly maxReconnectionDelay?: number;
  /** By how much the delay grows after each round of all URLs in vain. Default 1.5. */
  readonly reconnectionDelayGrowFactor?: number;
  /** A connection that lived for so many milliseconds counts as good: delays begin anew after it. Default 5,000. */
  readonly minUptime?: number;
  /**
   * Milliseconds for an attempt, with the time that `headers` or `params` take; default 10,000. A host that accepts and then
   * says nothing counts as one that does not answer.
   */
  readonly connectionTimeout?: number;
  /** How many attempts may fail one after the other before it is closed for good. Default: no limit. */
  readonly maxRetries?: number;
  /** Messages that may wait while there is no connection; past that sending throws `queue_full`. Default 100. */
  readonly maxEnqueuedMessages?: number;
  /** Connects only when `reconnect()` is called. Default false. */
  readonly startClosed?: boolean;
}

/** Texts by name; a function is called for each connection attempt and each HTTP request, and may take its time. */
export type HeadersSource = HeadersInit | (() => HeadersInit | Promise<HeadersInit>);

/**
 * Anything that is made like a `WebSocket`, as that of the package `ws`. It needs `send`, `close`, `readyState`,
 * `bufferedAmount` and `addEventListener`.
 */
export type WebSocketConstructor = new (address: string, protocols?: string[]) => object;

export interface ConnectOptions extends ReconnectOptions {
  /**
   * Sent with each call; and, as a browser cannot set headers of a WebSocket, in the first frame of each connection for
   * topics. There a host takes none that a page could not set (`cookie`, `origin`, …): it closes the connection with 1008. They do
   * not reach `socket(path)`, which has `params`.
   */
  readonly headers?: HeadersSource;
  /** Of calls, as in `fetch`: `"include"` sends cookies to another origin. */
  readonly credentials?: RequestCredentials;
  /** Closes the client. */
  readonly signal?: AbortSignal;
  /** Default: the global one. Node has it from version 22 on. */
  readonly WebSocket?: WebSocketConstructor;
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
  /** Tells `debugLogger` what the connections do. Default false. */
  readonly debug?: boolean;
  /** Default `console.debug`. */
  readonly debugLogger?: (line: string) => void;
}

/** With all defaults in place. */
export interface Settings extends Required<ReconnectOptions> {
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly log: (line: string) => void;
}

const defaults: Required<ReconnectOptions> = {
  minReconnectionDelay: 1_000,
  maxReconnectionDelay: 30_000,
  reconnectionDelayGrowFactor: 1.5,
  minUptime: 5_000,
  connectionTimeout: 10_000,
  maxRetries: Number.POSITIVE_INFINITY,
  maxEnqueuedMessages: 100,
  startClosed: false,
};

/** @throws ClientError `bad_argument` naming the option that is wrong. */
export function settingsOf(options: ConnectOptions): Settings {
  const { debugLogger = (line: string) => console.debug(line) } = options;
  return {
    ...withDefaults(options, defaults),
    WebSocket: options.WebSocket,
    log: options.debug ? debugLogger : () => undefined,
  };
}

/** The options of one socket, over those of its client. */
export function withDefaults(
  options: ReconnectOptions,
  base: Required<ReconnectOptions>,
): Required<ReconnectOptions> {
  const settings: Record<string, number | boolean> = {};
  for (const name of Object.keys(defaults)) {
    const option = name as keyof ReconnectOptions; // as the keys of `defaults` are, which Object.keys widens to string
    const given = options[option] ?? base[option];
    if (!(typeof given === "boolean" || given >= 0))
      throw new ClientError(
        "bad_argument",
        `The option ${name} is ${given}; it must be a number of 0 or more.`,
      );
    settings[name] = given;
  }
  return settings as unknown as Required<ReconnectOptions>; // filled in above, for every key
}

/** As frames carry them. */
export async function headersOf(
  source: HeadersSource | undefined,
): Promise<Record<string, string> | undefined> {
  if (source === undefined) return undefined;
  return Object.fromEntries(new Headers(typeof source === "function" ? await source() : source));
}

/** @throws ClientError `no_websocket` */
export function webSocketOf(settings: Settings): WebSocketConstructor {
  const found = settings.WebSocket ?? (globalThis as Partial<typeof globalThis>).WebSocket; // Node 20 has none
  if (found) return found;
  throw new ClientError(
    "no_websocket",
    "There is no global WebSocket, as in Node before 22. Pass one: connect(url, { WebSocket }).",
  );
}
