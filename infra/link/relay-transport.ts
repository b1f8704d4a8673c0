import { StatefulError } from "../lib/errors.ts";
import { Inbox } from "./inbox.ts";
import type { Channel, ChannelHandlers, Link } from "./link.ts";
import { RelayLane } from "./relay-lane.ts";
import { encodeRelayHead, type RelayHead, relayPurpose, tunnelKind } from "./relay-protocol.ts";
import type { Transport, TransportHandlers } from "./transport.ts";

/**
 * One end of a tunnel: a transport whose messages travel as those of a channel to the relay.
 *
 * A link that runs over it is an ordinary link: one order for all its channels and posts, its own heartbeats from end to end,
 * its own windows. That is why channels are not relayed one by one: each hop would keep its own order per channel, and a
 * marker on one channel could overtake what it marks on another (K1).
 */
export class RelayTransport implements Transport {
  readonly #channel: Channel;
  readonly #lane: RelayLane;
  readonly #heldBytesMax: number;
  readonly #inbox = new Inbox(() => this.abort());
  #isClosing = false;

  /** `heldBytesMax` bounds what waits for the relay, should a peer grant windows beyond all reason. */
  constructor(channel: Channel, heldBytesMax: number) {
    this.#channel = channel;
    this.#heldBytesMax = heldBytesMax;
    this.#lane = new RelayLane(channel, (error) => this.#inbox.closed(error?.message ?? "the tunnel ended"));
  }

  start(handlers: TransportHandlers): void {
    this.#inbox.start(handlers);
  }

  send(message: Uint8Array): boolean {
    if (!this.#inbox.isOpen || this.#isClosing) return false;
    if (this.#lane.waitingBytes > this.#heldBytesMax) return false;
    this.#lane.put(tunnelKind.message, new Uint8Array(message));
    return true;
  }

  close(): void {
    this.#isClosing = true;
    this.#lane.end();
  }

  abort(): void {
    this.#isClosing = true;
    this.#channel.close(new StatefulError("outcome_unknown", "The relayed link was given up."));
    this.#lane.drop();
  }

  /** Before any other message. */
  accept(): void {
    this.#lane.put(tunnelKind.accepted, empty);
  }

  /** From the channel. */
  received(kind: number, payload: Uint8Array | string): void {
    this.#channel.consumed(payload.length);
    // A message of a kind that this version does not know is none of the link's.
    if (kind === tunnelKind.message) this.#inbox.message(payload);
  }

  /** From the channel. */
  closed(error: StatefulError | undefined): void {
    this.#inbox.closed(
      error === undefined ? "the peer closed the tunnel" : `the tunnel ended: ${error.message}`,
    );
    this.#lane.drop();
  }
}

const empty = new Uint8Array(0);

/** Dials through a relay. Rejects with what the relay or the target said, where one of them refused. */
export function openTunnel(
  link: Link,
  head: RelayHead,
  signal: AbortSignal,
  heldBytesMax: number,
): Promise<Transport> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) throw givenUp();
    const dial = new TunnelDial(resolve, reject, heldBytesMax);
    dial.begin(link.open(relayPurpose, encodeRelayHead(head), dial), signal);
  });
}

class TunnelDial implements ChannelHandlers {
  readonly #resolve: (transport: Transport) => void;
  readonly #reject: (error: StatefulError) => void;
  readonly #heldBytesMax: number;
  #transport: RelayTransport | undefined;

  constructor(
    resolve: (transport: Transport) => void,
    reject: (error: StatefulError) => void,
    heldBytesMax: number,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#heldBytesMax = heldBytesMax;
  }

  begin(channel: Channel, signal: AbortSignal): void {
    signal.addEventListener("abort", () => this.#giveUp(channel), { once: true });
  }

  message(channel: Channel, kind: number, payload: Uint8Array | string): void {
    if (this.#transport !== undefined) return this.#transport.received(kind, payload);
    if (kind !== tunnelKind.accepted)
      throw new StatefulError("bad_request", "A tunnel spoke before it was accepted.");
    channel.consumed(payload.length);
    this.#transport = new RelayTransport(channel, this.#heldBytesMax);
    this.#resolve(this.#transport);
  }

  closed(_: Channel, error: StatefulError | undefined): void {
    this.#transport?.closed(error);
    this.#reject(error ?? new StatefulError("owner_unreachable", "The relay closed the tunnel."));
  }

  #giveUp(channel: Channel): void {
    if (this.#transport !== undefined) return; // whoever has it closes it
    this.#reject(givenUp());
    channel.close(givenUp());
  }
}

function givenUp(): StatefulError {
  return new StatefulError("owner_unreachable", "The dial through a relay was given up.");
}
