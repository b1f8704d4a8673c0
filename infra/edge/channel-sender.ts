import type { Channel } from "../link/link.ts";
import { partsOf } from "./message-parts.ts";
import { type Payload, toOwner } from "./socket-protocol.ts";

/**
 * Sends to an owner, on a channel, what has to arrive, in order: what the channel does not take now waits for room. Whoever has much to say
 * says it while `isClear`, and goes on when `cleared` is called; so little waits here.
 */
export class ChannelSender {
  readonly #channel: Channel;
  readonly #cleared: () => void;
  #waiting: Waiting[] = [];

  constructor(channel: Channel, cleared: () => void) {
    this.#channel = channel;
    this.#cleared = cleared;
  }

  get isClear(): boolean {
    return this.#waiting.length === 0;
  }

  send(kind: number, payload: Payload): void {
    const { leading, last } = partsOf(payload);
    for (const part of leading) this.#send(toOwner.part, part);
    this.#send(kind, last);
  }

  /**
   * The same for what is kept elsewhere, in another form, and is shorter than a part: its bytes are made when it is sent, so that
   * no copies of it wait here.
   */
  sendLate(kind: number, encode: () => Payload): void {
    this.#send(kind, encode);
  }

  #send(kind: number, payload: Waiting["payload"]): void {
    if (this.isClear && this.#channel.send(kind, bytesOf(payload))) return;
    if (!this.#channel.isOpen) return; // Its handlers hear of that.
    this.#waiting.push({ kind, payload });
    if (this.#waiting.length === 1) this.#waitForRoom();
  }

  #waitForRoom(): void {
    this.#channel.writable().then(
      () => this.#sendWaiting(),
      () => {
        this.#waiting = [];
      },
    );
  }

  #sendWaiting(): void {
    let sent = 0;
    for (const { kind, payload } of this.#waiting) {
      if (!this.#channel.send(kind, bytesOf(payload))) break;
      sent++;
    }
    this.#waiting.splice(0, sent);
    if (this.isClear) this.#cleared();
    else this.#waitForRoom();
  }
}

interface Waiting {
  readonly kind: number;
  readonly payload: Payload | (() => Payload);
}

function bytesOf(payload: Waiting["payload"]): Payload {
  return typeof payload === "function" ? payload() : payload;
}
