import type { Leases, Session } from "../lease/leases.ts";
import { type CancelTimer, type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Elsewhere } from "./host-objects.ts";
import { decodePackage, type MovePackage } from "./move-package.ts";
import { type Arrival, type Arrivals, arrivalsFull, type MoveOffer } from "./move-ports.ts";

export interface MovesInSetup {
  readonly leases: Pick<Leases, "acquire" | "isTaking" | "release" | "session">;
  readonly clock: Clock;
  readonly log: Log;
  readonly memoryLimitBytes: () => number;
  /** @throws StatefulError why this host does not take the object now. */
  check(offer: MoveOffer): void;
  /** The lease names this host: the object starts from what has come. Rejects where it could not. */
  start(arrived: ArrivedObject): Promise<void>;
}

/** An object that is ours by now, with all that it is. */
export interface ArrivedObject {
  readonly ref: ObjectRef;
  readonly session: Session;
  readonly epoch: number;
  readonly moved: MovePackage;
  /** The same once more, untouched by whatever a start that failed has done to it. */
  again(): MovePackage;
}

/** Objects on their way here at once; past it an offer is refused. */
export const arrivalsMax = 4096;
/**
 * What the packages of all of them may take together, as a share of the host's memory limit; from when a package is announced,
 * or its bytes come, until its object has started. An offer is checked against what the host uses then, and at its high mark
 * it takes none: so this is what may come on top of that mark. Smaller: large objects stay where they are, and a drain beside
 * this host keeps more of them. Larger: what arrives may take memory that the machine does not have.
 */
export const arrivingBytesShare = 0.25;
/** What is on its way has mostly started by then. */
const arrivalsFullRetryMs = 250;
/** How long an object is kept whose source is gone, while the primary does not say that it is ours. */
const undecidedLimitMs = 60_000;
/** How long one is kept whose source says nothing at all. */
const arrivalLimitMs = 90_000;
/** How long the next session of this host tries to take over what came under the one before. Whoever asks for it waits for that. */
const followLimitMs = 5_000;
const retryMinMs = 100;
const retryMaxMs = 500;

/**
 * The target's half of planned moves (rule L7). What has come serves nobody until it is known, from the source or from the
 * primary, that the lease names this host. Whoever asks for the object meanwhile waits for that; where the source has not said, they
 * are sent to whomever the lease names: most likely the source lives on with it.
 */
export class MovesIn implements Arrivals {
  readonly #setup: MovesInSetup;
  readonly #arriving = new Map<string, ArrivingObject>();
  #bytes = 0;

  constructor(setup: MovesInSetup) {
    this.#setup = setup;
  }

  get size(): number {
    return this.#arriving.size;
  }

  /** What is kept for them, in bytes of their packages. */
  get bytes(): number {
    return this.#bytes;
  }

  isArriving(key: string): boolean {
    return this.#arriving.has(key);
  }

  /** Where an object is that is on its way: see `ArrivingObject.whereabouts`. Undefined where it is none. */
  whereabouts(key: string): Promise<Elsewhere | undefined> | undefined {
    return this.#arriving.get(key)?.whereabouts();
  }

  offered(offer: MoveOffer): Arrival {
    const { leases, check } = this.#setup;
    const { key } = offer.ref;
    if (offer.toSession !== leases.session.id || !leases.session.isValid())
      throw new StatefulError("session_over", "This host's session is another by now.");
    if (this.#arriving.size >= arrivalsMax)
      throw new StatefulError("host_full", `${arrivalsMax} objects are on their way here.`);
    check(offer);
    // What a commit takes for nobody it gives back, and with it what a move has brought.
    if (leases.isTaking(offer.ref))
      throw new StatefulError("move_failed", "This host is asking for it by itself.");
    // A source offers again only what it knows not to have moved.
    this.#arriving.get(key)?.discard();
    const arriving = new ArrivingObject(offer, leases.session, {
      ...this.#setup,
      reserve: (bytes, before) => this.#reserve(key, bytes, before),
      over: (object) => {
        this.#bytes -= object.bytes;
        if (this.#arriving.get(key) === object) this.#arriving.delete(key);
      },
    });
    this.#arriving.set(key, arriving);
    return arriving;
  }

  #reserve(key: string, bytes: number, before: number): void {
    const bytesMax = Math.floor(arrivingBytesShare * this.#setup.memoryLimitBytes());
    const othersBytes = this.#bytes - before;
    if (othersBytes + bytes > bytesMax) throw noRoom(key, { bytes, othersBytes, bytesMax });
    this.#bytes = othersBytes + bytes;
  }

  close(): void {
    for (const arriving of [...this.#arriving.values()]) arriving.discard();
  }
}

interface Reservation {
  readonly bytes: number;
  readonly othersBytes: number;
  readonly bytesMax: number;
}

function noRoom(key: string, { bytes, othersBytes, bytesMax }: Reservation): StatefulError {
  const message =
    `${key} cannot move here now: its ${bytes} bytes and the ${othersBytes} of what else is on its way here are over ` +
    `${bytesMax}, which is ${100 * arrivingBytesShare} % of this host's memory limit (STATEFUL_MEMORY_LIMIT_MB).`;
  const details = { bytes, othersBytes, bytesMax };
  if (bytes > bytesMax) return new StatefulError("move_failed", message, { details });
  const full = { ...details, reason: arrivalsFull };
  return new StatefulError("move_failed", message, { details: full, retryAfterMs: arrivalsFullRetryMs });
}

interface ArrivingSetup extends MovesInSetup {
  /** @throws StatefulError `move_failed`, where it and what else is on its way are too much. */
  reserve(bytes: number, before: number): void;
  over(object: ArrivingObject): void;
}

class ArrivingObject implements Arrival {
  readonly #offer: MoveOffer;
  readonly #session: Session;
  readonly #setup: ArrivingSetup;
  #question = newQuestion();
  #moved: MovePackage | undefined;
  #package: Uint8Array | undefined;
  #bytes = 0;
  #isOver = false;
  #isDeciding = false;
  #followUntilMs: number | undefined;
  #cancelLimit: CancelTimer;

  constructor(offer: MoveOffer, session: Session, setup: ArrivingSetup) {
    this.#offer = offer;
    this.#session = session;
    this.#setup = setup;
    this.#cancelLimit = setup.clock.after(arrivalLimitMs, () => this.undecided());
  }

  /**
   * Resolves with nothing once the object has started here, or will not; and with who has it where the primary says so, asked from now
   * on, while nobody knows whether it still comes. Never rejects.
   */
  whereabouts(): Promise<Elsewhere | undefined> {
    this.#question.awaited.abort();
    return this.#question.answer.promise;
  }

  get bytes(): number {
    return this.#bytes;
  }

  reserve(bytes: number): void {
    if (this.#isOver) throw new StatefulError("move_failed", "The target has given the move up.");
    if (bytes <= this.#bytes) return;
    this.#setup.reserve(bytes, this.#bytes);
    this.#bytes = bytes;
  }

  deliver(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.#moved = decodePackage(bytes);
    this.#package = bytes;
  }

  go(epoch: number): void {
    if (this.#isDeciding) return; // The primary is asked, which takes the lease under a later epoch.
    void this.#start(this.#session, epoch);
  }

  cancelled(): void {
    this.discard();
  }

  /** Before it was complete here no compare-and-set was sent: then there is nothing to decide. */
  undecided(): void {
    if (this.#moved === undefined) return this.discard();
    if (this.#isOver || this.#isDeciding) return;
    this.#isDeciding = true;
    void this.#decide(this.#setup.clock.monotonicMs() + undecidedLimitMs);
  }

  discard(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelLimit();
    this.#moved = undefined;
    this.#package = undefined;
    this.#setup.over(this);
    this.#question.answer.resolve(undefined);
  }

  /**
   * Asks the primary whether the lease names this session. Nothing but the source's compare-and-set can have written that: this
   * host takes no object that is on its way here, and refused the offer while it was taking it.
   */
  async #decide(deadlineMs: number): Promise<void> {
    const { leases, clock, log } = this.#setup;
    const { ref } = this.#offer;
    for (let delayMs = retryMinMs; !this.#isOver; delayMs = Math.min(2 * delayMs, retryMaxMs)) {
      const { answer } = this.#question;
      // Whoever asks while the primary is asked could be told what is no longer so.
      this.#question = newQuestion();
      try {
        if (leases.session !== this.#session) return await this.#follow();
        const lease = await leases.acquire(ref, "mine");
        if (lease.owned) return await this.#start(lease.session, lease.epoch);
        // Its source may still have the commit under way: that it is not ours yet says nothing before the source's session is
        // over. Under another epoch it is somebody else's already, and that commit can change nothing any more.
        const isSettled =
          lease.owner === undefined || lease.session === "" || lease.epoch !== this.#offer.epoch;
        if (isSettled) return this.discard();
        answer.resolve(lease);
      } catch (thrown) {
        const error = asStatefulError(thrown);
        log.debug("object.arrival.undecided", { object: ref.key, error });
        // It is not ours, and nothing becomes so any more.
        if (error.code === "host_draining") return this.discard();
      } finally {
        answer.resolve(this.#question.answer.promise); // for whom there is no answer yet
      }
      if (clock.monotonicMs() >= deadlineMs) return this.discard();
      await sleep(clock, retryMinMs);
      await sleep(clock, delayMs - retryMinMs, this.#question.awaited.signal);
    }
  }

  /**
   * This host's own session ended meanwhile. Where the move came about the lease names that one, and nobody has had the object since:
   * the next session takes it over, and is told whose it was. Anything else that it takes with that is not what has come.
   */
  async #follow(): Promise<void> {
    const { leases, clock } = this.#setup;
    const { ref } = this.#offer;
    this.#followUntilMs ??= clock.monotonicMs() + followLimitMs;
    if (clock.monotonicMs() >= this.#followUntilMs) return this.#lost();
    const lease = await leases.acquire(ref, "free");
    if (lease.owned && lease.former === this.#session.id) return this.#start(lease.session, lease.epoch);
    if (lease.owned) leases.release({ object: ref, epoch: lease.epoch });
    this.#lost();
  }

  #lost(): void {
    this.#setup.log.warn("object.arrival.lost", { object: this.#offer.ref.key });
    this.discard();
  }

  async #start(session: Session, epoch: number): Promise<void> {
    const moved = this.#moved;
    const bytes = this.#package;
    if (this.#isOver || moved === undefined || bytes === undefined) return;
    this.#isOver = true;
    this.#moved = undefined;
    this.#package = undefined;
    this.#cancelLimit();
    const { ref } = this.#offer;
    const { log, start, over } = this.#setup;
    try {
      await start({ ref, session, epoch, moved, again: () => decodePackage(bytes) });
    } catch (thrown) {
      log.error("object.arrival.failed", { object: ref.key, error: asStatefulError(thrown) });
    } finally {
      over(this);
      this.#question.answer.resolve(undefined);
    }
  }
}

/** What the primary is asked next, of an arrival whose source has not said how it ended. */
interface Question {
  readonly answer: PromiseWithResolvers<Elsewhere | undefined>;
  /** Aborts when somebody waits for the answer: then it is asked soon. */
  readonly awaited: AbortController;
}

function newQuestion(): Question {
  return { answer: Promise.withResolvers(), awaited: new AbortController() };
}
