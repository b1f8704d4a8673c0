import { decodeText, type Frame, LinkProtocolError } from "./frame.ts";

type DataFrame = Extract<Frame, { type: "data" }>;

/** A whole payload, safe to keep. */
export interface Message {
  readonly channel: number;
  readonly kind: number;
  readonly payload: Uint8Array | string;
}

/**
 * Payloads from data frames. The parts of one payload come back to back, so a link assembles one at a time and holds at
 * most `bytesMax` for it.
 *
 * What comes out is the receiver's to keep (K3). A payload under `copyUnderBytes` is a copy, because one kept byte would
 * otherwise hold its whole message in memory; a larger one is a slice of the message, which nobody writes to again.
 */
export class Assembly {
  readonly #bytesMax: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #first: DataFrame | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** True between the parts of one payload, where no other ordered frame may come. */
  get isOpen(): boolean {
    return this.#first !== undefined;
  }

  /** The message that this frame completes. */
  add(frame: DataFrame): Message | undefined {
    const first = this.#first ?? frame;
    if (frame.channel !== first.channel || frame.kind !== first.kind || frame.text !== first.text) {
      throw new LinkProtocolError(`channel ${frame.channel} inside a payload of channel ${first.channel}`);
    }
    if (this.#bytes + frame.bytes.byteLength > this.#bytesMax) {
      throw new LinkProtocolError(`a payload over ${this.#bytesMax} bytes`);
    }
    if (!frame.more && this.#first === undefined) return message(frame, frame.bytes, copyUnderBytes);
    this.#first = first;
    this.#bytes += frame.bytes.byteLength;
    this.#parts.push(frame.bytes);
    return frame.more ? undefined : this.#complete(first);
  }

  #complete(first: DataFrame): Message {
    const whole = Buffer.concat(this.#parts, this.#bytes);
    this.#first = undefined;
    this.#parts = [];
    this.#bytes = 0;
    return message(first, whole, 0);
  }
}

const copyUnderBytes = 16 * 1024;

function message(frame: DataFrame, bytes: Uint8Array, copyUnder: number): Message {
  const { channel, kind } = frame;
  if (frame.text) return { channel, kind, payload: decodeText(bytes) };
  return { channel, kind, payload: bytes.byteLength < copyUnder ? new Uint8Array(bytes) : bytes };
}
