import { problemJson, StatefulError } from "../lib/errors.ts";
import type { SocketData, TopicPayload } from "./socket-message.ts";
import { clientMessage } from "./topic-payload.ts";
import type { TopicSchema } from "./topic-schema.ts";

/**
 * What the edge and the route of a topic say to each other on a socket of the kind "subscription". Its client speaks frames, which
 * the edge reads: a message is what is to be published, with its form, and what the route sends is why it was not.
 */
const marks = { json: "j", text: "t" } as const;

/** A client's publish as the socket's message. Bytes are what they are. */
export function subscriptionMessage({ data, form }: TopicPayload): SocketData {
  return typeof data === "string" ? marks[form === "json" ? "json" : "text"] + data : data;
}

/** The other way. */
export function publishedOn(message: SocketData): TopicPayload {
  if (typeof message !== "string") return { data: message, form: "bytes" };
  return { data: message.slice(1), form: message.startsWith(marks.json) ? "json" : "text" };
}

const escapeMark = "\u0000";
const failureMark = `${escapeMark}failed `;

export function publishFailure(error: StatefulError): string {
  return failureMark + problemJson(error);
}

/** What an author's code sends to a subscriber, whatever it is: it must not pass for a failure. */
export function authorsMessage(message: SocketData): SocketData {
  return typeof message === "string" && message.startsWith(escapeMark) ? escapeMark + message : message;
}

/** What was sent to a subscriber: why a publish was not taken, as a problem document, or an author's message. */
export function sentOn(
  message: SocketData,
): { readonly failure: unknown } | { readonly message: SocketData } {
  if (typeof message !== "string" || !message.startsWith(escapeMark)) return { message };
  if (!message.startsWith(failureMark)) return { message: message.slice(escapeMark.length) };
  try {
    return { failure: JSON.parse(message.slice(failureMark.length)) };
  } catch {
    return { message: message.slice(escapeMark.length) }; // No route of ours has sent that.
  }
}

/**
 * What a client said, as a handler would publish it.
 *
 * @throws StatefulError `bad_request` for what no edge sends, `invalid_input` for what the schema refuses.
 */
export function publishedValue(schema: TopicSchema | undefined, message: SocketData): unknown {
  const { data, form } = publishedOn(message);
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
