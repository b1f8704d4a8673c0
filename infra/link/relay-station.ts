import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers, Link } from "./link.ts";
import type { LinkClaims } from "./link-secret.ts";
import { RelayLane } from "./relay-lane.ts";
import {
  decodeRelayHead,
  decodeRelayedHead,
  encodeRelayedHead,
  type RelayHead,
  relayedPurpose,
  relayPurpose,
  type SignedHeaders,
} from "./relay-protocol.ts";
import { RelayTransport } from "./relay-transport.ts";
import type { Transport } from "./transport.ts";

/**
 * What a host does with the two kinds of channels that tunnels are made of: as the relay it joins one to another, as the
 * target it takes the link that comes out. All other channels are not its business.
 *
 * Neither is taken on a link that is relayed itself (K15): every tunnel has one hop, so it cannot run in a circle.
 */
export class RelayStation {
  readonly #options: RelayStationOptions;
  readonly #tunnels = new Set<Tunnel>();

  constructor(options: RelayStationOptions) {
    this.#options = options;
  }

  /** For metrics and tests. */
  get load(): RelayLoad {
    let waitingBytes = 0;
    for (const tunnel of this.#tunnels) waitingBytes += tunnel.waitingBytes;
    return { links: this.#tunnels.size, waitingBytes };
  }

  /** Undefined where it is a channel for somebody else. A throw refuses the channel. */
  channel(channel: Channel, purpose: string, head: unknown): ChannelHandlers | undefined {
    if (purpose !== relayPurpose && purpose !== relayedPurpose) return undefined;
    if (channel.link.through !== undefined)
      throw new StatefulError("hop_limit", "A link goes through one relay at most.");
    return purpose === relayPurpose ? this.#relay(channel, head) : this.#arrive(channel, head);
  }

  #relay(channel: Channel, head: unknown): ChannelHandlers {
    const { relayedLinksMax, direct } = this.#options;
    const relay = decodeRelayHead(head);
    if (relay.target === channel.link.peer.session)
      throw new StatefulError("bad_request", "A relay does not lead back to where it comes from.");
    if (this.#tunnels.size >= relayedLinksMax)
      throw new StatefulError("link_overloaded", `This host relays ${relayedLinksMax} links already.`);
    const tunnel = new Tunnel(channel, () => this.#tunnels.delete(tunnel));
    this.#tunnels.add(tunnel);
    void tunnel.connect(direct(relay.target), relay);
    return tunnel.fromDialer;
  }

  #arrive(channel: Channel, head: unknown): ChannelHandlers {
    const { heldBytesMax, admit, arrived } = this.#options;
    const claims = admit(decodeRelayedHead(head));
    if (claims instanceof StatefulError) throw claims;
    const transport = new RelayTransport(channel, heldBytesMax);
    transport.accept();
    arrived(claims, transport, channel.link);
    return {
      message: (_, kind, payload) => transport.received(kind, payload),
      closed: (_, error) => transport.closed(error),
    };
  }
}

export interface RelayStationOptions {
  readonly relayedLinksMax: number;
  readonly heldBytesMax: number;
  /** A direct link to a session, open or dialled now, never relayed. */
  direct(session: string): Promise<Link>;
  /** Judges the signed headers of a dial. */
  admit(headers: SignedHeaders): LinkClaims | StatefulError;
  /** A dial has come in through the peer of `via`. */
  arrived(claims: LinkClaims, transport: Transport, via: Link): void;
}

/** What a host does for others. */
export interface RelayLoad {
  readonly links: number;
  readonly waitingBytes: number;
}

/**
 * Messages that wait in one direction of a tunnel. A channel counts bytes, of which a message may have none. A window of the
 * smallest that a link sends, 256 KiB of 13 bytes each, is 20,165.
 */
const waitingMax = 65_536;

/** Two channels joined: what arrives on one leaves on the other, and counts as consumed only then (K16). */
class Tunnel {
  readonly fromDialer: ChannelHandlers;
  readonly #dialer: Channel;
  readonly #toDialer: RelayLane;
  readonly #over: () => void;
  #toTarget: RelayLane | undefined;
  #isOver = false;

  constructor(dialer: Channel, over: () => void) {
    this.#dialer = dialer;
    this.#over = over;
    this.#toDialer = new RelayLane(dialer, (error) => this.#ended(this.#toTarget, error));
    this.fromDialer = {
      message: (channel, kind, payload) => {
        if (this.#toTarget === undefined)
          throw new StatefulError("bad_request", "A dialer spoke before its tunnel was accepted.");
        pass(this.#toTarget, channel, kind, payload);
      },
      closed: (_, error) => {
        this.#toTarget?.end(error);
        this.#toDialer.drop();
      },
    };
  }

  get waitingBytes(): number {
    return this.#toDialer.waitingBytes + (this.#toTarget?.waitingBytes ?? 0);
  }

  async connect(direct: Promise<Link>, { headers }: RelayHead): Promise<void> {
    try {
      const link = await direct;
      if (!this.#dialer.isOpen) return;
      const target = link.open(relayedPurpose, encodeRelayedHead(headers), {
        message: (channel, kind, payload) => pass(this.#toDialer, channel, kind, payload),
        closed: (_, error) => {
          this.#toDialer.end(error);
          this.#toTarget?.drop();
        },
      });
      this.#toTarget = new RelayLane(target, (error) => this.#ended(this.#toDialer, error));
    } catch (thrown) {
      this.#toDialer.end(asStatefulError(thrown));
    }
  }

  /** One direction is over. An error is one that only this direction knows of. */
  #ended(other: RelayLane | undefined, error: StatefulError | undefined): void {
    if (error !== undefined) other?.end(error);
    if (this.#isOver || this.#dialer.isOpen || this.#toTarget?.isOver === false) return;
    this.#isOver = true;
    this.#over();
  }
}

function pass(lane: RelayLane, from: Channel, kind: number, payload: Uint8Array | string): void {
  if (lane.waitingCount >= waitingMax)
    throw new StatefulError("backpressure", `${waitingMax} messages wait in a tunnel already.`);
  lane.put(kind, payload, () => from.consumed(payload.length));
}
