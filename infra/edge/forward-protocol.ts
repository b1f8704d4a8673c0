import { isErrorCode, StatefulError } from "../lib/errors.ts";
import { broughtBy, codeFor } from "../link/link-versions.ts";
import { packValue as pack, unpackChecked } from "../link/msgpack.ts";
import { isSocketKind, type SocketKind } from "../object/event.ts";

/**
 * What two hosts say to each other about one forwarded request, on one channel of their link.
 *
 *   edge                                owner
 *   open(head, small body)      →
 *                               ←       refuse(code, who owns it)   … the edge asks somebody else, with the same body
 *                               ←       accept(epoch)               … from here on nobody re-sends
 *   body, body, bodyEnd         →
 *                               ←       response(head), body, body, bodyEnd   or   whole(head + body)
 *                               ←       upgraded(headers)            … the socket lives on the object's attachment to the
 *   close, once the client is connected, or has left                      edge from here on (`socket-protocol.ts`)
 *
 * Heads are MessagePack arrays; a body is bytes. Bodies obey the channel's window in both directions.
 */
export const fromEdge = {
  body: 1,
  bodyEnd: 2,
  bodyFailed: 3,
} as const;

export const fromOwner = {
  accept: 16,
  refuse: 17,
  whole: 18,
  response: 19,
  body: 20,
  bodyEnd: 21,
  bodyFailed: 22,
  upgraded: 23,
} as const;

export const forwardPurpose = "event";

/** Bodies up to this size travel with the head and are kept, so that a refused request can be sent elsewhere. */
export const keptBodyBytesMax = 64 * 1024;

export interface ForwardHead {
  readonly className: string;
  readonly id: string;
  /** `own`: serve only if you own it. `place`: take it if it is free. */
  readonly intent: "own" | "place";
  /** Region of the edge, for the object to know where its callers are. */
  readonly method: string;
  /** The URL as the client wrote it, for `request.url`. */
  readonly url: string;
  /** Raw path and query from the class name on. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly upgrade: SocketKind | undefined;
  /** Id that the socket has for the author's handlers. */
  readonly socketId: string;
  /** Number of the socket at its edge. */
  readonly socketNumber: number;
  readonly clientAddress: string;
  readonly chain: readonly string[];
  /** Served by the machinery instead of the class. Set by a host on its own account, never for what a client wrote. */
  readonly isSystem: boolean;
  /** `whole`: all of the body is here. `stream`: it follows after `accept`. `none`: there is no body. */
  readonly body: Uint8Array | "stream" | "none";
}

export interface ResponseHead {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
}

export interface Refusal {
  readonly error: StatefulError;
  /** Whom the refusing host knows to own the object. */
  readonly owner: { readonly session: string; readonly epoch: number } | undefined;
}

/** Why a host of an earlier version cannot be sent that; undefined where it can. */
export function whyNotForwarded(upgrade: SocketKind | undefined, version: number): StatefulError | undefined {
  if (upgrade !== "subscription" || version >= broughtBy.subscriptions) return undefined;
  const message = `Its release does not know topics on a connection for many: it speaks version ${version} of the links between hosts, and they came with version ${broughtBy.subscriptions}.`;
  return new StatefulError("version_mismatch", message, { retryAfterMs: 1000 });
}

/** What is seldom there comes last and only where it is: hosts of a version that does not know it read all other heads. */
export function encodeForwardHead(head: ForwardHead): unknown[] {
  const fields = [
    head.className,
    head.id,
    head.intent,
    head.method,
    head.url,
    head.target,
    head.headers,
    head.upgrade ?? null,
    head.socketId,
    head.socketNumber,
    head.clientAddress,
    head.chain,
    head.body,
  ];
  return head.isSystem ? [...fields, true] : fields;
}

/** @throws StatefulError `bad_request` for anything that is not a head. */
export function decodeForwardHead(value: unknown): ForwardHead {
  if (!isList(value) || value.length < 13 || value.length > 14) throw malformed("forward head");
  const [
    className,
    id,
    intent,
    method,
    url,
    target,
    headers,
    upgrade,
    socketId,
    socketNumber,
    clientAddress,
    chain,
    body,
    isSystem = false,
  ] = value;
  const texts = { className, id, method, url, target, socketId, clientAddress };
  for (const [name, text] of Object.entries(texts)) if (typeof text !== "string") throw malformed(name);
  const isBody = body === "stream" || body === "none" || body instanceof Uint8Array;
  const isUpgrade = upgrade === null || isSocketKind(upgrade);
  if (
    (intent !== "own" && intent !== "place") ||
    !isBody ||
    !isUpgrade ||
    typeof isSystem !== "boolean" ||
    (isSystem && upgrade !== null) ||
    typeof socketNumber !== "number" ||
    !Number.isSafeInteger(socketNumber)
  ) {
    throw malformed("forward head");
  }
  if (!isList(chain) || !chain.every((key) => typeof key === "string")) throw malformed("chain");
  // Every member was checked above; TypeScript loses it between the record of texts and the names.
  const checkedTexts = texts as Record<keyof typeof texts, string>;
  return {
    ...checkedTexts,
    intent,
    headers: headerList(headers),
    upgrade: upgrade ?? undefined,
    socketNumber,
    chain,
    isSystem,
    body,
  };
}

export function encodeResponseHead(head: ResponseHead): Uint8Array {
  return pack([head.status, head.headers]);
}

export function decodeResponseHead(bytes: Uint8Array): ResponseHead {
  const value = unpack(bytes, "response head");
  if (!Array.isArray(value) || !isStatus(value[0])) throw malformed("response head");
  return { status: value[0], headers: headerList(value[1]) };
}

/** A whole response: the length of its head, the head, the body. */
export function encodeWhole(head: ResponseHead, body: Uint8Array): Uint8Array {
  const headBytes = encodeResponseHead(head);
  const message = new Uint8Array(4 + headBytes.length + body.length);
  new DataView(message.buffer).setUint32(0, headBytes.length);
  message.set(headBytes, 4);
  message.set(body, 4 + headBytes.length);
  return message;
}

export function decodeWhole(message: Uint8Array): { readonly head: ResponseHead; readonly body: Uint8Array } {
  if (message.length < 4) throw malformed("response");
  const headLength = new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0);
  if (4 + headLength > message.length) throw malformed("response");
  return {
    head: decodeResponseHead(message.subarray(4, 4 + headLength)),
    body: message.subarray(4 + headLength),
  };
}

/** @param version of the link that it goes along */
export function encodeRefusal({ error, owner }: Refusal, version: number): Uint8Array {
  return pack([
    codeFor(version, error),
    error.message,
    error.retryAfterMs ?? null,
    error.details ?? null,
    owner ? [owner.session, owner.epoch] : null,
  ]);
}

export function decodeRefusal(bytes: Uint8Array): Refusal {
  const value = unpack(bytes, "refusal");
  if (!Array.isArray(value) || !isErrorCode(value[0]) || typeof value[1] !== "string")
    throw malformed("refusal");
  const [code, message, retryAfterMs, details, owner]: unknown[] = value;
  const options = {
    ...(typeof retryAfterMs === "number" && { retryAfterMs }),
    ...(typeof details === "object" && details !== null && { details: details as Record<string, unknown> }), // a MessagePack map
  };
  const error = new StatefulError(isErrorCode(code) ? code : "internal", String(message), options);
  return { error, owner: decodeOwner(owner) };
}

function decodeOwner(owner: unknown): Refusal["owner"] {
  if (!Array.isArray(owner) || typeof owner[0] !== "string" || typeof owner[1] !== "number") return undefined;
  return { session: owner[0], epoch: owner[1] };
}

export function encodeNumbers(...numbers: number[]): Uint8Array {
  return pack(numbers);
}

export function decodeNumber(payload: Uint8Array | string): number {
  const value = unpack(bytesOf(payload), "number");
  if (!Array.isArray(value) || typeof value[0] !== "number") throw malformed("number");
  return value[0];
}

function headerList(value: unknown): [string, string][] {
  if (!Array.isArray(value)) throw malformed("headers");
  return value.map((pair: unknown) => {
    if (!Array.isArray(pair) || typeof pair[0] !== "string" || typeof pair[1] !== "string")
      throw malformed("headers");
    return [pair[0], pair[1]];
  });
}

/** What a response may have: Fetch knows others for itself only. */
export function isStatus(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 200 && value <= 599;
}

/** `Array.isArray` makes of an unknown value a list of anything. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function unpack(bytes: Uint8Array, what: string): unknown {
  try {
    return unpackChecked(bytes);
  } catch {
    throw malformed(what);
  }
}

function malformed(what: string): StatefulError {
  return new StatefulError("bad_request", `The other host sent a malformed ${what}.`);
}

export function bytesOf(payload: Uint8Array | string): Uint8Array {
  if (typeof payload === "string") throw malformed("message: text instead of bytes");
  return payload;
}
