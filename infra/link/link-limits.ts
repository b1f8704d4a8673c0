import type { LinkPeer } from "./link.ts";

/**
 * Every number that bounds a link. Each says what grows with it and what shrinks; README.md has the same list as a table.
 * Two windows are *granted*: a host states its own in the hello, and its peer keeps to them, so hosts with different
 * settings can be linked.
 */
export interface LinkLimits {
  /**
   * Payload a peer may have under way on one channel before `writable()` waits. A channel carries at most this much per
   * round trip (256 KiB at 100 ms: 2.5 MiB/s); a slow reader costs its host at most this much per channel.
   */
  readonly channelWindowBytes: number;
  /**
   * Payload sent on a channel in spite of its window, after which `send` answers false. It is for what cannot wait, such
   * as the messages of a socket. Larger rides out longer stalls of a reader, and costs that much for each stalled one.
   */
  readonly channelDebtBytesMax: number;
  /**
   * Bytes under way on the whole link that the peer has not acknowledged. It bounds what sits in the socket's buffers,
   * and the throughput between two hosts: 8 MiB per round trip. Larger fills faster pipes, and lets urgent frames wait
   * longer behind bulk.
   */
  readonly linkWindowBytes: number;
  /** Bytes that wait here for the window above. Larger loses less to a burst, and delivers it later. */
  readonly linkQueueBytes: number;
  /** One payload. It is assembled in memory at the other end, one at a time per link. */
  readonly messageBytesMax: number;
  /** Open channels per side and link. Each costs both ends a few hundred bytes. */
  readonly channelsMax: number;
  /** Between two heartbeats. Shorter finds the dead sooner, and wakes idle links more often. */
  readonly heartbeatMs: number;
  /**
   * Heartbeats in a row at which nothing had been heard, until the peer counts as dead. The detection time is between
   * `silentBeatsMax` and `silentBeatsMax + 1` times `heartbeatMs`. Fewer mistakes a long pause for a death.
   */
  readonly silentBeatsMax: number;
  /** From the start of a dial, or of an accepted socket, to the peer's hello. */
  readonly linkDialTimeoutMs: number;
  /** As `linkDialTimeoutMs`, for a direct dial where a relay could be asked. Shorter gives up slow direct paths. */
  readonly relayAfterMs: number;
  /** From asking one relay to the peer's hello, the relay's own dial included. Shorter misses distant relays. */
  readonly relayDialTimeoutMs: number;
  /** Relays that are asked, one after the other. More find a way more often, and make a caller wait longer for nothing. */
  readonly relaysTriedMax: number;
  /** `linkWindowBytes` of a relayed link. Larger goes faster (window / round trip), and keeps heartbeats waiting. */
  readonly relayWindowBytes: number;
  /**
   * Links of others that this host relays. Each may cost it `channelDebtBytesMax` in each direction, with peers that keep to
   * their windows about `channelWindowBytes`.
   */
  readonly relayedLinksMax: number;
  /** The first pause after a failed dial; doubled by each further failure, and drawn between half and the whole of that. */
  readonly backoffMinMs: number;
  /** The longest pause. Longer spares a dead host, and finds a revived one later. */
  readonly backoffMaxMs: number;
  /** Links of one host, both directions. Past it a dial and an accept are refused. */
  readonly linksMax: number;
  /** Peers whose last failed dial is remembered. Past it the oldest is forgotten, and may be dialled early. */
  readonly backoffsMax: number;
  /** A link this young survives `retain`: the caller's view of the directory may not know the peer yet. */
  readonly retainGraceMs: number;
  /** How long a closed link waits for the peer's half of the closing before it cuts the socket. */
  readonly linkCloseTimeoutMs: number;
}

export const defaultLinkLimits: LinkLimits = {
  channelWindowBytes: 256 * 1024,
  channelDebtBytesMax: 4 * 1024 * 1024,
  linkWindowBytes: 8 * 1024 * 1024,
  linkQueueBytes: 16 * 1024 * 1024,
  messageBytesMax: 16 * 1024 * 1024,
  channelsMax: 131_072,
  heartbeatMs: 2_000,
  silentBeatsMax: 3,
  linkDialTimeoutMs: 3_000,
  relayAfterMs: 2_000,
  relayDialTimeoutMs: 1_250,
  relaysTriedMax: 2,
  relayWindowBytes: 1024 * 1024,
  relayedLinksMax: 256,
  backoffMinMs: 100,
  backoffMaxMs: 5_000,
  linksMax: 1_024,
  backoffsMax: 1_024,
  retainGraceMs: 10_000,
  linkCloseTimeoutMs: 1_000,
};

export function linkLimits(changes: Partial<LinkLimits> = {}): LinkLimits {
  return { ...defaultLinkLimits, ...changes };
}

/** A relayed link has a window of its own. */
export function limitsThrough(limits: LinkLimits, through: LinkPeer | undefined): LinkLimits {
  if (through === undefined) return limits;
  return { ...limits, linkWindowBytes: Math.min(limits.linkWindowBytes, limits.relayWindowBytes) };
}
