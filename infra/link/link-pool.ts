import type { Clock } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Link, LinkHandlers, LinkPeer, LinkPool, LinkTarget } from "./link.ts";
import type { LinkingHost, LinkWay } from "./link-attempt.ts";
import type { LinkConnection } from "./link-connection.ts";
import { type LinkLimits, linkLimits } from "./link-limits.ts";
import type { LinkClaims, LinkSecret } from "./link-secret.ts";
import { PeerLinks } from "./peer-links.ts";
import { RelaySearch } from "./relay-search.ts";
import { type RelayLoad, RelayStation } from "./relay-station.ts";
import { openTunnel } from "./relay-transport.ts";
import type { Transport } from "./transport.ts";
import { type Dial, dialWebSocket, type ServerSocket, ServerSocketTransport } from "./websocket-transport.ts";

/** Where a host accepts links. */
export const linkPath = "/-/link";

export interface LinkPoolOptions {
  /** Who this host is now. Its session may change; call `sessionChanged` when it does. */
  self(): LinkPeer;
  readonly secret: LinkSecret;
  readonly handlers: LinkHandlers;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<LinkLimits>;
  /**
   * The hosts that are alive, as far as this one knows, itself included or not. They may be asked to relay (K15), and those who
   * ask this one may be led to them. Without it links are direct.
   */
  readonly hosts?: () => readonly LinkTarget[];
  /** From 0 up to 1, for the jitter of the back-off. */
  readonly random?: () => number;
  /** How a transport is opened; a WebSocket unless a test has a network of its own. */
  readonly dial?: Dial;
  /** Puts something between a link and its transport, at this end: distance, in `apps/dev`. */
  readonly wrap?: (transport: Transport, peer: LinkPeer) => Transport;
  /** When to send what was sent in one turn; see README.md for the measurement behind the default. */
  readonly nextTurn?: (flush: () => void) => void;
}

/** The links of one host: those it dials, and those that `accept` lets in. */
export class HostLinkPool implements LinkPool {
  readonly limits: LinkLimits;
  readonly #options: LinkPoolOptions;
  readonly #host: LinkingHost;
  readonly #relays: RelaySearch;
  readonly #station: RelayStation;
  readonly #peers = new Map<string, PeerLinks>();
  /** Every connection whose transport has not closed yet. */
  readonly #connections = new Set<LinkConnection>();
  #ownSession: string;
  #dials = 0;
  #isClosed = false;
  #allGone: PromiseWithResolvers<void> | undefined;

  constructor(options: LinkPoolOptions) {
    this.#options = options;
    this.limits = linkLimits(options.limits);
    this.#ownSession = options.self().session;
    this.#host = this.#asHost();
    this.#relays = new RelaySearch({
      limits: this.limits,
      hosts: options.hosts ?? (() => []),
      isSelf: (session) => session === this.#ownSession,
      peer: (session) => this.#peers.get(session),
      through: (host, relay) => this.#peer(host.session).connect(host, this.#wayThrough(host, relay)),
    });
    this.#station = this.#newStation();
  }

  async to(host: LinkTarget): Promise<Link> {
    const peer = this.#peer(host.session);
    try {
      return await peer.connect(host);
    } catch (thrown) {
      const error = asStatefulError(thrown);
      if (error.code !== "owner_unreachable" || this.#isClosed) throw error;
      return this.#relays.to(host, error);
    }
  }

  peek(session: string): Link | undefined {
    const peer = this.#peers.get(session);
    // A channel that the peer has opened since keeps the link, and what is said on it may count on those that come before.
    return peer?.isReplacing && !peer.isInUse ? undefined : peer?.link;
  }

  *links(): Iterable<Link> {
    for (const peer of this.#peers.values()) {
      if (peer.link !== undefined) yield peer.link;
    }
  }

  /** What this host relays for others. */
  get relayed(): RelayLoad {
    return this.#station.load;
  }

  retain(sessions: ReadonlySet<string>): void {
    for (const peer of [...this.#peers.values()]) {
      if (sessions.has(peer.session)) continue;
      if (!peer.isIdle && peer.openForMs < this.limits.retainGraceMs) continue;
      peer.close(new StatefulError("outcome_unknown", `Session ${peer.session} is over.`));
      this.#peers.delete(peer.session);
    }
  }

  /** Closes what the previous session of this host had linked. Also noticed by itself at the next `to` or `accept`. */
  sessionChanged(): void {
    this.#currentSelf();
  }

  /**
   * Judges an upgrade request to `/-/link`. What it answers goes into the socket's `data`, and gets that socket's events;
   * an error goes back as its problem document.
   */
  accept(request: Request): LinkSocket | StatefulError {
    const claims = this.#admit(request.headers);
    if (claims instanceof StatefulError) return claims;
    return new LinkSocket((transport) => this.#offered(claims, transport));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closeAll(new StatefulError("host_draining", "This host is going away."));
    if (this.#connections.size === 0) return;
    this.#allGone ??= Promise.withResolvers<void>();
    await this.#allGone.promise;
  }

  #admit(headers: Pick<Headers, "get">): LinkClaims | StatefulError {
    if (this.#isClosed) return new StatefulError("host_draining", "This host is going away.");
    const self = this.#currentSelf();
    const claims = this.#options.secret.verify(headers, self);
    if (claims instanceof StatefulError) {
      this.#options.log.warn("link.refused", { error: claims });
      return claims;
    }
    if (claims.session === self.session)
      return new StatefulError("bad_request", "A host does not link to itself.");
    if (!this.#peers.has(claims.session) && this.#isFull()) {
      return new StatefulError("host_full", `This host has its ${this.limits.linksMax} links.`);
    }
    return claims;
  }

  #offered(claims: LinkClaims, transport: Transport, through?: LinkPeer): void {
    const self = this.#currentSelf();
    const peer = this.#peers.get(claims.session) ?? this.#newPeer(claims.session, self);
    // Between the request and its socket this host may have closed, filled up, or become another session.
    if (peer === undefined || this.#isClosed || claims.target !== self.session) transport.close();
    else peer.offered(claims, transport, through);
  }

  /** @throws StatefulError `owner_unreachable` where there can be no link at all. */
  #peer(session: string): PeerLinks {
    if (this.#isClosed) throw unreachable(session, "this host is going away");
    const self = this.#currentSelf();
    if (session === self.session) throw unreachable(session, "it is this host itself");
    const peer = this.#peers.get(session) ?? this.#newPeer(session, self);
    if (peer === undefined) throw unreachable(session, `this host has its ${this.limits.linksMax} links`);
    return peer;
  }

  #currentSelf(): LinkPeer {
    const self = this.#options.self();
    if (self.session !== this.#ownSession) {
      const old = this.#ownSession;
      this.#ownSession = self.session;
      this.#closeAll(new StatefulError("session_over", `Session ${old} of host ${self.hostId} is over.`));
    }
    return self;
  }

  #closeAll(error: StatefulError): void {
    const peers = [...this.#peers.values()];
    this.#peers.clear();
    for (const peer of peers) peer.close(error);
  }

  #newPeer(session: string, self: LinkPeer): PeerLinks | undefined {
    if (this.#isFull()) return undefined;
    const { session: ownSession, hostId, region } = self;
    const peer = new PeerLinks(session, { session: ownSession, hostId, region }, this.#host);
    this.#peers.set(session, peer);
    return peer;
  }

  #isFull(): boolean {
    if (this.#peers.size < this.limits.linksMax) return false;
    let busy = 0;
    for (const peer of this.#peers.values()) if (!peer.isIdle) busy += 1;
    return busy >= this.limits.linksMax;
  }

  /**
   * Keeps a peer that could not be dialled, as long as there are few: forgetting one only lets it be dialled early. Also once
   * its back-off has passed, as it may while relays are asked: the next is twice as long.
   */
  #idle(peer: PeerLinks): void {
    if (this.#peers.get(peer.session) !== peer) return;
    this.#peers.delete(peer.session);
    if (!peer.hasFailedDials) return;
    this.#peers.set(peer.session, peer);
    let idle = 0;
    for (const each of this.#peers.values()) if (each.isIdle) idle += 1;
    for (const each of this.#peers.values()) {
      if (idle <= this.limits.backoffsMax) break;
      if (!each.isIdle) continue;
      this.#peers.delete(each.session);
      idle -= 1;
    }
  }

  #asHost(): LinkingHost {
    const { secret, handlers, clock, log, wrap, nextTurn, random } = this.#options;
    return {
      ...{ secret, clock, log, limits: this.limits, versions: secret.versions },
      handlers: {
        channel: (channel, purpose, head) =>
          this.#station.channel(channel, purpose, head) ?? handlers.channel(channel, purpose, head),
        post: (link, kind, payload) => handlers.post(link, kind, payload),
        opened: (link) => handlers.opened?.(link),
        closed: (link) => handlers.closed?.(link),
      },
      nextTurn: nextTurn ?? setImmediate,
      random: random ?? Math.random,
      wrap: wrap ?? ((transport) => transport),
      direct: (host) => this.#wayTo(host),
      countDial: () => ++this.#dials,
      dialCount: () => this.#dials,
      begun: (connection) => this.#connections.add(connection),
      gone: (connection) => {
        this.#connections.delete(connection);
        if (this.#connections.size === 0) this.#allGone?.resolve();
      },
      idle: (peer) => this.#idle(peer),
    };
  }

  // Relays

  #wayTo(host: LinkTarget): LinkWay {
    const { linkDialTimeoutMs, relayAfterMs } = this.limits;
    const hasRelays = this.#relays.candidates(host).length > 0;
    return {
      through: undefined,
      timeoutMs: hasRelays ? Math.min(linkDialTimeoutMs, relayAfterMs) : linkDialTimeoutMs,
      dial: (headers, signal) =>
        (this.#options.dial ?? dialWebSocket)(linkUrl(host.privateUrl), headers, signal),
    };
  }

  #wayThrough({ session }: LinkTarget, relay: LinkTarget): LinkWay {
    return {
      through: { session: relay.session, hostId: relay.hostId, region: relay.region },
      timeoutMs: this.limits.relayDialTimeoutMs,
      dial: async (headers, signal) => {
        const link = await this.#relay(relay);
        const head = { target: session, headers: new Map(Object.entries(headers())) };
        return openTunnel(link, head, signal, this.limits.linkQueueBytes);
      },
    };
  }

  /** What a tunnel may use: a relay is never asked through another. */
  async #direct(host: LinkTarget): Promise<Link> {
    const link = await this.#peer(host.session).connect(host);
    if (link.through === undefined) return link;
    throw unreachable(host.session, "it is linked only through another host");
  }

  /** Whatever keeps a relay from being reached, the end of its session included, says nothing of the target. */
  async #relay(host: LinkTarget): Promise<Link> {
    try {
      return await this.#direct(host);
    } catch (thrown) {
      const cause = asStatefulError(thrown);
      throw new StatefulError("owner_unreachable", cause.message, { cause });
    }
  }

  #newStation(): RelayStation {
    const { relayedLinksMax, linkQueueBytes } = this.limits;
    return new RelayStation({
      relayedLinksMax,
      heldBytesMax: linkQueueBytes,
      direct: async (session) => {
        const known = this.#peers.get(session)?.link;
        if (known !== undefined && known.through === undefined) return known;
        const host = this.#options.hosts?.().find((each) => each.session === session);
        if (host === undefined) throw unreachable(session, "the relay does not know it");
        return this.#direct(host);
      },
      admit: (headers) => this.#admit({ get: (name) => headers.get(name) ?? null }),
      arrived: (claims, transport, via) => this.#offered(claims, transport, via.peer),
    });
  }
}

/**
 * The `data` of an accepted socket. Bun has one handler object for all sockets of a server; it calls these with the
 * events of this one. Such a server needs a `maxPayloadLength` of at least `transportMessageBytesMax` and a
 * `backpressureLimit` of at least `socketBufferBytesMax`.
 */
export class LinkSocket {
  readonly kind = "link";
  readonly #opened: (transport: Transport) => void;
  #transport: ServerSocketTransport | undefined;

  constructor(opened: (transport: Transport) => void) {
    this.#opened = opened;
  }

  open(socket: ServerSocket): void {
    this.#transport = new ServerSocketTransport(socket);
    this.#opened(this.#transport);
  }

  message(message: string | Uint8Array): void {
    this.#transport?.received(message);
  }

  drain(): void {
    this.#transport?.drained();
  }

  close(code: number, reason: string): void {
    this.#transport?.closed(code, reason);
  }
}

function unreachable(session: string, why: string): StatefulError {
  return new StatefulError("owner_unreachable", `Session ${session} cannot be linked: ${why}.`);
}

function linkUrl(privateUrl: string): string {
  return `${privateUrl.replace(/\/+$/, "")}${linkPath}`;
}
