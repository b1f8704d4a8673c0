import type { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import type { Hello } from "../../infra/link/frame.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import type { Channel, ChannelHandlers, Link, LinkHandlers } from "../../infra/link/link.ts";
import { LinkConnection } from "../../infra/link/link-connection.ts";
import { type LinkLimits, linkLimits } from "../../infra/link/link-limits.ts";
import { type MemoryTransportPair, memoryTransportPair } from "../../infra/link/memory-transport.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** What reached one end, in the order it did. */
export type Seen =
  | { readonly what: "channel"; readonly id: number; readonly purpose: string; readonly head: unknown }
  | {
      readonly what: "message";
      readonly id: number;
      readonly kind: number;
      readonly payload: Uint8Array | string;
    }
  | { readonly what: "closed"; readonly id: number; readonly error: StatefulError | undefined }
  | { readonly what: "post"; readonly kind: number; readonly payload: Uint8Array };

/** Notes everything, and consumes at once what arrives unless told not to. */
export class RecordingHandlers implements LinkHandlers {
  readonly seen: Seen[] = [];
  readonly channels = new Map<number, Channel>();
  consumes = true;

  readonly ofChannel: ChannelHandlers = {
    message: (channel, kind, payload) => {
      this.seen.push({ what: "message", id: channel.id, kind, payload });
      if (this.consumes) channel.consumed(payload.length);
    },
    closed: (channel, error) => {
      this.seen.push({ what: "closed", id: channel.id, error });
    },
  };

  channel(channel: Channel, purpose: string, head: unknown): ChannelHandlers {
    this.seen.push({ what: "channel", id: channel.id, purpose, head });
    this.channels.set(channel.id, channel);
    return this.ofChannel;
  }

  post(_link: Link, kind: number, payload: Uint8Array): void {
    this.seen.push({ what: "post", kind, payload });
  }

  messages(): ReadonlyArray<Extract<Seen, { what: "message" }>> {
    return this.seen.filter((each) => each.what === "message");
  }

  closings(): ReadonlyArray<Extract<Seen, { what: "closed" }>> {
    return this.seen.filter((each) => each.what === "closed");
  }
}

export interface LinkEnd {
  readonly link: LinkConnection;
  readonly handlers: RecordingHandlers;
  /** Why it ended. */
  readonly ends: StatefulError[];
}

export interface LinkPair {
  readonly clock: VirtualClock;
  readonly network: MemoryTransportPair;
  readonly dialer: LinkEnd;
  readonly acceptor: LinkEnd;
}

/** Two open links over memory, on a clock that the test moves. */
export async function linkPair(
  changes: Partial<LinkLimits> = {},
  delayMs = 0,
  clock = new VirtualClock(),
): Promise<LinkPair> {
  const network = memoryTransportPair(clock, { delayMs: () => delayMs });
  const limits = linkLimits(changes);
  const dialer = linkEnd(clock, limits, network.left, "dialer");
  const acceptor = linkEnd(clock, limits, network.right, "acceptor");
  dialer.link.greet(helloOf("dialer", limits));
  acceptor.link.greet(helloOf("acceptor", limits));
  await clock.advance(2 * delayMs + 1);
  return { clock, network, dialer, acceptor };
}

export function linkEnd(
  clock: VirtualClock,
  limits: LinkLimits,
  transport: MemoryTransportPair["left"],
  side: "dialer" | "acceptor",
): LinkEnd {
  const handlers = new RecordingHandlers();
  const ends: StatefulError[] = [];
  const other = side === "dialer" ? "acceptor" : "dialer";
  const link = new LinkConnection({
    ...{ transport, side, limits, clock, handlers, log: silentLog, nextTurn: process.nextTick },
    versions: linkVersions,
    peer: { session: `session-${other}`, hostId: other, region: "ams" },
    checkHello: () => undefined,
    opened: () => undefined,
    ended: (_, error) => ends.push(error),
    gone: () => undefined,
  });
  return { link, handlers, ends };
}

export function helloOf(hostId: string, limits: LinkLimits): Hello {
  const { linkWindowBytes, channelWindowBytes, channelDebtBytesMax, messageBytesMax } = limits;
  const windows = { linkWindowBytes, channelWindowBytes, channelDebtBytesMax, messageBytesMax };
  return {
    versions: linkVersions,
    session: `session-${hostId}`,
    hostId,
    region: "ams",
    proof: "",
    dials: 0,
    ...windows,
  };
}
