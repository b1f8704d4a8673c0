import type { CancelTimer } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import { Backoff } from "./backoff.ts";
import type { Hello } from "./frame.ts";
import type { Link, LinkPeer, LinkTarget } from "./link.ts";
import {
  type Attempt,
  checkPeer,
  dialError,
  helloFrom,
  type LinkingHost,
  type LinkWay,
  type OpenLink,
} from "./link-attempt.ts";
import { LinkConnection } from "./link-connection.ts";
import { limitsThrough } from "./link-limits.ts";
import type { LinkClaims } from "./link-secret.ts";
import type { Transport } from "./transport.ts";

/**
 * All there is between this host's session and one other: the open link, or the attempts at one.
 *
 * Both hosts may dial at the same moment. Two links would be worse than none: what one carries is in order, what two
 * carry is not, and a marker that ends a stream would overtake it. So a second link is never opened and then closed;
 * the choice is made before, at the greeting (K9):
 *
 * - A link is open once both sides have sent their hello on it. The acceptor may hold its hello back.
 * - The host with the lower session id, while its own dial is under way, holds back its hello on the other's dial: its own
 *   wins if it opens, and if it fails the held one is greeted. The host with the higher id greets at once, and gives up its
 *   own dial when the other's opens.
 * - A host dials only while it has no link. So a dial from a peer that we believe linked proves the old link dead over
 *   there, and the new one replaces it. Except that the dial may have begun before that link opened, and arrive late.
 *   Therefore hosts count their dials, put the number into the signed claims, and tell in the hello how many they had
 *   begun: a dial with a number no higher than that is such a late one, and is refused.
 *
 * A link may lead through a relay (K15). It is made by the same greeting, and the same rules decide about it. But while it is
 * open the host that dialled it tries the direct way now and then, with a dial that says in its claims that it *spares* the
 * relayed link. Such a dial proves nothing dead, and must not end a channel (K17):
 *
 * - The dialer sends its hello only while no channel is open on the relayed link, and then opens none before it has an answer.
 * - The acceptor sends its own only after that, and refuses if for it a channel is still open. So where both hellos come,
 *   nothing is under way on the relayed link, and it is replaced like a dead one.
 */
export class PeerLinks {
  readonly session: string;
  readonly #host: LinkingHost;
  readonly #self: LinkPeer;
  #link: OpenLink | undefined;
  #dial: Attempt | undefined;
  #incoming: Attempt | undefined;
  /** What all callers of `connect` wait for together. */
  #waiting: PromiseWithResolvers<Link> | undefined;
  /** After direct dials. */
  readonly #backoff: Backoff;
  /** No relay led there since the last direct dial failed. */
  relaysFailed = false;
  /** The host id of the last link's relay. */
  #lastRelay: string | undefined;
  #cancelProbe: CancelTimer | undefined;

  constructor(session: string, self: LinkPeer, host: LinkingHost) {
    this.session = session;
    this.#self = self;
    this.#host = host;
    this.#backoff = new Backoff(host);
  }

  get link(): LinkConnection | undefined {
    return this.#link?.connection;
  }

  get isIdle(): boolean {
    return this.#link === undefined && this.#dial === undefined && this.#incoming === undefined;
  }

  get isBackingOff(): boolean {
    return this.#backoff.remainingMs > 0;
  }

  get hasFailedDials(): boolean {
    return this.#backoff.failures > 0;
  }

  get openForMs(): number {
    return this.#link === undefined ? 0 : this.#host.clock.monotonicMs() - this.#link.openedAtMs;
  }

  /** The open link, or the outcome of what is under way, or that of a dial: the direct one unless a way is given. */
  connect(target: LinkTarget, way?: LinkWay): Promise<Link> {
    if (this.#link !== undefined && !this.isReplacing) return Promise.resolve(this.#link.connection);
    if (this.#waiting !== undefined) return this.#waiting.promise;
    if (way === undefined && this.isIdle && this.isBackingOff) return Promise.reject(this.#stillBackingOff());
    this.#waiting = Promise.withResolvers<Link>();
    const { promise } = this.#waiting;
    if (this.isIdle) this.#startDial(target, way ?? this.#host.direct(target), false);
    return promise;
  }

  /** An authenticated peer has opened a socket to us. */
  offered(claims: LinkClaims, transport: Transport, through?: LinkPeer): void {
    if (this.#isLate(claims.dial)) {
      transport.close();
      return;
    }
    const { session, hostId, region } = claims;
    const attempt: Attempt = {
      ...{ number: claims.dial, through, timeoutMs: this.#host.limits.linkDialTimeoutMs },
      ...{ target: undefined, abort: undefined, connection: undefined, cancelLimit: undefined },
      spares: claims.spares === true,
    };
    const replaced = this.#incoming;
    this.#incoming = attempt;
    if (replaced !== undefined) this.#stop(replaced, "the peer dialled again");
    this.#connection(
      attempt,
      transport,
      "acceptor",
      { session, hostId, region },
      (hello) => checkPeer(hello, claims.session) ?? this.#stillSpared(attempt),
    );
    attempt.greeting = this.#hello(this.#host.secret.prove(claims), through);
    this.#limit(attempt, "the peer's hello");
    if (!this.#holdsBack) this.#greetIncoming();
  }

  close(error: StatefulError): void {
    this.#cancelProbe?.();
    const attempts = [this.#dial, this.#incoming];
    const { connection } = this.#link ?? {};
    this.#dial = undefined;
    this.#incoming = undefined;
    for (const attempt of attempts) if (attempt !== undefined) this.#stop(attempt, error.message);
    connection?.close(error);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** Our own dial may still open, and would be the link. */
  get #holdsBack(): boolean {
    return this.#dial !== undefined && this.#self.session < this.session;
  }

  #isLate(dial: number): boolean {
    if (this.#link !== undefined) return dial <= this.#link.peerDials;
    return this.#incoming !== undefined && dial < this.#incoming.number;
  }

  // Dialling

  #startDial(target: LinkTarget, way: LinkWay, spares: boolean): void {
    const { secret } = this.#host;
    const abort = new AbortController();
    const dial: Attempt = {
      ...{ number: this.#host.countDial(), through: way.through, timeoutMs: way.timeoutMs },
      ...{ target, abort, connection: undefined, cancelLimit: undefined, spares },
    };
    const nonces: string[] = [];
    const headers = () => {
      const signed = secret.sign(this.#self, target.session, dial.number, spares);
      nonces.push(signed.nonce);
      return signed.headers;
    };
    const check = (hello: Hello) => {
      if (nonces.some((nonce) => secret.isProof(hello.proof, nonce, target.session)))
        return checkPeer(hello, target.session);
      return new StatefulError(
        "unauthorized",
        `${target.privateUrl} did not prove that it has this cluster's secret.`,
      );
    };
    this.#dial = dial;
    this.#limit(dial, "a hello");
    way.dial(headers, abort.signal).then(
      (transport) => this.#dialled(dial, target, transport, check),
      (error: unknown) => this.#over(dial, asStatefulError(error, "owner_unreachable")),
    );
  }

  #dialled(
    dial: Attempt,
    target: LinkTarget,
    transport: Transport,
    check: (hello: Hello) => StatefulError | undefined,
  ): void {
    if (this.#dial !== dial) {
      transport.abort();
      return;
    }
    const { session, hostId, region } = target;
    this.#connection(dial, transport, "dialer", { session, hostId, region }, check);
    if (dial.spares) this.#greetWhenUnused();
    // Ended before it began, and the dial with it, where what it had received was not a hello.
    else dial.connection?.greet(this.#hello("", dial.through));
  }

  #dialFailed(dial: Attempt, error: StatefulError): void {
    const { log } = this.#host;
    if (dial.through === undefined) {
      const pauseMs = this.#backoff.failed(error);
      this.relaysFailed = false;
      // While the link is relayed, that has been said.
      const level = this.#link === undefined ? "warn" : "debug";
      log[level]("link.dial_failed", {
        session: this.session,
        failures: this.#backoff.failures,
        pauseMs,
        error,
      });
    } else log.debug("link.relay_failed", { session: this.session, through: dial.through.hostId, error });
    this.#greetIncoming();
  }

  #stillBackingOff(): StatefulError {
    const { error, remainingMs } = this.#backoff;
    return new StatefulError(
      error?.code ?? "owner_unreachable",
      error?.message ?? `Session ${this.session} is not linked.`,
      { cause: error, retryAfterMs: remainingMs },
    );
  }

  // From a relayed link to a direct one

  /** The dialer of the relayed link does it: one side is enough, and two would cross. */
  #probeLater(): void {
    this.#cancelProbe?.();
    const { attempt } = this.#link ?? {};
    if (attempt?.through === undefined || attempt.target === undefined) return;
    const { clock, limits } = this.#host;
    const pauseMs = Math.max(this.#backoff.remainingMs, limits.backoffMinMs);
    const { target } = attempt;
    this.#cancelProbe = clock.after(pauseMs, () => this.#probe(target));
  }

  #probe(target: LinkTarget): void {
    if (this.#dial !== undefined || this.#incoming !== undefined) this.#probeLater();
    else this.#startDial(target, this.#host.direct(target), true);
  }

  /** On a turn of its own: whoever was given the relayed link a moment ago has opened a channel by then. */
  #greetWhenUnused(): void {
    const dial = this.#dial;
    if (dial?.spares !== true || dial.connection === undefined) return;
    this.#host.nextTurn(() => {
      if (this.#dial !== dial || !dial.spares || this.isInUse) return;
      dial.spares = false;
      this.#limit(dial, "a hello");
      dial.connection?.greet(this.#hello("", undefined));
    });
  }

  /** The dialer has greeted, so for it nothing is under way on the relayed link. What about this side? */
  #stillSpared(attempt: Attempt): StatefulError | undefined {
    if (!attempt.spares) return undefined;
    if (this.isInUse) return new StatefulError("link_overloaded", "The relayed link is in use.");
    attempt.spares = false;
    if (!this.#holdsBack) this.#greetIncoming();
    return undefined;
  }

  get isInUse(): boolean {
    return this.#link !== undefined && this.#link.connection.channelCount > 0;
  }

  /** Our dial has greeted while the old link is still there: nothing may be begun on that one. */
  get isReplacing(): boolean {
    return this.#dial !== undefined && !this.#dial.spares;
  }

  // Both ways

  #connection(
    attempt: Attempt,
    transport: Transport,
    side: "dialer" | "acceptor",
    peer: LinkPeer,
    checkHello: (hello: Hello) => StatefulError | undefined,
  ): void {
    const { handlers, versions, clock, log, nextTurn } = this.#host;
    const { through } = attempt;
    const connection = new LinkConnection({
      ...{ side, peer, through, handlers, versions, clock, log, nextTurn, checkHello },
      // What is relayed has come the whole distance already.
      transport: through === undefined ? this.#host.wrap(transport, peer) : transport,
      limits: limitsThrough(this.#host.limits, through),
      opened: (opened, hello) => this.#adopt(attempt, opened, hello),
      unused: () => this.#greetWhenUnused(),
      ended: (_, error) => this.#over(attempt, error),
      gone: (gone) => this.#host.gone(gone),
    });
    if (connection.isOver) return;
    attempt.connection = connection;
    this.#host.begun(connection);
  }

  #hello(proof: string, through: LinkPeer | undefined): Hello {
    const { limits, versions, dialCount } = this.#host;
    return helloFrom({ versions, limits: limitsThrough(limits, through) }, this.#self, proof, dialCount());
  }

  #greetIncoming(): void {
    const incoming = this.#incoming;
    if (incoming?.greeting === undefined || incoming.spares) return;
    const { greeting } = incoming;
    incoming.greeting = undefined;
    this.#limit(incoming, "the peer's hello");
    incoming.connection?.greet({ ...greeting, dials: this.#host.dialCount() });
  }

  #limit(attempt: Attempt, what: string): void {
    const { timeoutMs } = attempt;
    attempt.cancelLimit?.();
    attempt.cancelLimit = this.#host.clock.after(timeoutMs, () => {
      const why = `no link to session ${this.session}: ${what} did not come within ${timeoutMs} ms`;
      this.#over(attempt, new StatefulError("owner_unreachable", why));
      this.#stop(attempt, why);
    });
  }

  #adopt(attempt: Attempt, connection: LinkConnection, hello: Hello): void {
    const previous = this.#link;
    const losers = [this.#dial, this.#incoming].filter((each) => each !== undefined && each !== attempt);
    attempt.cancelLimit?.();
    this.#dial = undefined;
    this.#incoming = undefined;
    if (attempt.through === undefined) this.#backoff.succeeded();
    this.relaysFailed = false;
    this.#link = { attempt, connection, peerDials: hello.dials, openedAtMs: this.#host.clock.monotonicMs() };
    for (const loser of losers) if (loser !== undefined) this.#stop(loser, "the other link opened first");
    if (previous !== undefined) this.#supersede(previous);
    this.#host.log.info("link.opened", { peer: connection.peer });
    this.#noteWay(connection);
    this.#tell(() => this.#host.handlers.opened?.(connection));
    this.#settle(connection);
  }

  #settle(connection: LinkConnection): void {
    this.#waiting?.resolve(connection);
    this.#waiting = undefined;
    this.#probeLater();
  }

  #noteWay({ peer, through }: LinkConnection): void {
    if (this.#lastRelay === through?.hostId) return;
    this.#lastRelay = through?.hostId;
    if (through === undefined) this.#host.log.info("link.direct", { host: peer.hostId });
    else this.#host.log.info("link.relayed", { host: peer.hostId, through: through.hostId });
  }

  /** Its channels hear of it before anything of the new link. */
  #supersede({ connection }: OpenLink): void {
    connection.close(
      new StatefulError(
        "outcome_unknown",
        `Host ${connection.peer.hostId} linked anew: the old link was lost.`,
      ),
    );
    this.#tell(() => this.#host.handlers.closed?.(connection));
  }

  #over(attempt: Attempt, error: StatefulError): void {
    attempt.cancelLimit?.();
    if (this.#link?.attempt === attempt) this.#linkEnded(this.#link.connection, error);
    if (this.#incoming === attempt) this.#incoming = undefined;
    if (this.#dial === attempt) {
      this.#dial = undefined;
      this.#dialFailed(attempt, dialError(error, this.session));
      // The direct way is not there yet, or the relayed link was in use.
      if (this.#link !== undefined) this.#settle(this.#link.connection);
    }
    if (!this.isIdle) return;
    this.#waiting?.reject(dialError(error, this.session));
    this.#waiting = undefined;
    this.#host.idle(this);
  }

  #linkEnded(connection: LinkConnection, error: StatefulError): void {
    this.#link = undefined;
    this.#cancelProbe?.();
    // A dial that spared it need not wait any longer.
    this.#greetWhenUnused();
    this.#host.log.info("link.closed", { peer: connection.peer, error });
    this.#tell(() => this.#host.handlers.closed?.(connection));
  }

  /** A handler that throws must not pass for a failure of the link. */
  #tell(handler: () => void): void {
    try {
      handler();
    } catch (thrown) {
      this.#host.log.error("link.handler_failed", { session: this.session, thrown });
    }
  }

  #stop(attempt: Attempt, why: string): void {
    attempt.cancelLimit?.();
    attempt.abort?.abort();
    attempt.connection?.close(new StatefulError("owner_unreachable", `Not linked: ${why}.`));
  }
}
