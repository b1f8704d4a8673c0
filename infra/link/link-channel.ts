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
  /** What was owed when a message went past the debt. Until it is less there is no room, whatever the window says. */
  #refusedAtOwed = Number.POSITIVE_INFINITY;
  #wasRefusedByLink = false;

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
    if (!this.isOpen) return false;
    const isOverDebt = isPastDebt(this.#owed, size, this.#granted.there());
    this.#refusedAtOwed = isOverDebt ? this.#owed : Number.POSITIVE_INFINITY;
    if (isOverDebt) return false;
    this.#wasRefusedByLink = !this.#carrier.data(this.id, kind, payload);
    if (this.#wasRefusedByLink) return false;
    this.#owed += size;
    return true;
  }

  writable(): Promise<void> {
    if (this.#state.name === "ended") return Promise.reject(this.#reason(this.#state.error));
    // Never at once where a message was just refused: whoever tries again and again would leave nobody else a turn.
    if (this.#hasWindow() && this.#carrier.hasRoom() && !this.#wasRefusedByLink) return Promise.resolve();
    // All who wait share one promise: however many ask, one thing is kept.
    this.#room ??= newRoom();
    if (this.#hasWindow()) this.#carrier.waitForRoom(this);
    return this.#room.promise;
  }

  consumed(bytes: number): void {
    const counted = Math.min(bytes, this.#unconsumed);
    this.#unconsumed -= counted;
    this.#unreported += counted;
    if (!this.isOpen || this.#unreported < untoldMax(this.#granted.here())) return;
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
    if (isPastDebt(this.#unconsumed + this.#unreported, size, this.#granted.here())) {
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
    this.#wasRefusedByLink = false;
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
    return this.#owed < Math.min(this.#granted.there().channelWindowBytes, this.#refusedAtOwed);
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

/** From here on what was consumed is told. */
function untoldMax({ channelWindowBytes, channelDebtBytesMax }: ChannelWindows): number {
  return Math.min(channelWindowBytes, channelDebtBytesMax) / 4;
}

/** One payload always passes here, too: what is held may all be consumed, and never told of before more comes. */
function isPastDebt(held: number, more: number, windows: ChannelWindows): boolean {
  return held >= untoldMax(windows) && isOver(held, more, windows.channelDebtBytesMax);
}

/** One payload always passes, however large: otherwise a limit under its size would refuse it for ever. */
export function isOver(held: number, more: number, max: number): boolean {
  return held > 0 && held + more > max;
}
