import { StatefulError } from "../lib/errors.ts";
import { type Hello, headBytesMax, purposeBytesMax } from "./frame.ts";
import { isOver, type LinkChannel } from "./link-channel.ts";
import type { LinkLimits } from "./link-limits.ts";
import { packValue } from "./msgpack.ts";
import { Outbox } from "./outbox.ts";
import type { Transport } from "./transport.ts";
import { UrgentLane } from "./urgent-lane.ts";

/**
 * The sending half of an open link: two lanes, the moment at which they leave, and those who wait for room.
 *
 * Everything sent in one turn leaves together, when `nextTurn` calls back: what is urgent first, then what is in order as
 * far as the window lets it.
 */
export class LinkSender {
  readonly urgent: UrgentLane;
  readonly #options: LinkSenderOptions;
  readonly #outbox = new Outbox();
  /** Channels whose sender waits for room in the outbox. */
  readonly #waiting = new Set<LinkChannel>();
  #granted: Hello | undefined;
  #isFlushDue = false;
  #isWakeDue = false;

  constructor(options: LinkSenderOptions) {
    this.#options = options;
    this.urgent = new UrgentLane(options.limits.linkWindowBytes);
  }

  get heldBytes(): { readonly queued: number; readonly inFlight: number } {
    return { queued: this.#outbox.queuedBytes, inFlight: this.#outbox.inFlightBytes };
  }

  /** From now on things leave, within the windows that the peer granted. */
  start(granted: Hello): void {
    this.#granted = granted;
    this.#outbox.grant(granted.linkWindowBytes);
  }

  /** Nothing leaves any more. */
  stop(): void {
    this.#granted = undefined;
    this.#waiting.clear();
  }

  /** False where the queue is full. */
  open(channel: number, purpose: string, head: Uint8Array): boolean {
    if (this.#isFullFor(head.byteLength)) return false;
    this.#outbox.open(channel, purpose, head);
    this.flushSoon();
    return true;
  }

  /** False where the queue is full, or nothing leaves. */
  data(channel: number, kind: number, payload: Uint8Array | string): boolean {
    if (this.#granted === undefined) return false;
    if (this.#isFullFor(wireBytesMax(payload, this.#granted.messageBytesMax))) return false;
    if (!Number.isInteger(kind) || kind < 0 || kind > 255) {
      throw new StatefulError("internal", `A message kind is a whole number from 0 to 255, not ${kind}.`);
    }
    this.#outbox.data(channel, kind, payload);
    this.flushSoon();
    return true;
  }

  /** Always accepted: there are no more of these than there were channels. */
  close(channel: LinkChannel, error: StatefulError | undefined): void {
    this.#outbox.close(channel.id, error);
    this.flushSoon();
  }

  /** False where the peer acknowledges what it never got. */
  acknowledged(bytes: number): boolean {
    this.flushSoon();
    return this.#outbox.acknowledged(bytes);
  }

  /** For one more sender of bulk. */
  get hasRoom(): boolean {
    return this.#waiting.size === 0 && this.#isUnderHalf();
  }

  /** Calls `roomOnLink` when it is that channel's turn. */
  waitForRoom(channel: LinkChannel): void {
    this.#waiting.add(channel);
    this.#wakeSoon();
  }

  forget(channel: LinkChannel): void {
    this.#waiting.delete(channel);
    this.urgent.forget(channel);
  }

  flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#options.nextTurn(() => {
      this.#isFlushDue = false;
      this.flush();
    });
  }

  flush(): void {
    if (this.#granted === undefined) return;
    this.urgent.flush((message) => this.#transmit(message));
    for (let batch = this.#outbox.next(); batch !== undefined; batch = this.#outbox.next()) {
      if (!this.#transmit(batch)) return;
    }
    this.#wakeSoon();
  }

  #transmit(message: Uint8Array): boolean {
    if (this.#granted === undefined) return false;
    if (this.#options.transport.send(message)) return true;
    this.#options.refused();
    return false;
  }

  #isFullFor(bytes: number): boolean {
    return isOver(this.#outbox.queuedBytes, bytes, this.#options.limits.linkQueueBytes);
  }

  /** Half of the queue is for those who ask first; the rest is for what cannot wait. */
  #isUnderHalf(): boolean {
    return this.#outbox.queuedBytes < this.#options.limits.linkQueueBytes / 2;
  }

  #wakeSoon(): void {
    if (this.#isWakeDue || this.#waiting.size === 0 || !this.#isUnderHalf()) return;
    this.#isWakeDue = true;
    // Not `nextTurn`: those who were woken before must have had their turn to send, or all would see the same room.
    setImmediate(() => {
      this.#isWakeDue = false;
      this.#wakeWaiting();
    });
  }

  /** As many as could each fill their window, in the order they came; all at once would overrun the queue. */
  #wakeWaiting(): void {
    if (this.#granted === undefined || !this.#isUnderHalf()) return;
    const room = this.#options.limits.linkQueueBytes / 2 - this.#outbox.queuedBytes;
    let wakeUps = Math.ceil(room / Math.max(1, this.#granted.channelWindowBytes));
    for (const channel of this.#waiting) {
      if (wakeUps === 0) break;
      wakeUps -= 1;
      this.#waiting.delete(channel);
      channel.roomOnLink();
    }
    this.#wakeSoon();
  }
}

export interface LinkSenderOptions {
  readonly transport: Transport;
  readonly limits: LinkLimits;
  /** Runs the callback after the current turn. */
  readonly nextTurn: (flush: () => void) => void;
  /** The transport did not take a message. */
  refused(): void;
}

/** Throws `body_too_large` where the head would not fit a frame. */
export function packHead(purpose: string, head: unknown): Uint8Array {
  if (purpose === "" || Buffer.byteLength(purpose) > purposeBytesMax) {
    const shown = purpose.slice(0, 80);
    throw new StatefulError("internal", `A purpose has 1 to ${purposeBytesMax} bytes, not "${shown}".`);
  }
  const packed = packValue(head);
  if (packed.byteLength <= headBytesMax) return packed;
  throw new StatefulError(
    "body_too_large",
    `The head of a "${purpose}" channel takes ${packed.byteLength} bytes, at most ${headBytesMax} are allowed; send the rest as messages.`,
  );
}

/** The most a payload can take up. Throws `body_too_large` where the peer would refuse it. */
function wireBytesMax(payload: Uint8Array | string, max: number): number {
  const upperBound = typeof payload === "string" ? 3 * payload.length : payload.byteLength;
  if (upperBound <= max) return upperBound;
  const bytes = Buffer.byteLength(payload);
  if (bytes <= max) return bytes;
  throw new StatefulError(
    "body_too_large",
    `A message of ${bytes} bytes; the peer takes ${max} at most. Send it in parts.`,
  );
}
