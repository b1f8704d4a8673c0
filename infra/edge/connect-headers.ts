import { StatefulError } from "../lib/errors.ts";
import { forwardedHeaders } from "./http-fields.ts";
import { upgradeHeadBytesMax } from "./upgrade-head.ts";

type HeaderList = readonly (readonly [name: string, value: string])[];

/** RFC 9110, sections 5.6.2 and 5.5. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Of one connection, of its handshake, or said in a frame: not of the subscriptions on it. */
const ofTheConnection = new Set([
  "content-length",
  "last-event-id",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-key",
  "sec-websocket-version",
]);

/** What scripts of a page may not set either (Fetch standard, "forbidden request-header"). */
const setByBrowsers = new Set([
  "accept-charset",
  "accept-encoding",
  "access-control-request-headers",
  "access-control-request-method",
  "connection",
  "content-length",
  "cookie",
  "cookie2",
  "date",
  "dnt",
  "expect",
  "host",
  "keep-alive",
  "origin",
  "referer",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "via",
]);
/** What the proxy before us says of the client. No proxy looks into frames, so the client could say it for itself. */
const setByProxies = new Set(["forwarded", "true-client-ip", "x-client-ip", "x-real-ip"]);
const forbiddenPrefixes = ["proxy-", "sec-", "x-forwarded-", "fly-", "cf-"];

/** The headers of the connection's own request that its subscriptions have as well. */
export function connectionHeaders(headers: Headers): HeaderList {
  return forwardedHeaders(headers).filter(([name]) => !ofTheConnection.has(name));
}

/**
 * Those with what a client adds.
 *
 * @param trusted names, in lower case, that the host takes from its proxy
 * @throws StatefulError `bad_request` or `headers_too_large`, with which the connection is closed.
 */
export function withHello(
  own: HeaderList,
  hello: Readonly<Record<string, string>>,
  trusted: readonly string[],
): HeaderList {
  const added = new Map<string, string>();
  for (const [field, value] of Object.entries(hello)) {
    const name = field.toLowerCase();
    checkField(name, value, trusted);
    added.set(name, value.trim());
  }
  const list = [...own.filter(([name]) => !added.has(name)), ...added];
  if (bytesOf(list) <= upgradeHeadBytesMax) return list;
  throw new StatefulError("headers_too_large", `The headers have ${upgradeHeadBytesMax} bytes at most.`);
}

function checkField(name: string, value: string, trusted: readonly string[]): void {
  if (!token.test(name)) throw wrong(name, "is no name of a header");
  const isForbidden =
    setByBrowsers.has(name) ||
    setByProxies.has(name) ||
    ofTheConnection.has(name) ||
    trusted.includes(name) ||
    forbiddenPrefixes.some((prefix) => name.startsWith(prefix));
  if (isForbidden) throw wrong(name, "cannot be set by a client");
  if (!fieldValue.test(value)) throw wrong(name, "has a value that no header can have");
}

function wrong(name: string, what: string): StatefulError {
  return new StatefulError("bad_request", `The header "${name.slice(0, 40)}" ${what}.`);
}

function bytesOf(list: HeaderList): number {
  return list.reduce((bytes, [name, value]) => bytes + name.length + value.length, 0);
}

/** The headers of a connection's subscriptions, kept once for all that began under them. */
export class SharedHeaders {
  readonly list: HeaderList;
  readonly #count: (bytes: number) => void;
  #users = 0;

  /** @param count told what they take, and in the end as much below zero */
  constructor(list: HeaderList, count: (bytes: number) => void) {
    this.list = list;
    this.#count = count;
  }

  hold(): void {
    if (this.#users++ === 0) this.#count(bytesOf(this.list));
  }

  release(): void {
    if (--this.#users === 0) this.#count(-bytesOf(this.list));
  }
}
