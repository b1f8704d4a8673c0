import { StatefulError } from "../lib/errors.ts";
import { authorizationCharsMax } from "./link-secret.ts";

/**
 * What is said on the two channels of a tunnel (K15). A host that dials through another opens a `relay` channel to that one,
 * which opens a `relayed` channel to the host that is meant, and joins the two:
 *
 *     dialer ── relay: [target, headers] ──▶ relay ── relayed: [headers] ──▶ target
 *
 * The headers are those that the dialer's upgrade request would carry: signed for the target, which judges them as if they had
 * come over a socket. Then the target says `accepted`, and from there on each message of the tunnel is one of the transport's.
 */
export const relayPurpose = "relay";
export const relayedPurpose = "relayed";

/** Kinds of the messages in a tunnel. The relay passes on whatever it gets. */
export const tunnelKind = { accepted: 1, message: 2 } as const;

export interface RelayHead {
  /** The session that the dialer means to reach. */
  readonly target: string;
  readonly headers: SignedHeaders;
}

/** Names and values, as in `Headers`. */
export type SignedHeaders = ReadonlyMap<string, string>;

const headersMax = 8;
const nameCharsMax = 64;
const targetCharsMax = 256;

export function encodeRelayHead({ target, headers }: RelayHead): unknown {
  return [target, [...headers]];
}

/** @throws StatefulError `bad_request` */
export function decodeRelayHead(head: unknown): RelayHead {
  if (!Array.isArray(head) || head.length !== 2) throw malformed("a head that is not a target with headers");
  const [target, headers]: unknown[] = head;
  if (!isText(target, targetCharsMax) || target === "")
    throw malformed("a target that is not a session's name");
  return { target, headers: readHeaders(headers) };
}

export function encodeRelayedHead(headers: SignedHeaders): unknown {
  return [[...headers]];
}

/** @throws StatefulError `bad_request` */
export function decodeRelayedHead(head: unknown): SignedHeaders {
  if (!Array.isArray(head) || head.length !== 1) throw malformed("a head that is not a list of headers");
  const [headers]: unknown[] = head;
  return readHeaders(headers);
}

function readHeaders(given: unknown): SignedHeaders {
  if (!Array.isArray(given) || given.length > headersMax)
    throw malformed("headers that are not a short list");
  const headers = new Map<string, string>();
  for (const pair of given) {
    const [name, value]: unknown[] = Array.isArray(pair) ? pair : [];
    if (!isText(name, nameCharsMax) || !isText(value, authorizationCharsMax))
      throw malformed("a header that is not a short name with a short value");
    headers.set(name, value);
  }
  return headers;
}

function isText(value: unknown, charsMax: number): value is string {
  return typeof value === "string" && value.length <= charsMax;
}

function malformed(what: string): StatefulError {
  return new StatefulError("bad_request", `A relay got ${what}.`);
}
