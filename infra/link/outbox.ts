import type { StatefulError } from "../lib/errors.ts";
import { encodeText, FrameWriter, fragmentBytesMax, frameBytesMax, shortTextCharsMax } from "./frame.ts";

/**
 * The ordered lane of a link: what was sent, as encoded batches, from `send` until the transport takes it.
 *
 * `queuedBytes` wait here, `inFlightBytes` were handed over and not acknowledged. A batch leaves while less than the window
 * is in flight, so the transport's buffers hold at most the window and one batch (K5). What else a link says (heartbeats,
 * acknowledgements, credit) does not pass here: those must get through when this lane stands still, since they are what
 * sets it moving again (K6).
 */
export class Outbox {
  readonly #batchBytes: number;
  #windowBytes = 0;
  #inFlight = 0;
  #queued = 0;
  /** Full batches, oldest first. */
  readonly #sealed: FrameWriter[] = [];
  #current: FrameWriter;
  /** A batch whose bytes the transport has copied, for the next use. */
  #spare: FrameWriter | undefined;

  constructor(batchBytes = frameBytesMax) {
    this.#batchBytes = batchBytes;
    this.#current = new FrameWriter();
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  get inFlightBytes(): number {
    return this.#inFlight;
  }

  /** Nothing leaves before the peer granted a window. */
  grant(windowBytes: number): void {
    this.#windowBytes = windowBytes;
  }

  open(channel: number, purpose: string, head: Uint8Array): void {
    this.#write(head.byteLength, (batch) => batch.open(channel, purpose, head));
  }

  data(channel: number, kind: number, payload: Uint8Array | string): void {
    if (typeof payload !== "string") this.#fragments(channel, kind, payload, false);
    else if (payload.length > shortTextCharsMax) this.#fragments(channel, kind, encodeText(payload), true);
    else this.#write(payload.length, (batch) => batch.shortText(channel, kind, payload));
  }

  close(channel: number, error: StatefulError | undefined): void {
    this.#write(0, (batch) => batch.close(channel, error));
  }

  /** The next batch that may leave, good until the next call. */
  next(): Uint8Array | undefined {
    if (this.#queued === 0 || this.#inFlight >= this.#windowBytes) return undefined;
    const batch = this.#sealed.shift() ?? this.#takeCurrent();
    this.#queued -= batch.length;
    this.#inFlight += batch.length;
    const bytes = batch.bytes();
    batch.clear();
    this.#spare = batch;
    return bytes;
  }

  /** False where the peer acknowledges what it never got. */
  acknowledged(bytes: number): boolean {
    if (bytes > this.#inFlight) return false;
    this.#inFlight -= bytes;
    return true;
  }

  /** All of them back to back: nothing comes between the parts of one payload. */
  #fragments(channel: number, kind: number, payload: Uint8Array, text: boolean): void {
    let offset = 0;
    do {
      const part = payload.subarray(offset, offset + fragmentBytesMax);
      offset += part.byteLength;
      const more = offset < payload.byteLength;
      this.#write(part.byteLength, (batch) => batch.data(channel, kind, part, text, more));
    } while (offset < payload.byteLength);
  }

  /** `sizeHint` starts a new batch early enough; text may exceed it, which the room in a message allows for. */
  #write(sizeHint: number, write: (batch: FrameWriter) => void): void {
    if (this.#current.length > 0 && this.#current.length + sizeHint > this.#batchBytes) {
      this.#sealed.push(this.#takeCurrent());
    }
    const before = this.#current.length;
    write(this.#current);
    this.#queued += this.#current.length - before;
  }

  #takeCurrent(): FrameWriter {
    const batch = this.#current;
    this.#current = this.#spare ?? new FrameWriter();
    this.#spare = undefined;
    return batch;
  }
}
