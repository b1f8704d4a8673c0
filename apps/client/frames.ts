import type { Problem } from "./errors.ts";
import type { PresenceFrame } from "./presence.ts";

/** What is said on `/-/connect`, as in infra/topics/PROTOCOL.md. */

/** With the newest version of the protocol that is spoken here. The host welcomes in that, or in an older one. */
export const connectPath = "/-/connect?protocol=1";
export const pingFrame = '{"type":"ping"}';
/** The host takes no more on a connection. */
export const subscriptionsMax = 256;
/** A host closes the connection at 16 MiB, the rest of the frame included. What a class takes is less: 1 MiB, unless it says otherwise. */
export const messageBytesMax = 16_000_000;

/** `object` is `<class>/<id>`, the id percent-encoded. */
export interface TopicAddress {
  readonly object: string;
  readonly topic: string;
}

export type FrameFromHost =
  | { readonly type: "welcome"; readonly host?: string; readonly region?: string }
  | SubscribedFrame
  | MessageFrame
  | (TopicAddress & { readonly type: "skipped"; readonly count: number })
  | (TopicAddress & PresenceFrame & { readonly type: "presence" })
  | { readonly type: "refused"; readonly id: number; readonly status: number; readonly error?: Problem }
  | (PublishAnswer & { readonly type: "published" | "failed"; readonly id: number })
  | { readonly type: "unsubscribed"; readonly id: number; readonly code: number; readonly reason?: string }
  | { readonly type: "pong" };

/** What became of a publish. */
export interface PublishAnswer {
  readonly ref?: number;
  readonly position?: string;
  /** Of one that the host did not take. */
  readonly error?: Problem;
}

export interface SubscribedFrame extends TopicAddress {
  readonly type: "subscribed";
  readonly id: number;
  readonly position?: string;
  readonly recovered?: boolean;
}

export interface MessageFrame extends TopicAddress {
  readonly type: "message";
  readonly position?: string;
  readonly data?: unknown;
  readonly text?: string;
  /** Base64. */
  readonly bytes?: string;
}

/** Undefined for what is no frame. One of an unknown type comes out as it is, to be ignored by a `switch`. */
export function decodeFrame(data: unknown): FrameFromHost | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const frame: unknown = JSON.parse(data);
    // The host is taken at its word: the page is the contract, and each field is looked at where it is used.
    return typeof frame === "object" && frame !== null ? (frame as FrameFromHost) : undefined;
  } catch {
    return undefined; // Not ours to repair, and nothing to go by.
  }
}

/** What was published: a value, a text, or bytes. */
export function messageOf({ data, text, bytes }: MessageFrame): unknown {
  if (bytes !== undefined) return Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0));
  return text ?? data;
}

/**
 * The fields of a `publish`: bytes as they are, and anything else as JSON. Text too: the host publishes a JSON text as the text
 * that it is, and on a topic with a schema `text` would have to be JSON itself.
 */
export function publishBody(message: unknown): string {
  const isBytes = message instanceof ArrayBuffer || ArrayBuffer.isView(message);
  return JSON.stringify(isBytes ? { bytes: base64(message) } : { data: message });
}

function base64(data: ArrayBuffer | ArrayBufferView): string {
  const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(data) ? data : new Uint8Array(data);
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** Whether a frame is longer than a host takes. Encodes only where the number of characters leaves it open. */
export function isTooLong(frame: string): boolean {
  return frame.length * 3 > messageBytesMax && new TextEncoder().encode(frame).length > messageBytesMax;
}
