import type { Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Link, LinkHandlers, LinkPeer, LinkPool, LinkTarget } from "./link.ts";
import type { LinkConnection } from "./link-connection.ts";
import { type LinkLimits, linkLimits } from "./link-limits.ts";
import type { LinkClaims, LinkSecret } from "./link-secret.ts";
import { type LinkingHost, PeerLinks } from "./peer-links.ts";
import type { Transport } from "./transport.ts";
import { type Dial, dialWebSocket, type ServerSocket, ServerSocketTransport } from "./websocket-transport.ts";

export interface LinkPoolOptions {
  /** Who this host is now. Its session may change; call `sessionChanged` when it does. */
  self(): LinkPeer;
  readonly secret: LinkSecret;
  readonly handlers: LinkHandlers;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<LinkLimits>;
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
  }

  async to(host: LinkTarget): Promise<Link> {
    if (this.#isClosed) throw unreachable(host.session, "this host is going away");
    const self = this.#currentSelf();
    if (host.session === self.session) throw unreachable(host.session, "it is this host itself");
    const peer = this.#peers.get(host.session) ?? this.#newPeer(host.session, self);
    if (peer === undefined)
      throw unreachable(host.session, `this host has its ${this.limits.linksMax} links`);
    return peer.connect(host);
  }

  peek(session: string): Link | undefined {
    return this.#peers.get(session)?.link;
  }

  *links(): Iterable<Link> {
    for (const peer of this.#peers.values()) {
      if (peer.link !== undefined) yield peer.link;
    }
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
    if (this.#isClosed) return new StatefulError("host_draining", "This host is going away.");
    const self = this.#currentSelf();
    const claims = this.#options.secret.verify(request.headers, self);
    if (claims instanceof StatefulError) {
      this.#options.log.warn("link.refused", { error: claims });
      return claims;
    }
    if (claims.session === self.session)
      return new StatefulError("bad_request", "A host does not link to itself.");
    if (!this.#peers.has(claims.session) && this.#isFull()) {
      return new StatefulError("host_full", `This host has its ${this.limits.linksMax} links.`);
    }
    return new LinkSocket((transport) => this.#offered(claims, transport));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closeAll(new StatefulError("host_draining", "This host is going away."));
    if (this.#connections.size === 0) return;
    this.#allGone ??= Promise.withResolvers<void>();
    await this.#allGone.promise;
  }

  #offered(claims: LinkClaims, transport: Transport): void {
    const self = this.#currentSelf();
    const peer = this.#peers.get(claims.session) ?? this.#newPeer(claims.session, self);
    // Between the request and its socket this host may have closed, filled up, or become another session.
    if (peer === undefined || this.#isClosed || claims.target !== self.session) transport.close();
    else peer.offered(claims, transport);
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

  /** Keeps a peer that backs off, as long as there are few: forgetting one only lets it be dialled early. */
  #idle(peer: PeerLinks): void {
    if (this.#peers.get(peer.session) !== peer) return;
    this.#peers.delete(peer.session);
    if (!peer.isBackingOff) return;
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
    const { secret, handlers, clock, log, dial, wrap, nextTurn, random } = this.#options;
    return {
      ...{ secret, handlers, clock, log, limits: this.limits },
      dial: dial ?? dialWebSocket,
      nextTurn: nextTurn ?? setImmediate,
      random: random ?? Math.random,
      wrap: wrap ?? ((transport) => transport),
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
