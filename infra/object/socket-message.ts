/** What travels on a socket, in the three forms a handler may use for it. */
export type SocketData = string | Uint8Array;

const textMarks = new Set(['"', "[", "{"]);
const numberPattern = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * Text to a value by Elysia's rules for sockets: JSON where it looks like JSON, numbers, booleans and null as such,
 * anything else as the text it is. A number must be one as JSON writes it: "007" stays text.
 */
export function parseSocketText(text: string): unknown {
  if (textMarks.has(text.charAt(0))) return parseJson(text);
  if (text === "true") return true;
  if (text === "false") return false;
  if (text === "null") return null;
  return numberPattern.test(text) ? Number(text) : text;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // It only looked like JSON: then it is text, as Elysia has it.
  }
}

/** A value to what is sent: text and bytes as they are, anything else as JSON. */
export function encodeSocketMessage(message: unknown): SocketData {
  if (typeof message === "string") return message;
  if (message instanceof Uint8Array) return message;
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message))
    return new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
  // JSON has no form for undefined, a function or a symbol.
  return JSON.stringify(message) ?? "null";
}

/** How a message was published. `json`: text that is JSON; `text` may be anything. */
export type MessageForm = "text" | "bytes" | "json";

/** What is published, encoded. */
export interface TopicPayload {
  readonly data: SocketData;
  readonly form: MessageForm;
}

/** Whether a message has more bytes than that, as UTF-8 where it is text: a unit of text has three at most. */
export function isLongerThan(message: SocketData, bytesMax: number): boolean {
  if (message.length > bytesMax) return true;
  const isShort = typeof message !== "string" || message.length * 3 <= bytesMax;
  return !isShort && new TextEncoder().encode(message).length > bytesMax;
}
