import { decodeText, malformed, numberAt, type Payload, viewOf } from "./socket-protocol.ts";
import type { Publish } from "./topic-protocol.ts";

/**
 * A publish as links of version 1 carry it, between a host of that release and one of ours: there are no histories, so it has no
 * position, and whether a text is JSON is not said.
 */

const headBytes = 6;
const encoder = new TextEncoder();

/** Text stays text: length of the topic, excluded socket, topic, message. Bytes: u32 socket, u16 length, topic, message. */
export function encodePlainPublish({ message: { topic, data }, except }: Publish): Payload {
  if (typeof data === "string") return `${topic.length.toString(36)}:${except.toString(36)}:${topic}${data}`;
  const name = encoder.encode(topic);
  const bytes = new Uint8Array(headBytes + name.length + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, except);
  view.setUint16(4, name.length);
  bytes.set(name, headBytes);
  bytes.set(data, headBytes + name.length);
  return bytes;
}

export function decodePlainPublish(payload: Payload): Publish {
  if (typeof payload !== "string") return decodeBytes(payload);
  const first = payload.indexOf(":");
  const second = payload.indexOf(":", first + 1);
  const topicEnd = second + 1 + numberAt(payload, 0, first);
  const except = numberAt(payload, first + 1, second);
  if (topicEnd > payload.length) throw malformed("publish");
  const topic = payload.slice(second + 1, topicEnd);
  return { message: { topic, data: payload.slice(topicEnd), form: "text", position: undefined }, except };
}

function decodeBytes(bytes: Uint8Array): Publish {
  if (bytes.length < headBytes) throw malformed("publish");
  const view = viewOf(bytes);
  const topicEnd = headBytes + view.getUint16(4);
  if (topicEnd > bytes.length) throw malformed("publish");
  const topic = decodeText(bytes.subarray(headBytes, topicEnd));
  const message = { topic, data: bytes.subarray(topicEnd), form: "bytes", position: undefined } as const;
  return { message, except: view.getUint32(0) };
}
