import { asStatefulError, type StatefulError } from "../lib/errors.ts";
import type { Channel } from "./link.ts";

/**
 * One direction of a tunnel: messages that wait for room on a channel, in order, and its end behind them.
 *
 * It sends bulk as a channel's user should, after `writable()`, so that what is relayed never crowds out what the link's own
 * two hosts have to say. It bounds nothing by itself: whoever puts something in gets told when it has left, and must see to it
 * that little waits (K16).
 */
export class RelayLane {
  readonly #channel: Channel;
  readonly #over: (error: StatefulError | undefined) => void;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #isMoving = false;
  #isOver = false;
  #ending: { readonly error: StatefulError | undefined } | undefined;

  /** `over` is called once: nothing leaves any more. With an error where a message could not be sent, now or ever. */
  constructor(channel: Channel, over: (error: StatefulError | undefined) => void) {
    this.#channel = channel;
    this.#over = over;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Calls `passed` once the message has left. The payload must not change until then. */
  put(kind: number, payload: Uint8Array | string, passed: () => void = nothing): void {
    if (this.#isOver || this.#ending !== undefined) return;
    this.#waiting.push({ kind, payload, passed });
    this.#waitingBytes += payload.length;
    if (!this.#isMoving) void this.#move();
  }

  /** Closes the channel behind what waits. */
  end(error?: StatefulError): void {
    if (this.#isOver || this.#ending !== undefined) return;
    this.#ending = { error };
    if (!this.#isMoving) this.#finish(error);
  }

  /** What waits goes nowhere. The channel is left as it is. */
  drop(error?: StatefulError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#over(error);
  }

  async #move(): Promise<void> {
    this.#isMoving = true;
    try {
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0])
        await this.#sendNext(next);
    } catch (thrown) {
      this.#failed(asStatefulError(thrown));
      return;
    }
    this.#isMoving = false;
    if (this.#ending !== undefined) this.#finish(this.#ending.error);
  }

  async #sendNext(next: Waiting): Promise<void> {
    await this.#channel.writable();
    if (this.#waiting[0] !== next) return; // dropped meanwhile
    if (!this.#channel.send(next.kind, next.payload)) return; // and waits again
    this.#waiting.shift();
    this.#waitingBytes -= next.payload.length;
    next.passed();
  }

  /** The channel has ended, which its handlers hear, or it does not take this message, which nobody else would say. */
  #failed(error: StatefulError): void {
    if (!this.#channel.isOpen) return this.drop();
    this.#channel.close(error);
    this.drop(error);
  }

  #finish(error: StatefulError | undefined): void {
    if (this.#isOver) return;
    this.#channel.close(error);
    this.drop();
  }
}

interface Waiting {
  readonly kind: number;
  readonly payload: Uint8Array | string;
  readonly passed: () => void;
}

function nothing(): void {
  // Not everybody needs to know.
}
