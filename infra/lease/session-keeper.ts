import { type Clock, sleep, withTimeLimit } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { VersionRange } from "../lib/version-range.ts";
import type { Directory, HostLoad, HostRecord, NewSession, Renewal } from "./directory.ts";
import type { DirectoryTime } from "./directory-time.ts";
import { newProcessId, sessionId } from "./session-id.ts";
import { SessionLife, type SessionOverReason, sendTime } from "./session-life.ts";

/** What a host says about itself. The functions are asked at every renewal. */
export interface HostSelf {
  readonly hostId: string;
  readonly region: string;
  readonly privateUrl: string;
  readonly publicUrl: string;
  readonly version: string;
  readonly linkVersions?: VersionRange | undefined;
  classes(): readonly string[];
  load(): HostLoad;
  draining(): boolean;
}

export interface SessionKeeperOptions {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly self: HostSelf;
  readonly times: SessionTimes;
  readonly time: DirectoryTime;
  /** As `LeaseOptions.onSession`. */
  announce(session: string): void;
  opened(life: SessionLife, previous: SessionLife | undefined): void;
  over(life: SessionLife, reason: SessionOverReason): void;
  hosts(hosts: readonly HostRecord[]): void;
  /** The directory is of a newer release than this build (L12): there will be no next session. */
  outdated(error: StatefulError): void;
}

/** How the time to live is divided. See "Knobs" in README.md. */
export interface SessionTimes {
  readonly ttlMs: number;
  /** How long an acknowledged renewal counts here: the time to live less the margin. */
  readonly validMs: number;
  readonly renewEveryMs: number;
  /** Three attempts fit between the time a renewal is due and the end of what the last one proved. */
  readonly attemptLimitMs: number;
}

export function sessionTimes(ttlMs: number, marginMs: number): SessionTimes {
  const validMs = ttlMs - marginMs;
  const renewEveryMs = ttlMs / 3;
  if (!(marginMs > 0 && validMs > renewEveryMs)) {
    throw new StatefulError(
      "internal",
      `A lease time of ${ttlMs} ms leaves no room for a margin of ${marginMs} ms.`,
    );
  }
  return { ttlMs, validMs, renewEveryMs, attemptLimitMs: (validMs - renewEveryMs) / 3 };
}

/** Renewals that are asked for early keep this distance, so that a burst of unknown owners costs one. */
const earlyRenewalSpacingMs = 50;
const retryDelayMinMs = 50;
const handBackAttemptsMax = 2;

/**
 * Keeps this host in the directory (L1): opens a session, renews it every third of its time to live, and when it is over
 * opens the next, for ever, until stopped. A renewal that fails is tried again at once with jitter; one that is refused, or
 * whose success cannot be confirmed in time, ends the session for good. The next one starts with nothing.
 *
 *     opening ──▶ open ──(refused, or validity ran out)──▶ opening …      stop: hand back
 */
export class SessionKeeper {
  readonly #options: SessionKeeperOptions;
  readonly #processId = newProcessId();
  #sessions = 0;
  readonly #stop = new AbortController();
  #life: SessionLife | undefined;
  /** A session that was asked for and not confirmed: its row may be there. */
  #attempt: SessionLife | undefined;
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #isEarlyRenewalDue = false;
  /** Who waits for the next renewal to be sent, and for that one's answer. */
  #waitingForNext: Array<() => void> = [];

  constructor(options: SessionKeeperOptions) {
    this.#options = options;
  }

  /** Opens the first session. Rejects once `limitMs` has passed, or at once where trying again cannot help. */
  async start(limitMs: number): Promise<SessionLife> {
    const deadlineMs = this.#options.clock.monotonicMs() + limitMs;
    const first = await this.#open(undefined, deadlineMs);
    if (first === undefined)
      throw new StatefulError("session_over", "The host was stopped before it had a session.");
    this.#running = this.#run(first);
    return first;
  }

  /** Renews at once; resolves when that is answered, or when the session is over. */
  refresh(): Promise<void> {
    if (this.#stop.signal.aborted) return Promise.resolve();
    this.#isEarlyRenewalDue = true;
    return new Promise((resolve) => {
      this.#waitingForNext.push(resolve);
      this.#wake?.();
    });
  }

  /** Stops renewing and hands the session back. What holds the session must have been told before. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    // One that was asked for and not confirmed may be there beside the one that it was to follow.
    const lives = [this.#life, this.#attempt].filter((life) => life !== undefined);
    for (const life of lives) life.end("ended");
    await this.#running;
    const handedBack = await Promise.all(lives.map((life) => this.#handBack(life)));
    if (lives.length > 0 && !handedBack.includes(false)) this.#options.announce("");
  }

  async #run(first: SessionLife): Promise<void> {
    let life: SessionLife | undefined = first;
    while (life !== undefined) {
      await this.#keep(life);
      const previous: SessionLife = life;
      life = await this.#open(previous, Number.POSITIVE_INFINITY);
    }
    this.#releaseWaiting();
  }

  async #open(previous: SessionLife | undefined, deadlineMs: number): Promise<SessionLife | undefined> {
    const { clock, log, times } = this.#options;
    for (let failures = 0; !this.#stop.signal.aborted; failures += 1) {
      try {
        const life = await this.#openOnce(previous);
        if (life !== undefined) return this.#begin(life, previous);
      } catch (thrown) {
        const error = asStatefulError(thrown);
        if (error.code !== "directory_unavailable") this.#refuseStart(previous, error);
        if (error.code === "version_mismatch") return this.#giveUp(error);
        if (clock.monotonicMs() >= deadlineMs) throw error;
        log.warn("session.open_failed", { error, failures: failures + 1 });
      }
      await sleep(clock, this.#retryDelayMs(failures, times.renewEveryMs), this.#stop.signal);
    }
    return undefined;
  }

  /** At the start a failure of ours is told; later the host goes on trying, because somebody may be repairing it. */
  #refuseStart(previous: SessionLife | undefined, error: StatefulError): void {
    if (previous === undefined) throw error;
    this.#options.log.error("session.open_refused", { error });
  }

  /** Nobody can repair that under a build that runs. */
  #giveUp(error: StatefulError): undefined {
    this.#stop.abort();
    this.#options.outdated(error);
  }

  async #openOnce(previous: SessionLife | undefined): Promise<SessionLife | undefined> {
    const { directory } = this.#options;
    const life = this.#attemptOf();
    const opened = await this.#limited(directory.openSession(this.#newSession(life, previous)));
    life.see(opened.position);
    this.#options.time.hear(opened.nowMs);
    if (this.#stop.signal.aborted || !life.isValid()) return undefined;
    if (opened.quarantineMs > 0) {
      this.#options.log.warn("session.quarantined", { session: life.id, quarantineMs: opened.quarantineMs });
    }
    this.#options.hosts(opened.hosts);
    return life;
  }

  /**
   * An attempt whose answer was lost is sent again under the same id, so that it leaves one row and not a crowd of ghosts;
   * its life then counts from the first time it was sent. Half used up, it is left to expire.
   */
  #attemptOf(): SessionLife {
    const { clock, times } = this.#options;
    if (this.#attempt === undefined || this.#attempt.remainingMs() < times.validMs / 2) {
      this.#attempt = new SessionLife(
        sessionId(this.#processId, ++this.#sessions),
        clock,
        times.validMs,
        (life, reason) => this.#over(life, reason),
      );
      this.#options.announce(this.#attempt.id);
    }
    return this.#attempt;
  }

  #begin(life: SessionLife, previous: SessionLife | undefined): SessionLife {
    this.#attempt = undefined;
    this.#life = life;
    life.watch();
    this.#options.opened(life, previous);
    return life;
  }

  async #keep(life: SessionLife): Promise<void> {
    const { times, random } = this.#options;
    let failures = 0;
    while (life.isValid() && !this.#stop.signal.aborted) {
      const dueMs = times.renewEveryMs * (0.9 + 0.1 * random());
      await this.#pause(failures === 0 ? dueMs : this.#retryDelayMs(failures - 1, times.attemptLimitMs));
      if (!life.isValid() || this.#stop.signal.aborted) break;
      failures = (await this.#renew(life)) ? 0 : failures + 1;
    }
  }

  async #pause(delayMs: number): Promise<void> {
    const { clock } = this.#options;
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    if (!this.#isEarlyRenewalDue) await sleep(clock, delayMs, wake.signal);
    this.#wake = undefined;
    if (this.#isEarlyRenewalDue)
      await sleep(clock, Math.min(delayMs, earlyRenewalSpacingMs), this.#stop.signal);
  }

  async #renew(life: SessionLife): Promise<boolean> {
    this.#isEarlyRenewalDue = false;
    const waiting = this.#waitingForNext;
    this.#waitingForNext = [];
    try {
      return await this.#renewOnce(life);
    } catch (error) {
      // The tables are of a later release (L12). No later renewal will do better, and no next session.
      if (asStatefulError(error).code === "version_mismatch") life.end("schema_too_new");
      this.#options.log.warn("session.renewal_failed", {
        session: life.id,
        error,
        remainingMs: life.remainingMs(),
      });
      return false;
    } finally {
      for (const resolve of waiting) resolve();
    }
  }

  async #renewOnce(life: SessionLife): Promise<boolean> {
    const sentAt = sendTime(this.#options.clock);
    const answer = await this.#limited(this.#options.directory.renew(this.#renewal(life)));
    if (answer.alive) this.#options.time.hear(answer.nowMs);
    if (!answer.alive) {
      life.end(answer.reason);
      return false;
    }
    if (!life.extend(sentAt)) return false;
    life.see(answer.position);
    this.#options.hosts(answer.hosts);
    return true;
  }

  #over(life: SessionLife, reason: SessionOverReason): void {
    if (this.#life !== life) return;
    this.#wake?.();
    this.#releaseWaiting();
    if (!this.#stop.signal.aborted) this.#options.over(life, reason);
  }

  #releaseWaiting(): void {
    const waiting = this.#waitingForNext;
    this.#waitingForNext = [];
    for (const resolve of waiting) resolve();
  }

  /** A hand-back that is not heard costs the others one time to live, no more; so it is tried, not insisted on. */
  async #handBack(life: SessionLife): Promise<boolean> {
    const { directory, log } = this.#options;
    for (let attempt = 1; attempt <= handBackAttemptsMax; attempt += 1) {
      try {
        await this.#limited(directory.endSession(life.id));
        return true;
      } catch (error) {
        log.warn("session.hand_back_failed", { session: life.id, attempt, error });
      }
    }
    return false;
  }

  #limited<T>(work: Promise<T>): Promise<T> {
    const { clock, times } = this.#options;
    const late = () => unconfirmed(times.attemptLimitMs);
    return withTimeLimit(clock, times.attemptLimitMs, work, late);
  }

  #retryDelayMs(failures: number, maxMs: number): number {
    const { random } = this.#options;
    const ceilingMs = Math.min(maxMs, retryDelayMinMs * 2 ** Math.min(failures, 16));
    return ceilingMs * (0.5 + 0.5 * random());
  }

  #newSession(life: SessionLife, previous: SessionLife | undefined): NewSession {
    const { hostId, region, privateUrl, publicUrl, version, linkVersions } = this.#options.self;
    const host = { ...this.#live(life), hostId, region, privateUrl, publicUrl, version, linkVersions };
    return previous === undefined
      ? host
      : { ...host, previous: { session: previous.id, seen: previous.seen } };
  }

  #renewal(life: SessionLife): Renewal {
    return { ...this.#live(life), seen: life.seen };
  }

  #live(life: SessionLife) {
    const { self, times } = this.#options;
    const session = life.id;
    return {
      session,
      ttlMs: times.ttlMs,
      draining: self.draining(),
      classes: self.classes(),
      load: self.load(),
    };
  }
}

function unconfirmed(limitMs: number): StatefulError {
  return new StatefulError(
    "directory_unavailable",
    `The directory did not answer within ${Math.round(limitMs)} ms.`,
  );
}
