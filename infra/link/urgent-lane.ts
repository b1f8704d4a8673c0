import { FrameWriter, linkChannel } from "./frame.ts";
import type { LinkChannel } from "./link-channel.ts";

/**
 * What passes the ordered lane: answers to pings, pings, acknowledgements, credit.
 *
 * It has no queue, only notes of what is due: the latest ping, a number of bytes, a set of channels. However slow the path
 * is, it cannot grow. And it must not wait: were acknowledgements queued behind data, two hosts that send each other a
 * windowful would wait for each other for ever (K6).
 */
export class UrgentLane {
  readonly #acknowledgeFromBytes: number;
  readonly #writer = new FrameWriter(64);
  readonly #creditDue = new Set<LinkChannel>();
  #ping: number | undefined;
  #pong: number | undefined;
  #unacknowledged = 0;

  /** Acknowledges by quarters of the window that this side granted: seldom enough to be cheap, early enough to keep it open. */
  constructor(linkWindowBytes: number) {
    this.#acknowledgeFromBytes = linkWindowBytes / 4;
  }

  ping(id: number): void {
    this.#ping = id;
  }

  pong(id: number): void {
    this.#pong = id;
  }

  credit(channel: LinkChannel): void {
    this.#creditDue.add(channel);
  }

  /** True once the peer should hear of it. */
  received(bytes: number): boolean {
    this.#unacknowledged += bytes;
    return this.#unacknowledged >= this.#acknowledgeFromBytes;
  }

  forget(channel: LinkChannel): void {
    this.#creditDue.delete(channel);
  }

  /** Hands over all that is due, in messages good until the next one. */
  flush(transmit: (message: Uint8Array) => void): void {
    this.#writeDue();
    for (const channel of this.#creditDue) {
      this.#writer.credit(channel.id, channel.takeCredit());
      if (this.#writer.length >= batchBytes) this.#transmit(transmit);
    }
    this.#creditDue.clear();
    if (this.#writer.length > 0) this.#transmit(transmit);
  }

  #writeDue(): void {
    if (this.#pong !== undefined) this.#writer.pong(this.#pong);
    if (this.#ping !== undefined) this.#writer.ping(this.#ping);
    this.#pong = undefined;
    this.#ping = undefined;
    if (this.#unacknowledged < this.#acknowledgeFromBytes) return;
    this.#writer.credit(linkChannel, this.#unacknowledged);
    this.#unacknowledged = 0;
  }

  #transmit(transmit: (message: Uint8Array) => void): void {
    transmit(this.#writer.bytes());
    this.#writer.clear();
  }
}

/** Credits of many channels leave in messages of about this size. */
const batchBytes = 32 * 1024;
