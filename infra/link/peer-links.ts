import type { CancelTimer, Clock } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type Hello, linkProtocolVersion } from "./frame.ts";
import type { Link, LinkHandlers, LinkPeer, LinkTarget } from "./link.ts";
import { LinkConnection } from "./link-connection.ts";
import type { LinkLimits } from "./link-limits.ts";
import type { LinkClaims, LinkSecret } from "./link-secret.ts";
import type { Transport } from "./transport.ts";
import type { Dial } from "./websocket-transport.ts";

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
  #backoff: Backoff | undefined;

  constructor(session: string, self: LinkPeer, host: LinkingHost) {
    this.session = session;
    this.#self = self;
    this.#host = host;
  }

  get link(): LinkConnection | undefined {
    return this.#link?.connection;
  }

  get isIdle(): boolean {
    return this.#link === undefined && this.#dial === undefined && this.#incoming === undefined;
  }

  get isBackingOff(): boolean {
    return this.#backoff !== undefined && this.#backoff.untilMs > this.#host.clock.monotonicMs();
  }

  get openForMs(): number {
    return this.#link === undefined ? 0 : this.#host.clock.monotonicMs() - this.#link.openedAtMs;
  }

  connect(target: LinkTarget): Promise<Link> {
    if (this.#link !== undefined) return Promise.resolve(this.#link.connection);
    if (this.#waiting !== undefined) return this.#waiting.promise;
    if (this.isIdle && this.isBackingOff) return Promise.reject(this.#stillBackingOff());
    this.#waiting = Promise.withResolvers<Link>();
    const { promise } = this.#waiting;
    if (this.isIdle) this.#startDial(target);
    return promise;
  }

  /** An authenticated peer has opened a socket to us. */
  offered(claims: LinkClaims, transport: Transport): void {
    if (this.#isLate(claims.dial)) {
      transport.close();
      return;
    }
    const { session, hostId, region } = claims;
    const attempt: Attempt = {
      number: claims.dial,
      cancelLimit: undefined,
      connection: undefined,
      abort: undefined,
    };
    const replaced = this.#incoming;
    this.#incoming = attempt;
    if (replaced !== undefined) this.#stop(replaced, "the peer dialled again");
    const isHeld = this.#dial !== undefined && this.#self.session < this.session;
    this.#connection(attempt, transport, "acceptor", { session, hostId, region }, (hello) =>
      checkPeer(hello, claims.session),
    );
    attempt.greeting = this.#hello(this.#host.secret.prove(claims));
    this.#limit(attempt, "the peer's hello");
    if (!isHeld) this.#greetIncoming();
  }

  close(error: StatefulError): void {
    const attempts = [this.#dial, this.#incoming];
    const { connection } = this.#link ?? {};
    this.#dial = undefined;
    this.#incoming = undefined;
    for (const attempt of attempts) if (attempt !== undefined) this.#stop(attempt, error.message);
    connection?.close(error);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  #isLate(dial: number): boolean {
    if (this.#link !== undefined) return dial <= this.#link.peerDials;
    return this.#incoming !== undefined && dial < this.#incoming.number;
  }

  // Dialling

  #startDial(target: LinkTarget): void {
    const { secret } = this.#host;
    const abort = new AbortController();
    const dial: Attempt = {
      number: this.#host.countDial(),
      cancelLimit: undefined,
      connection: undefined,
      abort,
    };
    const nonces: string[] = [];
    const headers = () => {
      const signed = secret.sign(this.#self, target.session, dial.number);
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
    this.#host.dial(linkUrl(target.privateUrl), headers, abort.signal).then(
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
    // Ended before it began, and the dial with it, where what it had received was not a hello.
    dial.connection?.greet(this.#hello(""));
  }

  #dialFailed(error: StatefulError): void {
    const { backoffMinMs, backoffMaxMs } = this.#host.limits;
    const failures = (this.#backoff?.failures ?? 0) + 1;
    const wholeMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(failures - 1, 30));
    const pauseMs = wholeMs * (0.5 + this.#host.random() / 2);
    this.#backoff = { failures, untilMs: this.#host.clock.monotonicMs() + pauseMs, error };
    this.#host.log.warn("link.dial_failed", { session: this.session, failures, pauseMs, error });
    this.#greetIncoming();
  }

  #stillBackingOff(): StatefulError {
    const { error, untilMs } = this.#backoff ?? { error: undefined, untilMs: 0 };
    return new StatefulError(
      error?.code ?? "owner_unreachable",
      error?.message ?? `Session ${this.session} is not linked.`,
      {
        cause: error,
        retryAfterMs: untilMs - this.#host.clock.monotonicMs(),
      },
    );
  }

  // Both ways

  #connection(
    attempt: Attempt,
    transport: Transport,
    side: "dialer" | "acceptor",
    peer: LinkPeer,
    checkHello: (hello: Hello) => StatefulError | undefined,
  ): void {
    const { handlers, limits, clock, log, nextTurn } = this.#host;
    const connection = new LinkConnection({
      ...{
        transport: this.#host.wrap(transport, peer),
        side,
        peer,
        handlers,
        limits,
        clock,
        log,
        nextTurn,
        checkHello,
      },
      opened: (opened, hello) => this.#adopt(attempt, opened, hello),
      ended: (_, error) => this.#over(attempt, error),
      gone: (gone) => this.#host.gone(gone),
    });
    if (connection.isOver) return;
    attempt.connection = connection;
    this.#host.begun(connection);
  }

  #hello(proof: string): Hello {
    const { linkWindowBytes, channelWindowBytes, channelDebtBytesMax, messageBytesMax } = this.#host.limits;
    const windows = { linkWindowBytes, channelWindowBytes, channelDebtBytesMax, messageBytesMax };
    return { version: linkProtocolVersion, ...this.#self, proof, dials: this.#host.dialCount(), ...windows };
  }

  #greetIncoming(): void {
    const incoming = this.#incoming;
    if (incoming?.greeting === undefined) return;
    const { greeting } = incoming;
    incoming.greeting = undefined;
    this.#limit(incoming, "the peer's hello");
    incoming.connection?.greet({ ...greeting, dials: this.#host.dialCount() });
  }

  #limit(attempt: Attempt, what: string): void {
    const { linkDialTimeoutMs } = this.#host.limits;
    attempt.cancelLimit?.();
    attempt.cancelLimit = this.#host.clock.after(linkDialTimeoutMs, () => {
      const why = `no link to session ${this.session}: ${what} did not come within ${linkDialTimeoutMs} ms`;
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
    this.#backoff = undefined;
    this.#link = { attempt, connection, peerDials: hello.dials, openedAtMs: this.#host.clock.monotonicMs() };
    for (const loser of losers) if (loser !== undefined) this.#stop(loser, "the other link opened first");
    if (previous !== undefined) this.#supersede(previous);
    this.#host.log.info("link.opened", { peer: connection.peer });
    this.#tell(() => this.#host.handlers.opened?.(connection));
    this.#waiting?.resolve(connection);
    this.#waiting = undefined;
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
      this.#dialFailed(dialError(error, this.session));
    }
    if (!this.isIdle) return;
    this.#waiting?.reject(dialError(error, this.session));
    this.#waiting = undefined;
    this.#host.idle(this);
  }

  #linkEnded(connection: LinkConnection, error: StatefulError): void {
    this.#link = undefined;
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

/** What the links of one host have in common. The pool provides it. */
export interface LinkingHost {
  readonly secret: LinkSecret;
  readonly handlers: LinkHandlers;
  readonly limits: LinkLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly dial: Dial;
  readonly nextTurn: (flush: () => void) => void;
  random(): number;
  wrap(transport: Transport, peer: LinkPeer): Transport;
  /** The number of the next dial; numbers rise over the host's whole life. */
  countDial(): number;
  dialCount(): number;
  begun(connection: LinkConnection): void;
  gone(connection: LinkConnection): void;
  /** Nothing is open or under way any more. */
  idle(peer: PeerLinks): void;
}

/** A dial of ours, or an accepted socket of the peer's, until its link opens. */
interface Attempt {
  readonly number: number;
  /** Gives up a dial that has no connection yet. */
  readonly abort: AbortController | undefined;
  connection: LinkConnection | undefined;
  /** The hello that is held back. */
  greeting?: Hello | undefined;
  cancelLimit: CancelTimer | undefined;
}

interface OpenLink {
  readonly attempt: Attempt;
  readonly connection: LinkConnection;
  /** How many dials the peer had begun when it greeted. */
  readonly peerDials: number;
  readonly openedAtMs: number;
}

interface Backoff {
  readonly failures: number;
  readonly untilMs: number;
  readonly error: StatefulError;
}

function linkUrl(privateUrl: string): string {
  return `${privateUrl.replace(/\/+$/, "")}${linkPath}`;
}

/** Where a host accepts links. */
export const linkPath = "/-/link";

function checkPeer(hello: Hello, session: string): StatefulError | undefined {
  if (hello.session === session) return undefined;
  return new StatefulError(
    "not_owner",
    `The peer says that it is session ${hello.session} and not ${session}.`,
  );
}

/**
 * What a caller of `to` is told. That the session is not there is worth knowing apart. Anything else, a wrong secret
 * included, must not pass for an answer to the client whose request wanted the link.
 */
function dialError(error: StatefulError, session: string): StatefulError {
  if (error.code === "not_owner" || error.code === "owner_unreachable" || error.code === "session_over")
    return error;
  return new StatefulError(
    "owner_unreachable",
    `Session ${session} cannot be linked, ${error.code}: ${error.message}`,
    { cause: error },
  );
}
