import { problemJson, StatefulError } from "../lib/errors.ts";
import { isLongerThan, type SocketData, type TopicPayload } from "./socket-message.ts";
import { clientMessage } from "./topic-payload.ts";
import type { TopicSchema } from "./topic-schema.ts";

/**
 * What the edge and the route of a topic say to each other on a socket of the kind "subscription". Its client speaks frames, which
 * the edge reads: a message is what is to be published, with its form and with the number (`ref`) under which the client wants to
 * hear what became of it. What the route sends is that.
 *
 *     text   mark, ref or nothing, ":", what was said
 *     bytes  length of the ref's digits in one byte, those digits, what was said
 */
const marks = { json: "j", text: "t", tooLong: "x" } as const;

/** What a client wants to publish. */
export interface Said {
  /** Undefined for what is over the class's limit: it is not carried any further. */
  readonly payload: TopicPayload | undefined;
  readonly ref: number | undefined;
}

/** A client's publish as the socket's message. */
export function subscriptionMessage({ data, form }: TopicPayload, ref?: number): SocketData {
  const digits = String(ref ?? "");
  if (typeof data === "string") return `${marks[form === "json" ? "json" : "text"]}${digits}:${data}`;
  const message = new Uint8Array(1 + digits.length + data.length);
  message[0] = digits.length;
  new TextEncoder().encodeInto(digits, message.subarray(1));
  message.set(data, 1 + digits.length);
  return message;
}

/** The other way. @throws StatefulError `bad_request` for what no edge sends. */
export function saidOn(message: SocketData): Said {
  if (typeof message !== "string") {
    const from = 1 + (message[0] ?? 0);
    const ref = refOf(new TextDecoder().decode(message.subarray(1, from)));
    return { payload: { data: message.subarray(from), form: "bytes" }, ref };
  }
  const mark = message[0];
  const colon = message.indexOf(":");
  const ref = refOf(message.slice(1, Math.max(1, colon)));
  const data = message.slice(colon + 1);
  if (mark === marks.tooLong) return { payload: undefined, ref };
  return { payload: { data, form: mark === marks.json ? "json" : "text" }, ref };
}

function refOf(digits: string): number | undefined {
  if (digits === "") return undefined;
  const ref = Number(digits);
  if (Number.isSafeInteger(ref)) return ref;
  throw new StatefulError("bad_request", "The message is none of a subscription's.");
}

/** The message, or of one that says more than that only that it does: its client is to be told, and hears on. */
export function saidWithin(message: SocketData, bytesMax: number): SocketData {
  const { payload, ref } = saidOn(message);
  const isWithin = payload === undefined || !isLongerThan(payload.data, bytesMax);
  return isWithin ? message : `${marks.tooLong}${ref ?? ""}:`;
}

const escapeMark = "\u0000";
const publishedMark = `${escapeMark}published `;
const failedMark = `${escapeMark}failed `;

/** What became of a publish. */
export type PublishOutcome =
  | { readonly type: "published"; readonly ref: number; readonly position: string | undefined }
  /** `error`: a problem document. */
  | { readonly type: "failed"; readonly ref: number | undefined; readonly error: unknown };

/** It has left, and is as durable as its topic. */
export function publishDone(ref: number, position: string | undefined): string {
  return publishedMark + JSON.stringify({ ref, position });
}

export function publishFailure(error: StatefulError, ref: number | undefined): string {
  // A problem's details may be anything, and hold themselves.
  return `${failedMark}{"ref":${ref ?? null},"error":${problemJson(error)}}`;
}

/** What an author's code sends to a subscriber, whatever it is: it must not pass for one of these. */
export function authorsMessage(message: SocketData): SocketData {
  return typeof message === "string" && message.startsWith(escapeMark) ? escapeMark + message : message;
}

/** What was sent to a subscriber: what became of a publish, or an author's message. */
export function sentOn(message: SocketData): PublishOutcome | { readonly message: SocketData } {
  if (typeof message !== "string" || !message.startsWith(escapeMark)) return { message };
  return outcomeIn(message) ?? { message: message.slice(escapeMark.length) };
}

function outcomeIn(message: string): PublishOutcome | undefined {
  const mark = [publishedMark, failedMark].find((one) => message.startsWith(one));
  if (mark === undefined) return undefined;
  try {
    const { ref, position, error } = JSON.parse(message.slice(mark.length));
    return mark === publishedMark
      ? { type: "published", ref, position }
      : { type: "failed", ref: ref ?? undefined, error };
  } catch {
    return undefined; // No route of ours has sent that.
  }
}

/**
 * What a client said, as a handler would publish it.
 *
 * @throws StatefulError `body_too_large` and `bad_request`, and `invalid_input` for what the schema refuses.
 */
export function publishedValue(schema: TopicSchema | undefined, payload: TopicPayload | undefined): unknown {
  if (payload === undefined) throw new StatefulError("body_too_large", "The message is over the limit.");
  const { data, form } = payload;
  if (typeof data !== "string" || form !== "json") return clientMessage(schema, data);
  const value = parsed(data);
  return schema ? schema.received(value) : value;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new StatefulError("bad_request", "The message is not JSON.");
  }
}
