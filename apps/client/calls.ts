import { answerOf, CallError } from "./answers.ts";
import type { Endpoints } from "./endpoints.ts";
import { ClientError } from "./errors.ts";
import { type ConnectOptions, headersOf } from "./options.ts";
import { queryOf, textOf } from "./query.ts";

/**
 * Calls in the shape of Eden's `treaty`: `messages.post(body, options)` is a POST of `/messages`. The types are Eden's own; its
 * run time is not here because of its size (rule C12).
 */

/** Requests that may be sent again: who makes them asks for no effect (RFC 9110, section 9.2.1). */
const safeMethods = ["get", "head", "options"];
const methods = [...safeMethods, "post", "put", "patch", "delete", "connect"];

export type CallSettings = Pick<ConnectOptions, "headers" | "credentials" | "fetch"> & {
  /** Aborted when the client closes. */
  readonly closing: AbortSignal;
};

/** What may be passed after the body; to `get` and `head`, as the only argument. */
interface CallOptions {
  readonly query?: Readonly<Record<string, unknown>>;
  readonly headers?: HeadersInit;
  /** More for `fetch`, as a `signal`. */
  readonly fetch?: RequestInit;
  /** Whether to throw what would be `error`. Default false. */
  readonly throwHttpError?: boolean | ((error: CallError) => boolean);
}

/** The calls of the object at `path`, over the hosts of the client. */
export function callsTo(path: string, endpoints: Endpoints, settings: CallSettings): unknown {
  const send = (method: string, target: string, first: unknown, second: unknown) => {
    if (method === "subscribe")
      throw new ClientError("bad_argument", `Use socket("${target}"), which comes back by itself.`);
    const hasBody = method !== "get" && method !== "head";
    // What may be written here is decided by Eden's types.
    const options = ((hasBody ? second : first) ?? {}) as CallOptions;
    const headers = new Headers(options.headers);
    const body = hasBody ? bodyOf(first, headers) : null;
    const request = { ...options.fetch, method: method.toUpperCase(), headers, body };
    const query = queryOf(options.query);
    const url = path + target + (query && `?${query}`);
    return answer(() => fetchFrom(endpoints, settings, url, request), options);
  };
  return step([], send);
}

type Send = (method: string, target: string, first: unknown, second: unknown) => unknown;

/** Each property is a segment of the path. What is called is a method; or a parameter of the path, by its only field. */
function step(path: readonly string[], send: Send): unknown {
  const target = (segments: readonly string[]) => segments.map((segment) => `/${segment}`).join("");
  return new Proxy(() => undefined, {
    get(_, name) {
      // Whoever awaits it must not take it for a promise.
      if (typeof name === "symbol" || (path.length === 0 && name === "then")) return undefined;
      return name === "~path" ? target(path) : step([...path, name], send);
    },
    apply(_, _self, [first, second]: [unknown, unknown]) {
      const name = path.at(-1) ?? "";
      const [value, ...more] = first instanceof Object ? Object.values(first) : [];
      const isParameter = value !== undefined && more.length === 0 && second === undefined;
      if (isParameter && !methods.includes(name) && name !== "subscribe")
        return step([...path, encodeURIComponent(String(value))], send);
      return send(name, target(path.slice(0, -1)), first, second);
    },
  });
}

async function answer(ask: () => Promise<Response>, { throwHttpError }: CallOptions): Promise<unknown> {
  let response: Response | undefined;
  let value: unknown;
  try {
    response = await ask();
    value = await answerOf(response);
  } catch (error) {
    value = error; // Nothing came, or not all of it.
    response = undefined;
  }
  const { status = 503, headers } = response ?? {};
  const facts = { response, status, headers };
  if (response?.ok) return { data: value, error: null, ...facts };
  const error = new CallError(status, value);
  if (typeof throwHttpError === "function" ? throwHttpError(error) : throwHttpError) throw error;
  return { data: null, error, ...facts };
}

/**
 * Asks the host in use; the next one where it cannot be reached and the request may be sent again. Of others nobody knows whether
 * they arrived: they fail, and the next call goes to the next host.
 */
async function fetchFrom(
  endpoints: Endpoints,
  { headers, credentials, fetch: send = fetch, closing }: CallSettings,
  target: string,
  init: RequestInit & { readonly method: string; readonly headers: Headers },
): Promise<Response> {
  const signal = bothOf(init.signal ?? undefined, closing);
  const isSafe = safeMethods.includes(init.method.toLowerCase());
  for (let left = endpoints.count - 1; ; left -= 1) {
    // What a call says itself goes before.
    const all = { ...(await headersOf(headers)), ...Object.fromEntries(init.headers) };
    const url = endpoints.current;
    try {
      return await send(url + target, { ...(credentials && { credentials }), ...init, headers: all, signal });
    } catch (error) {
      if (signal.aborted) throw error;
      endpoints.failed(url);
      if (!isSafe || left <= 0) throw error;
    }
  }
}

/** A plain object goes as JSON, or as a form where there is a file in it; text as text; whatever `fetch` knows as it is. */
function bodyOf(value: unknown, headers: Headers): BodyInit | null {
  if (value === undefined || value === null) return null;
  const isPlain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  // Anything else that is no plain value is taken by `fetch` as it is, or refused by it.
  if (!isPlain && typeof value === "object") return value as BodyInit;
  if (isPlain && Object.values(value).flat().some(isFile)) return formOf(value);
  if (!headers.has("content-type")) headers.set("content-type", isPlain ? "application/json" : "text/plain");
  return textOf(value);
}

function isFile(value: unknown): value is Blob {
  return value instanceof Blob;
}

function formOf(fields: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const item of [value].flat()) form.append(name, isFile(item) ? item : textOf(item));
  }
  return form;
}

function bothOf(one: AbortSignal | undefined, other: AbortSignal): AbortSignal {
  // In a browser without `any`, a client that closes leaves alone the calls that have a signal of their own.
  return one === undefined ? other : (AbortSignal.any?.([one, other]) ?? one);
}
