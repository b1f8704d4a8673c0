import { asStatefulError, isErrorCode, StatefulError } from "../lib/errors.ts";
import { type VersionRange, versionRange } from "../lib/version-range.ts";
import { linkVersions, versionMismatch } from "./link-versions.ts";
import { packValue, unpackChecked } from "./msgpack.ts";

/**
 * What travels between two hosts: binary WebSocket messages, each a whole number of frames.
 *
 *     frame = length u32 | type u8 | channel u32 | body        (big-endian; length counts what follows it)
 *
 * Channel 0 is the link itself: `data` on it is a post, `credit` on it acknowledges bytes of the link, `close` on it is a
 * goodbye. README.md has the bodies as a table.
 *
 * A frame never spans messages and is at most `frameBytesMax` long; a longer payload is sent as several `data` frames in
 * a row, all but the last marked `more`. Small frames keep heartbeats moving: a WebSocket message arrives whole or not at
 * all, so on a slow path one huge message would look like silence, and silence like death (K8).
 *
 * The decoder believes nothing: every length is checked against what is there before anything is built from it, and all it
 * throws is `LinkProtocolError` (K2).
 */

/** One frame, its header included. Both ends know it, so it is part of the protocol, not of the settings. */
export const frameBytesMax = 128 * 1024;
/** One WebSocket message. The server's `maxPayloadLength` must be at least this. */
export const transportMessageBytesMax = 256 * 1024;
export const purposeBytesMax = 64;
/** What `head` may take up once encoded. */
export const headBytesMax = frameBytesMax - 1024;
const identityCharsMax = 256;
/** The error in a `close`, encoded. Over it, its details stay behind and its message is cut. */
const closeBytesMax = 8 * 1024;
const closeMessageCharsMax = 1024;

const headerBytes = 9;
const dataHeaderBytes = headerBytes + 2;
/** Of a payload, per `data` frame. */
export const fragmentBytesMax = frameBytesMax - dataHeaderBytes;
export const linkChannel = 0;
export const channelIdMax = 0xffff_ffff;

const frameType = { hello: 1, open: 2, data: 3, credit: 4, close: 5, ping: 6, pong: 7 } as const;
const flagText = 1;
const flagMore = 2;

/** Who speaks, and what it grants. The first frame of both sides. */
export interface Hello {
  /** What it speaks. Both sides take the highest that is in both hellos. */
  readonly versions: VersionRange;
  readonly session: string;
  readonly hostId: string;
  readonly region: string;
  /** How many dials this host had started when it sent this. It settles crossed dials: see link-pool.ts. */
  readonly dials: number;
  /** The acceptor's proof that it holds the cluster secret too; empty from the dialer, which proved it in its upgrade. */
  readonly proof: string;
  /** What the peer may send unacknowledged, and unconsumed per channel (see link-limits.ts). */
  readonly linkWindowBytes: number;
  readonly channelWindowBytes: number;
  readonly channelDebtBytesMax: number;
  readonly messageBytesMax: number;
}

export type Frame =
  | { readonly type: "hello"; readonly hello: Hello }
  | { readonly type: "open"; readonly channel: number; readonly purpose: string; readonly head: unknown }
  | {
      readonly type: "data";
      readonly channel: number;
      readonly kind: number;
      readonly text: boolean;
      readonly more: boolean;
      /** A view of the message. */
      readonly bytes: Uint8Array;
    }
  | { readonly type: "credit"; readonly channel: number; readonly bytes: number }
  | { readonly type: "close"; readonly channel: number; readonly error: StatefulError | undefined }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "pong"; readonly id: number };

/** The peer broke the protocol. It always ends the link. */
export class LinkProtocolError extends StatefulError {
  constructor(what: string, cause?: unknown) {
    super("bad_request", `Link protocol: ${what}.`, cause === undefined ? {} : { cause });
  }
}

/**
 * Frames in a buffer that grows, is sent, and is used again. Payloads are copied in, so the caller may reuse theirs.
 */
export class FrameWriter {
  #bytes: Buffer;
  #view: DataView;
  #length = 0;

  constructor(capacity = 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity);
    this.#view = viewOf(this.#bytes);
  }

  get length(): number {
    return this.#length;
  }

  /** A view, good until the next write. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** `version` is what the first version has in this place, and all that a host of that version looks at. */
  hello({ versions, ...hello }: Hello): void {
    const body = packValue({ version: versions.oldest, newest: versions.newest, ...hello });
    this.#header(frameType.hello, linkChannel, body.byteLength);
    this.#append(body);
  }

  /** `head` is encoded already: its size decides whether there may be a channel at all. */
  open(channel: number, purpose: string, head: Uint8Array): void {
    const name = utf8Encoder.encode(purpose);
    this.#header(frameType.open, channel, 1 + name.byteLength + head.byteLength);
    this.#byte(name.byteLength);
    this.#append(name);
    this.#append(head);
  }

  data(channel: number, kind: number, payload: Uint8Array, text: boolean, more: boolean): void {
    this.#header(frameType.data, channel, 2 + payload.byteLength);
    this.#byte(kind);
    this.#byte((text ? flagText : 0) | (more ? flagMore : 0));
    this.#append(payload);
  }

  /** Text of at most `shortTextCharsMax`, encoded in place. */
  shortText(channel: number, kind: number, text: string): void {
    const start = this.#length;
    this.#reserve(dataHeaderBytes + 3 * text.length);
    this.#header(frameType.data, channel, 0);
    this.#byte(kind);
    this.#byte(flagText);
    this.#length += this.#bytes.write(text, this.#length, "utf8");
    this.#view.setUint32(start, this.#length - start - 4);
  }

  credit(channel: number, bytes: number): void {
    this.#header(frameType.credit, channel, 4);
    this.#u32(bytes);
  }

  close(channel: number, error: StatefulError | undefined): void {
    const body = error === undefined ? noBytes : packError(error);
    this.#header(frameType.close, channel, body.byteLength);
    this.#append(body);
  }

  ping(id: number): void {
    this.#header(frameType.ping, linkChannel, 4);
    this.#u32(id);
  }

  pong(id: number): void {
    this.#header(frameType.pong, linkChannel, 4);
    this.#u32(id);
  }

  #header(type: number, channel: number, bodyBytes: number): void {
    this.#reserve(headerBytes + bodyBytes);
    this.#view.setUint32(this.#length, headerBytes - 4 + bodyBytes);
    this.#view.setUint8(this.#length + 4, type);
    this.#view.setUint32(this.#length + 5, channel);
    this.#length += headerBytes;
  }

  #byte(value: number): void {
    this.#view.setUint8(this.#length, value);
    this.#length += 1;
  }

  #u32(value: number): void {
    this.#view.setUint32(this.#length, value);
    this.#length += 4;
  }

  #append(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.byteLength) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.byteLength));
    larger.set(this.bytes());
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}

/** Text that certainly fits one frame, whatever its characters. */
export const shortTextCharsMax = Math.floor(fragmentBytesMax / 3);

const noBytes = new Uint8Array(0);
const utf8Encoder = new TextEncoder();
// A byte order mark is payload like any other: without ignoreBOM it would vanish on the way.
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function encodeText(text: string): Uint8Array {
  return utf8Encoder.encode(text);
}

export function decodeText(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch (cause) {
    throw new LinkProtocolError("text that is not UTF-8", cause);
  }
}

/**
 * Calls `visit` with each frame of one message and its size on the wire. Throws `LinkProtocolError`, and only that; but for a
 * hello of somebody who speaks none of `versions`: `version_mismatch`.
 */
export function decodeFrames(
  message: Uint8Array,
  visit: (frame: Frame, wireBytes: number) => void,
  versions: VersionRange = linkVersions,
): void {
  if (message.byteLength > transportMessageBytesMax) {
    throw new LinkProtocolError(
      `a message of ${message.byteLength} bytes, at most ${transportMessageBytesMax} are allowed`,
    );
  }
  const view = viewOf(message);
  let offset = 0;
  while (offset < message.byteLength) {
    const left = message.byteLength - offset;
    if (left < headerBytes) throw new LinkProtocolError(`${left} bytes where a frame should start`);
    const wireBytes = 4 + view.getUint32(offset);
    if (wireBytes < headerBytes || wireBytes > frameBytesMax) {
      throw new LinkProtocolError(
        `a frame of ${wireBytes} bytes, ${headerBytes} to ${frameBytesMax} are allowed`,
      );
    }
    if (wireBytes > left)
      throw new LinkProtocolError(`a frame of ${wireBytes} bytes in a message with ${left} left`);
    visit(decodeFrame(message, view, offset, offset + wireBytes, versions), wireBytes);
    offset += wireBytes;
  }
}

function decodeFrame(
  message: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  versions: VersionRange,
): Frame {
  const type = view.getUint8(start + 4);
  const channel = view.getUint32(start + 5);
  const body = start + headerBytes;
  switch (type) {
    case frameType.data:
      return decodeData(message, view, channel, body, end);
    case frameType.credit:
      return { type: "credit", channel, bytes: readU32(view, body, end) };
    case frameType.open:
      return decodeOpen(message.subarray(body, end), channel);
    case frameType.close:
      return {
        type: "close",
        channel,
        error: body === end ? undefined : unpackError(message.subarray(body, end)),
      };
    case frameType.ping:
      return { type: "ping", id: readU32(view, body, end) };
    case frameType.pong:
      return { type: "pong", id: readU32(view, body, end) };
    case frameType.hello:
      return { type: "hello", hello: readHello(message.subarray(body, end), versions) };
    default:
      throw new LinkProtocolError(`a frame of the unknown type ${type}`);
  }
}

function decodeData(message: Uint8Array, view: DataView, channel: number, body: number, end: number): Frame {
  if (end - body < 2) throw new LinkProtocolError("a data frame without kind and flags");
  const flags = view.getUint8(body + 1);
  if (flags > (flagText | flagMore)) throw new LinkProtocolError(`unknown flags ${flags} in a data frame`);
  const text = (flags & flagText) !== 0;
  if (text && channel === linkChannel) throw new LinkProtocolError("a post of text");
  const bytes = message.subarray(body + 2, end);
  return { type: "data", channel, kind: view.getUint8(body), text, more: (flags & flagMore) !== 0, bytes };
}

function decodeOpen(body: Uint8Array, channel: number): Frame {
  const nameBytes = body[0] ?? 0;
  if (nameBytes === 0 || nameBytes > purposeBytesMax || body.byteLength < 1 + nameBytes) {
    throw new LinkProtocolError(`a channel opened with a purpose of ${nameBytes} bytes`);
  }
  const purpose = decodeText(body.subarray(1, 1 + nameBytes));
  return {
    type: "open",
    channel,
    purpose,
    head: unpack(body.subarray(1 + nameBytes), "the head of a channel"),
  };
}

function readU32(view: DataView, body: number, end: number): number {
  if (end - body !== 4) throw new LinkProtocolError(`a number of ${end - body} bytes`);
  return view.getUint32(body);
}

function unpack(bytes: Uint8Array, what: string): unknown {
  try {
    return unpackChecked(bytes);
  } catch (cause) {
    throw new LinkProtocolError(`${what} cannot be read`, cause);
  }
}

/** The versions are looked at first: whatever else another version puts here is not for us to judge. */
function readHello(body: Uint8Array, own: VersionRange): Hello {
  const value = unpack(body, "the hello");
  if (!isRecord(value)) throw new LinkProtocolError("a hello without fields");
  const versions = versionRange(value.version, value.newest ?? value.version);
  if (versions === undefined) throw new LinkProtocolError("a hello without a version");
  const mismatch = versionMismatch(versions, own);
  if (mismatch !== undefined) throw mismatch;
  return {
    versions,
    session: identity(value.session, "session"),
    hostId: identity(value.hostId, "hostId"),
    region: identity(value.region, "region"),
    proof: identity(value.proof, "proof"),
    dials: count(value.dials, "dials"),
    linkWindowBytes: count(value.linkWindowBytes, "linkWindowBytes"),
    channelWindowBytes: count(value.channelWindowBytes, "channelWindowBytes"),
    channelDebtBytesMax: count(value.channelDebtBytesMax, "channelDebtBytesMax"),
    messageBytesMax: count(value.messageBytesMax, "messageBytesMax"),
  };
}

function identity(value: unknown, name: string): string {
  if (typeof value === "string" && value.length <= identityCharsMax) return value;
  throw new LinkProtocolError(
    `a hello whose ${name} is not a text of at most ${identityCharsMax} characters`,
  );
}

function count(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new LinkProtocolError(`a hello whose ${name} is not a whole number`);
}

function packError(error: StatefulError): Uint8Array {
  const { code, retryAfterMs, details } = error;
  const message = error.message.slice(0, closeMessageCharsMax);
  try {
    const whole = packValue([code, message, retryAfterMs ?? null, details ?? null]);
    if (whole.byteLength <= closeBytesMax) return whole;
  } catch {
    // Details are an author's: what cannot be encoded stays behind, the error itself must arrive.
  }
  return packValue([code, message, retryAfterMs ?? null, null]);
}

function unpackError(body: Uint8Array): StatefulError {
  const fields = unpack(body, "the error of a close");
  if (!Array.isArray(fields)) throw new LinkProtocolError("a close whose error is not a list");
  const [code, message, retryAfterMs, details]: unknown[] = fields;
  if (typeof code !== "string" || typeof message !== "string")
    throw new LinkProtocolError("a close without its error's code");
  // A peer one release ahead may know more codes than we do.
  if (!isErrorCode(code)) return asStatefulError(new Error(`${code.slice(0, 64)}: ${message}`));
  return new StatefulError(code, message, {
    ...(typeof retryAfterMs === "number" ? { retryAfterMs } : {}),
    ...(isRecord(details) ? { details } : {}),
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
