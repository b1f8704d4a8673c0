import type { StatefulError } from "../lib/errors.ts";

/**
 * The one multiplexed connection between two hosts. Either side may open channels on it, whoever dialled. All frames of
 * one turn of the event loop leave in one write, in order; what a link carries is never reordered.
 *
 * Two things travel: a *channel* is an ordered conversation with flow control of its own (one forwarded request, one
 * socket); a *post* is a single message that belongs to none (a publish to all subscribers at the other host).
 */
export interface Link {
  readonly peer: LinkPeer;
  /** Of the wire: the highest that both hosts speak (K11). Whoever writes a message that an older one cannot read asks for it. */
  readonly version: number;
  /** Smoothed round-trip time, undefined before the first answer to a heartbeat. */
  readonly roundTripMs: number | undefined;
  readonly isOpen: boolean;
  /** The host that relays this link (K15); undefined where it is direct. */
  readonly through: LinkPeer | undefined;

  /**
   * Opens a channel; the peer's `LinkHandlers.channel` gets `purpose` and `head`. Throws `owner_unreachable` on a closed
   * link, `link_overloaded` past the limit of open channels or of the queue, and `body_too_large` where `head`, encoded with
   * msgpackr, is over `headBytesMax`.
   */
  open(purpose: string, head: unknown, handlers: ChannelHandlers): Channel;

  /**
   * Sends one message outside of any channel. False, and nothing sent, where the link's buffer is full or the link has
   * ended: then the caller must tell whoever misses it. Posts and channel messages keep their order. The bytes are the
   * caller's again once this returns. Throws `body_too_large` over the peer's `messageBytesMax`.
   */
  post(kind: number, payload: Uint8Array): boolean;

  /**
   * Closes the link; every channel on it ends with `error` here, and with `outcome_unknown` at the peer, since what was
   * under way may have been done. Whoever wants answers to arrive closes the channels first.
   */
  close(error: StatefulError): void;
}

export interface LinkPeer {
  /** Names the other host while it lives: its process, which outlasts the sessions that a directory may end. */
  readonly session: string;
  readonly hostId: string;
  readonly region: string;
}

/** One end of a channel. */
export interface Channel {
  readonly id: number;
  readonly link: Link;
  readonly isOpen: boolean;

  /**
   * Sends a message. It always queues, and counts against the window of the channel: bulk data is sent only after
   * `writable()`. False, and then nothing was sent, where the link's own buffer is over its limit, where the peer has left
   * more than `channelDebtBytesMax` unconsumed, or where the channel has ended.
   * A message of text stays text at the other end. The bytes are the caller's again once this returns. Throws
   * `body_too_large` over the peer's `messageBytesMax`.
   */
  send(kind: number, payload: Uint8Array | string): boolean;

  /**
   * Resolves when the peer has room (`channelWindowBytes`) and the link's buffer is less than half full; rejects when the
   * channel or the link has ended. Room is not reserved: `send` may still answer false where many waited, so send bulk
   * with `while (!channel.send(kind, chunk)) await channel.writable()`, which ends because `writable` rejects in the end.
   * After a refusal it waits until something has moved, so that this gives everybody else a turn.
   */
  writable(): Promise<void>;

  /**
   * Tells the peer that so much received payload is dealt with, so that it may send as much again. Owed for **every**
   * message, always `payload.length`: bytes, or the length of the string where it is text.
   */
  consumed(bytes: number): void;

  /**
   * Ends the channel for both sides, after what was sent. `error` reaches the peer with its code, message, retryAfterMs
   * and details, but without its cause. The own handlers are not called any more. Idempotent.
   */
  close(error?: StatefulError): void;
}

/** A handler that throws ends its channel, for both sides, with that error; the link goes on. */
export interface ChannelHandlers {
  /** The payload is the handler's to keep. Use it, not its `buffer`: it may be a slice of a larger one. */
  message(channel: Channel, kind: number, payload: Uint8Array | string): void;
  /**
   * Called once, for whatever reason: closed by the peer (`error` as the peer gave it), or the link is gone (`error` is
   * `outcome_unknown`, or what the own side closed the link with). Not after the own `channel.close`.
   */
  closed(channel: Channel, error: StatefulError | undefined): void;
}

/** What a host does with what its peers begin. */
export interface LinkHandlers {
  /** A new channel from the peer. Returns its handlers; a throw refuses the channel with that error. */
  channel(channel: Channel, purpose: string, head: unknown): ChannelHandlers;
  post(link: Link, kind: number, payload: Uint8Array): void;
  opened?(link: Link): void;
  closed?(link: Link): void;
}

/** All links of a host, by the session at the other end. */
export interface LinkPool {
  /**
   * The link to that host: the open one, or one dialled now; concurrent calls share one dial. Where the host cannot be dialled
   * the link may lead through another (K15). Rejects with `not_owner` when a host answers there that is not (or no longer)
   * this session, and with `owner_unreachable` when no link can be had, for whatever other reason, within
   * `linkDialTimeoutMs` or, with relays, the limits of K18; in both cases at once while the last failure is younger than its
   * back-off. Ask anew for each channel, and open it at once: between two channels a link may become a better one (K17).
   */
  to(host: LinkTarget): Promise<Link>;
  /** The open link to a session, without dialling. None while it is about to become a better one (K17). */
  peek(session: string): Link | undefined;
  links(): Iterable<Link>;
  /**
   * Closes what leads to sessions that are no longer alive. A link younger than `retainGraceMs` stays: a view of the
   * directory may be older than its peer.
   */
  retain(sessions: ReadonlySet<string>): void;
  close(): Promise<void>;
}

export interface LinkTarget {
  readonly session: string;
  readonly hostId: string;
  readonly region: string;
  readonly privateUrl: string;
}
