import { StatefulError } from "../lib/errors.ts";
import type { SocketData } from "../object/socket-message.ts";

/** One publish on its way to another edge. */
export interface PublishFrame {
  readonly objectKey: string;
  readonly topic: string;
  readonly message: SocketData;
  /** Number of the socket at that edge that must not hear it; 0 for none. */
  readonly exceptSocketId: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const prefixBytes = 9;

/**
 * Layout: u16 bytes of the key, u16 bytes of the topic, u32 excluded socket, u8 1 for text; key, topic, message.
 */
export function encodePublish({ objectKey, topic, message, exceptSocketId }: PublishFrame): Uint8Array {
  const key = encoder.encode(objectKey);
  const name = encoder.encode(topic);
  const body = typeof message === "string" ? encoder.encode(message) : message;
  const bytes = new Uint8Array(prefixBytes + key.length + name.length + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, key.length);
  view.setUint16(2, name.length);
  view.setUint32(4, exceptSocketId);
  view.setUint8(8, typeof message === "string" ? 1 : 0);
  bytes.set(key, prefixBytes);
  bytes.set(name, prefixBytes + key.length);
  bytes.set(body, prefixBytes + key.length + name.length);
  return bytes;
}

/** @throws StatefulError `bad_request` for bytes that are no publish. */
export function decodePublish(bytes: Uint8Array): PublishFrame {
  if (bytes.length < prefixBytes) throw malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const keyEnd = prefixBytes + view.getUint16(0);
  const topicEnd = keyEnd + view.getUint16(2);
  if (topicEnd > bytes.length) throw malformed();
  const body = bytes.subarray(topicEnd);
  return {
    objectKey: textOf(bytes.subarray(prefixBytes, keyEnd)),
    topic: textOf(bytes.subarray(keyEnd, topicEnd)),
    message: view.getUint8(8) === 1 ? textOf(body) : body,
    exceptSocketId: view.getUint32(4),
  };
}

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed();
  }
}

function malformed(): StatefulError {
  return new StatefulError("bad_request", "The other host sent a malformed publish.");
}
