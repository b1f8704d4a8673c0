import { StatefulError } from "../lib/errors.ts";
import { packValue as pack, unpackChecked } from "../link/msgpack.ts";
import type { SocketData } from "../object/socket-message.ts";

/**
 * What the owner of an object and an edge say to each other about the object's sockets there, on one channel of their link:
 * the *attachment*. Either side opens it.
 *
 *   edge                                         owner
 *                                        ←       open(owner, class, id)          … the first client of this edge, or a move
 *                                        ←       hello(epoch, session, cursors)
 *   or
 *   open(edge, class, id, how far it is) →                                       … the edge has lost the owner it had
 *                                        ←       refuse(code, who owns it)       … it asks somebody else
 *                                        ←       hello(epoch, session, cursors)
 *
 *   roll, rollEnd, closed                →                                       … in what the two lists differ
 *   head, opened, message, drained, …    →
 *   applied(count)                       →                                       … the owner forgets so many of its commands
 *                                        ←       send, publish, subscribe, keep, close, handled, …
 *                                        ←       hold  … goOn, or:
 *                                        ←       moved(session, epoch)           … the last word of this owner
 *
 * Whatever the owner says after its hello is numbered from 1, and kept until `applied`, so that nothing is lost between two
 * hosts whose link broke: the edge opens the next channel, with the count it has come to. What a client says is kept by the
 * edge until it is `handled`, and sent from the cursors on.
 *
 * `send`, `message` and `publish` are text or bytes behind a short prefix, because they are most of the traffic; anything else
 * is a MessagePack list.
 */
export const socketsPurpose = "sockets";

export const toEdge = {
  refuse: 1,
  hello: 2,
  sendText: 3,
  sendBytes: 4,
  publishText: 5,
  publishBytes: 6,
  subscribe: 7,
  unsubscribe: 8,
  close: 9,
  terminate: 10,
  ping: 11,
  pong: 12,
  handled: 13,
  keep: 14,
  rollCall: 15,
  asleep: 16,
  hold: 17,
  goOn: 18,
  moved: 19,
  /** Of the message that follows. */
  part: 20,
  /** A subscription with what it has missed. */
  listen: 21,
  /** What all subscribers of a topic have missed. */
  fill: 22,
} as const;

export const toOwner = {
  roll: 32,
  rollEnd: 33,
  head: 34,
  opened: 35,
  messageText: 36,
  messageBytes: 37,
  drained: 38,
  closed: 39,
  applied: 40,
  part: 41,
  positions: 42,
} as const;

export type Payload = Uint8Array | string;

// -- how a channel begins

export interface AttachedObjectName {
  readonly className: string;
  readonly id: string;
}

/** Where an edge is that lost its owner. Without an attachment so far, `port` is empty and both counts are 0. */
export interface Registration extends AttachedObjectName {
  /** `own`: only if you own it. `place`: take it if it is free. */
  readonly intent: "own" | "place";
  /** The last that the edge heard is that the object sleeps: then nobody needs to wake it. */
  readonly isAsleep: boolean;
  /** Of the owner that the edge had, as its hello named them. */
  readonly epoch: number;
  readonly port: string;
  /** How many of that owner's commands the edge has applied. */
  readonly applied: number;
}

export type AttachmentHead =
  | ({ readonly opener: "owner" } & AttachedObjectName)
  | ({ readonly opener: "edge" } & Registration);

export function encodeOwnerHead({ className, id }: AttachedObjectName): unknown[] {
  return ["owner", className, id];
}

export function encodeEdgeHead(head: Registration): unknown[] {
  const { className, id, intent, isAsleep, epoch, port, applied } = head;
  return ["edge", className, id, intent, isAsleep, epoch, port, applied];
}

/** @throws StatefulError `bad_request` for anything that is no head. */
export function decodeAttachmentHead(value: unknown): AttachmentHead {
  const [opener, className, id, intent, isAsleep, epoch, port, applied] = listOf(value, "attachment head");
  if (typeof className !== "string" || typeof id !== "string") throw malformed("attachment head");
  if (opener === "owner") return { opener, className, id };
  if (opener !== "edge" || (intent !== "own" && intent !== "place")) throw malformed("attachment head");
  if (typeof isAsleep !== "boolean" || !isCount(epoch) || typeof port !== "string" || !isCount(applied))
    throw malformed("attachment head");
  return { opener, className, id, intent, isAsleep, epoch, port, applied };
}

/** An owner refuses an edge whose sockets it has given up: nobody goes on with them. */
export function buriedSockets(): StatefulError {
  const message = "The sockets were given up while the edge could not be reached.";
  return new StatefulError("outcome_unknown", message, { details: { areBuried: true } });
}

/** Of all refusals only this one is the last word. Any other `outcome_unknown` says no more than that a host has failed. */
export function areBuried({ code, details }: StatefulError): boolean {
  return code === "outcome_unknown" && details?.areBuried === true;
}

// -- messages: text behind a number in base 36, or bytes behind one of four bytes

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const numberCharsMax = 8;
const numberBytes = 4;

export function encodeNumberedText(number: number, text: string): string {
  return `${number.toString(36)}:${text}`;
}

export function encodeNumberedBytes(number: number, bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(numberBytes + bytes.length);
  new DataView(message.buffer).setUint32(0, number);
  message.set(bytes, numberBytes);
  return message;
}

export interface NumberedMessage {
  readonly number: number;
  readonly message: SocketData;
}

/** Text or bytes, as it came. */
export function decodeNumbered(payload: Payload): NumberedMessage {
  if (typeof payload !== "string") {
    if (payload.length < numberBytes) throw malformed("message");
    return { number: viewOf(payload).getUint32(0), message: payload.subarray(numberBytes) };
  }
  const end = payload.indexOf(":");
  return { number: numberAt(payload, 0, end), message: payload.slice(end + 1) };
}

export function numberAt(text: string, start: number, end: number): number {
  if (end <= start || end - start > numberCharsMax) throw malformed("number");
  let number = 0;
  for (let index = start; index < end; index++) number = number * 36 + digitOf(text.charCodeAt(index));
  return number;
}

function digitOf(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  if (code >= 97 && code <= 122) return code - 87;
  throw malformed("number");
}

export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("text");
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// -- everything else

/** `opened`, `drained`, `terminate`, `applied`: a number. */
export function encodeCount(number: number): Uint8Array {
  return pack([number]);
}

export function decodeCount(payload: Payload): number {
  const [number] = unpackList(payload, "number");
  if (!isCount(number)) throw malformed("number");
  return number;
}

/** `subscribe` and `unsubscribe`. */
export function encodeTopicOf(number: number, topic: string): Uint8Array {
  return pack([number, topic]);
}

export function decodeTopicOf(payload: Payload): { readonly number: number; readonly topic: string } {
  const [number, topic] = unpackList(payload, "subscription");
  if (!isCount(number) || typeof topic !== "string") throw malformed("subscription");
  return { number, topic };
}

export interface NumberedClose {
  readonly number: number;
  readonly code: number;
  readonly reason: string;
}

/** `close` and `closed`. */
export function encodeCloseOf({ number, code, reason }: NumberedClose): Uint8Array {
  return pack([number, code, reason]);
}

export function decodeCloseOf(payload: Payload): NumberedClose {
  const [number, code, reason] = unpackList(payload, "close");
  if (!isCount(number) || !isCount(code) || typeof reason !== "string") throw malformed("close");
  return { number, code, reason };
}

/** `ping` and `pong`. */
export function encodeControl(number: number, data: SocketData): Uint8Array {
  return pack([number, data]);
}

export function decodeControl(payload: Payload): NumberedMessage {
  const [number, message] = unpackList(payload, "ping");
  if (!isCount(number) || !(typeof message === "string" || message instanceof Uint8Array))
    throw malformed("ping");
  return { number, message };
}

/** `handled`: numbers and counts, in turn. */
export function encodeHandled(pairs: readonly number[]): Uint8Array {
  return pack(pairs);
}

export function decodeHandled(payload: Payload): readonly (readonly [number, number])[] {
  return decodePairs(unpack(payload, "handled"), "handled");
}

export interface Kept {
  readonly number: number;
  readonly attachment: Uint8Array | undefined;
  readonly tags: readonly string[];
}

export function encodeKeep({ number, attachment, tags }: Kept): Uint8Array {
  return pack([number, attachment ?? null, tags]);
}

export function decodeKeep(payload: Payload): Kept {
  const [number, attachment, tags] = unpackList(payload, "keep");
  if (!isCount(number) || !isBytesOrNull(attachment) || !isTexts(tags)) throw malformed("keep");
  return { number, attachment: attachment ?? undefined, tags };
}

export interface Moved {
  readonly session: string;
  readonly epoch: number;
}

export function encodeMoved({ session, epoch }: Moved): Uint8Array {
  return pack([session, epoch]);
}

export function decodeMoved(payload: Payload): Moved {
  const [session, epoch] = unpackList(payload, "move");
  if (typeof session !== "string" || !isCount(epoch)) throw malformed("move");
  return { session, epoch };
}

// -- what is shared with `socket-records.ts` and `topic-protocol.ts`

export function unpackList(payload: Payload, what: string): readonly unknown[] {
  return listOf(unpack(payload, what), what);
}

function unpack(payload: Payload, what: string): unknown {
  if (typeof payload === "string") throw malformed(`${what}: text instead of bytes`);
  try {
    return unpackChecked(payload);
  } catch {
    throw malformed(what);
  }
}

export function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(what);
  return value;
}

export function decodePairs(value: unknown, what: string): [number, number][] {
  const flat = listOf(value, what);
  if (flat.length % 2 !== 0 || !flat.every(isCount)) throw malformed(what);
  const pairs: [number, number][] = [];
  for (let index = 0; index < flat.length; index += 2)
    pairs.push([flat[index] as number, flat[index + 1] as number]); // `isCount` was asked of every one
  return pairs;
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

export function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

export function isBytesOrNull(value: unknown): value is Uint8Array | null {
  return value === null || value instanceof Uint8Array;
}

export function malformed(what: string): StatefulError {
  return new StatefulError("bad_request", `The other host sent a malformed ${what}.`);
}
