import { StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers, Link } from "./link.ts";

/**
 * One end of a channel: two accounts of bytes and the promise of whoever waits for them.
 *
 * Outgoing, `#owed` counts payload sent and not yet reported consumed. While it is under the window there is room for
 * bulk. `send` may go past the window, because some messages cannot wait, up to the debt that the peer tolerates (K4).
 * Incoming, `#unconsumed` is the same account seen from here, and `#unreported` the part of `consumed` not told yet:
 * telling is batched by quarters of the window, so a stream of small messages does not cause a credit for each.
 */
export class LinkChannel implements Channel {
  readonly id: number;
  readonly #carrier: ChannelCarrier;
  readonly #granted: ChannelGrant;
  #handlers: ChannelHandlers | undefined;
  #state: ChannelState = { name: "open" };
  #owed = 0;
  #unconsumed = 0;
  #unreported = 0;
  #room: Room | undefined;

  constructor(id: number, carrier: ChannelCarrier, granted: ChannelGrant) {
    this.id = id;
    this.#carrier = carrier;
    this.#granted = granted;
  }

  get link(): Link {
    return this.#carrier.link;
  }

  get isOpen(): boolean {
    return this.#state.name === "open";
  }

  /** Before the first frame; the channel's opener may send before its handlers are known. */
  handle(handlers: ChannelHandlers): void {
    this.#handlers = handlers;
  }

  send(kind: number, payload: Uint8Array | string): boolean {
    const size = payload.length;
    if (!this.isOpen || this.#isOverDebt(size)) return false;
    if (!this.#carrier.data(this.id, kind, payload)) return false;
    this.#owed += size;
    return true;
  }

  writable(): Promise<void> {
    if (this.#state.name === "ended") return Promise.reject(this.#reason(this.#state.error));
    if (this.#hasWindow() && this.#carrier.hasRoom()) return Promise.resolve();
    // All who wait share one promise: however many ask, one thing is kept.
    this.#room ??= newRoom();
    if (this.#hasWindow()) this.#carrier.waitForRoom(this);
    return this.#room.promise;
  }

  consumed(bytes: number): void {
    const counted = Math.min(bytes, this.#unconsumed);
    this.#unconsumed -= counted;
    this.#unreported += counted;
    if (!this.isOpen || this.#unreported < this.#granted.here().channelWindowBytes / 4) return;
    this.#carrier.creditDue(this);
  }

  close(error?: StatefulError): void {
    if (!this.isOpen) return;
    this.end(error);
    this.#carrier.closed(this, error);
  }

  // What follows is for the link that carries this channel.

  /** Throws what the handler throws. */
  receive(kind: number, payload: Uint8Array | string): void {
    const size = payload.length;
    if (isOver(this.#unconsumed + this.#unreported, size, this.#granted.here().channelDebtBytesMax)) {
      throw new StatefulError("backpressure", `The peer sent past the debt of channel ${this.id}.`);
    }
    this.#unconsumed += size;
    this.#handlers?.message(this, kind, payload);
  }

  /** False where the peer reports more than was sent. */
  credited(bytes: number): boolean {
    if (bytes > this.#owed) return false;
    this.#owed -= bytes;
    if (this.#room === undefined || !this.#hasWindow()) return true;
    if (this.#carrier.hasRoom()) this.roomOnLink();
    else this.#carrier.waitForRoom(this);
    return true;
  }

  /** The link's queue has room again. */
  roomOnLink(): void {
    if (!this.#hasWindow()) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  takeCredit(): number {
    const bytes = this.#unreported;
    this.#unreported = 0;
    return bytes;
  }

  /** No more frames either way. Does not call the handlers. */
  end(error: StatefulError | undefined): void {
    this.#state = { name: "ended", error };
    this.#room?.reject(this.#reason(error));
    this.#room = undefined;
  }

  /** Tells the handlers that it ended; they are called once at most, and let go. */
  tellClosed(error: StatefulError | undefined): void {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.closed(this, error);
  }

  /** Made only where somebody asks: an error for each channel that ends well was a tenth of all time spent. */
  #reason(error: StatefulError | undefined): StatefulError {
    return error ?? new StatefulError("outcome_unknown", `Channel ${this.id} is closed.`);
  }

  #hasWindow(): boolean {
    return this.#owed < this.#granted.there().channelWindowBytes;
  }

  #isOverDebt(size: number): boolean {
    return isOver(this.#owed, size, this.#granted.there().channelDebtBytesMax);
  }
}

/** What a channel needs of its link. */
export interface ChannelCarrier {
  readonly link: Link;
  /** False where the link's queue is full. */
  data(channel: number, kind: number, payload: Uint8Array | string): boolean;
  closed(channel: LinkChannel, error: StatefulError | undefined): void;
  creditDue(channel: LinkChannel): void;
  hasRoom(): boolean;
  /** Calls `roomOnLink` once the queue has room. */
  waitForRoom(channel: LinkChannel): void;
}

export interface ChannelWindows {
  readonly channelWindowBytes: number;
  readonly channelDebtBytesMax: number;
}

/** The windows this host grants, and those its peer granted in its hello. */
export interface ChannelGrant {
  here(): ChannelWindows;
  there(): ChannelWindows;
}

type ChannelState =
  | { readonly name: "open" }
  | { readonly name: "ended"; readonly error: StatefulError | undefined };

interface Room {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function newRoom(): Room {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Whoever asked may have stopped listening; the channel's `closed` tells them anyway.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

/** One payload always passes, however large: otherwise a limit under its size would refuse it for ever. */
export function isOver(held: number, more: number, max: number): boolean {
  return held > 0 && held + more > max;
}
