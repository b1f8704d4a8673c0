import { type Clock, sleep, withTimeLimit } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import { type Log, silentLog } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { AdoptItem, Directory, HeldLease, HostRecord, Lease, LeaseHint } from "./directory.ts";
import { DirectoryTime } from "./directory-time.ts";
import { HintReader } from "./hint-reader.ts";
import type { LineLease } from "./lease-entries.ts";
import { LeaseLine, type LeaseLineLimits, leaseLineLimits } from "./lease-line.ts";
import { LeaseSweeper } from "./lease-sweeper.ts";
import type { Acquisition, LeaseEvents, Leases, MoveOutcome, Session } from "./leases.ts";
import { processOfSession } from "./session-id.ts";
import { type HostSelf, SessionKeeper, type SessionTimes, sessionTimes } from "./session-keeper.ts";
import type { SessionLife, SessionOverReason } from "./session-life.ts";
import type { WriteSource } from "./write-queue.ts";

export interface LeaseOptions {
  /** Not closed by `stop`: whoever made it closes it. */
  readonly directory: Directory;
  readonly clock: Clock;
  readonly self: HostSelf;
  readonly events: LeaseEvents;
  /** Every lease under which something runs here, to be compared with the directory (L9). */
  held(): Iterable<HeldLease>;
  /**
   * Told of each session before the directory is asked for it, and so before anything can be held under it; `""` once all
   * were handed back. For a parent process, which ends what its child left behind when that has died.
   */
  readonly onSession?: ((session: string) => void) | undefined;
  readonly log?: Log;
  readonly random?: () => number;
  readonly ttlMs?: number;
  readonly marginMs?: number;
  readonly verifyIntervalMs?: number;
  readonly hintLimitMs?: number;
  /** How long the first session may take to open before `startLeases` rejects. */
  readonly startLimitMs?: number;
  /** How long `stop` waits for what is in flight before it hands the session back. */
  readonly settleLimitMs?: number;
  readonly limits?: Partial<LeaseLineLimits>;
}

export const leaseDefaults = {
  ttlMs: 9_000,
  verifyIntervalMs: 30_000,
  hintLimitMs: 500,
  startLimitMs: 30_000,
  settleLimitMs: 3_000,
} as const;

/** Leases in one verification query; a host with more asks several times. */
const verifyItemsMax = 20_000;
const adoptAttemptsMax = 3;

export interface RunningLeases extends Leases {
  /** Renews at once: call it when the classes, or `draining`, have changed. Resolves when the directory knows. */
  refresh(): Promise<void>;
}

/** Opens this host's first session and keeps one open until stopped. */
export async function startLeases(options: LeaseOptions): Promise<RunningLeases> {
  const keeper = new LeaseKeeper(options);
  await keeper.start();
  return keeper;
}

/** Joins the session, the line of its writes and the hosts that are alive into what the rest of a host sees. */
class LeaseKeeper implements RunningLeases {
  readonly #options: LeaseOptions;
  readonly #log: Log;
  readonly #times: SessionTimes;
  readonly #sessions: SessionKeeper;
  readonly #hints: HintReader;
  readonly #time: DirectoryTime;
  readonly #stop = new AbortController();
  #current: { readonly life: SessionLife; readonly line: LeaseLine } | undefined;
  #hosts: readonly HostRecord[] = [];
  #hostBySession: ReadonlyMap<string, HostRecord> = new Map();
  /** What goes on beside it until it stops. */
  #watching: Promise<unknown> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: LeaseOptions) {
    const ttlMs = options.ttlMs ?? leaseDefaults.ttlMs;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#times = sessionTimes(ttlMs, options.marginMs ?? ttlMs / 9);
    this.#hints = new HintReader(
      options.directory,
      options.clock,
      options.hintLimitMs ?? leaseDefaults.hintLimitMs,
    );
    this.#time = new DirectoryTime(options.clock);
    this.#sessions = new SessionKeeper({
      directory: options.directory,
      clock: options.clock,
      log: this.#log,
      random: options.random ?? Math.random,
      self: options.self,
      times: this.#times,
      time: this.#time,
      announce: (session) => options.onSession?.(session),
      opened: (life, previous) => this.#opened(life, previous),
      over: (life, reason) => this.#over(life, reason),
      hosts: (hosts) => this.#seeHosts(hosts),
      outdated: (error) => options.events.outdated?.(error),
    });
  }

  async start(): Promise<void> {
    try {
      await this.#sessions.start(this.#options.startLimitMs ?? leaseDefaults.startLimitMs);
    } catch (error) {
      await this.#sessions.stop();
      throw error;
    }
    const { directory, clock } = this.#options;
    const log = this.#log;
    const sweeper = new LeaseSweeper({ directory, clock, log, hosts: () => this.#hosts.length });
    this.#watching = Promise.all([this.#verifyForEver(), sweeper.run(this.#stop.signal)]);
  }

  get session(): Session {
    return this.#open().life;
  }

  get hosts(): readonly HostRecord[] {
    return this.#hosts;
  }

  host(session: string): HostRecord | undefined {
    return this.#hostBySession.get(session);
  }

  successor(session: string): HostRecord | undefined {
    if (this.#hostBySession.has(session)) return undefined;
    const process = processOfSession(session);
    return this.#hosts.find((host) => processOfSession(host.session) === process);
  }

  refresh(): Promise<void> {
    return this.#sessions.refresh();
  }

  async acquire(object: ObjectRef, when: "free" | "mine", load = false): Promise<Acquisition> {
    const { life, line } = this.#open();
    const lease = await line.acquire(object, when, load);
    if (lease === undefined || (when === "free" && !lease.alive)) {
      if (when === "free") throw notGiven(object);
      return { owned: false, session: "", epoch: 0, owner: undefined };
    }
    return this.#acquisition(life, lease);
  }

  write(source: WriteSource): void {
    this.#current?.line.write(source);
  }

  nowMs(): number {
    return this.#time.nowMs();
  }

  async move(lease: HeldLease, toSession: string): Promise<MoveOutcome> {
    return await this.#open().line.move(lease, toSession);
  }

  isTaking(object: ObjectRef): boolean {
    return this.#current?.line.isTaking(object) === true;
  }

  release(lease: HeldLease): void {
    this.#current?.line.release(lease);
  }

  async adopt(fromSession: string, leases: readonly HeldLease[]): Promise<ReadonlyMap<string, Acquisition>> {
    const { life, line } = this.#open();
    const { batchItemsMax } = { ...leaseLineLimits, ...this.#options.limits };
    const settled = new Map<string, Acquisition>();
    const adopt = async (lease: HeldLease) => {
      const adopted = await this.#adoptOne(line, life, fromSession, lease);
      settled.set(lease.object.key, await this.#acquisition(life, adopted));
    };
    // No more at once than travel together: a line that is full of adoptions would refuse the rest of them.
    for (let from = 0; from < leases.length && life.isValid(); from += batchItemsMax) {
      const outcomes = await Promise.allSettled(leases.slice(from, from + batchItemsMax).map(adopt));
      const failed = outcomes.filter((outcome) => outcome.status === "rejected");
      const [first] = failed;
      if (first === undefined) continue;
      const { id: session } = life;
      this.#log.warn("lease.adoption_unsettled", { session, objects: failed.length, error: first.reason });
    }
    return settled;
  }

  disown(object: ObjectRef): void {
    this.#current?.line.disown(object);
  }

  get hasHints(): boolean {
    return this.#options.directory.hasHints;
  }

  find(object: ObjectRef): Promise<LeaseHint | undefined> {
    return this.#hints.find(object);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopOnce();
    return this.#stopping;
  }

  async #stopOnce(): Promise<void> {
    const { clock, settleLimitMs = leaseDefaults.settleLimitMs } = this.#options;
    this.#stop.abort();
    const settled = Promise.resolve(this.#current?.line.settled());
    const late = () => new StatefulError("directory_unavailable", `Not settled within ${settleLimitMs} ms.`);
    await withTimeLimit(clock, settleLimitMs, settled, late).catch((error: unknown) => {
      this.#log.warn("lease.stopped_unsettled", { error });
    });
    await this.#sessions.stop();
    await this.#watching;
  }

  /**
   * Nothing was lost if nobody else holds it, so a quarantine is waited out: it ends, and the session renews meanwhile. A
   * session of this process that had adopted it, and ended before it heard so, left it to us too: it is followed there.
   */
  async #adoptOne(
    line: LeaseLine,
    life: SessionLife,
    fromSession: string,
    { object, epoch }: HeldLease,
  ): Promise<Lease> {
    let item: AdoptItem = { object, fromSession, fromEpoch: epoch };
    for (let attempt = 1; ; attempt += 1) {
      try {
        const lease = (await line.adopt(item)) ?? nobodys;
        if (!isEarlierOf(life, lease)) return lease;
        if (attempt === adoptAttemptsMax) throw notGiven(object);
        item = { object, fromSession: lease.session, fromEpoch: lease.epoch };
      } catch (error) {
        const isWaiting = error instanceof StatefulError && error.code === "directory_recovering";
        if (!isWaiting || attempt === adoptAttemptsMax) throw error;
        await sleep(this.#options.clock, error.retryAfterMs ?? 0, life.over);
      }
    }
  }

  async #acquisition(life: SessionLife, lease: LineLease): Promise<Acquisition> {
    const { session, epoch, former, loaded } = lease;
    if (session === life.id) return { owned: true, session: life, epoch, former, ...(loaded && { loaded }) };
    return { owned: false, session, epoch, owner: lease.alive ? await this.#ownerOf(session) : undefined };
  }

  /** A winner that opened its session since the last renewal is not known yet; one early renewal, bounded, tells. */
  async #ownerOf(session: string): Promise<HostRecord | undefined> {
    const known = this.host(session);
    if (known !== undefined) return known;
    const waitMs = this.#times.attemptLimitMs;
    await Promise.race([this.#sessions.refresh(), sleep(this.#options.clock, waitMs, this.#stop.signal)]);
    return this.host(session);
  }

  #open(): { readonly life: SessionLife; readonly line: LeaseLine } {
    if (this.#current === undefined) throw new StatefulError("session_over", "The host has no session yet.");
    return this.#current;
  }

  #opened(life: SessionLife, previous: SessionLife | undefined): void {
    const { directory, clock, limits, random = Math.random, events } = this.#options;
    const line = new LeaseLine({
      directory,
      clock,
      log: this.#log,
      random,
      life,
      time: this.#time,
      limits: { ...leaseLineLimits, ...limits },
    });
    this.#current = { life, line };
    this.#log.info("session.opened", { session: life.id, previous: previous?.id });
    if (previous === undefined) return;
    events.sessionOpened(life, previous, previous.seen.generation !== life.seen.generation);
  }

  #over(life: SessionLife, reason: SessionOverReason): void {
    this.#log.warn("session.over", { session: life.id, reason });
    this.#options.events.sessionOver(life, reason);
  }

  #seeHosts(hosts: readonly HostRecord[]): void {
    const known = this.#hostBySession;
    this.#hosts = hosts;
    this.#hostBySession = new Map(hosts.map((host) => [host.session, host]));
    const gone = Array.from(known.values()).filter((host) => !this.#hostBySession.has(host.session));
    const isNew = hosts.some((host) => !known.has(host.session));
    if (isNew || gone.length > 0) this.#options.events.hostsChanged(hosts, gone);
  }

  async #verifyForEver(): Promise<void> {
    const { clock, random = Math.random, verifyIntervalMs = leaseDefaults.verifyIntervalMs } = this.#options;
    while (!this.#stop.signal.aborted) {
      await sleep(clock, verifyIntervalMs * (0.9 + 0.2 * random()), this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      await this.#verify().catch((error: unknown) => this.#log.warn("lease.verification_failed", { error }));
    }
  }

  async #verify(): Promise<void> {
    const { life } = this.#open();
    const held = [...this.#options.held()];
    for (let from = 0; from < held.length && life.isValid(); from += verifyItemsMax) {
      const lost = await this.#options.directory.verify(life.id, held.slice(from, from + verifyItemsMax));
      if (lost.length === 0 || !life.isValid()) continue;
      this.#log.error("lease.lost", { session: life.id, objects: lost.map((lease) => lease.object.key) });
      this.#options.events.leasesLost(lost);
    }
  }
}

const nobodys: Lease = { session: "", epoch: 0, alive: false, former: "" };

/** Whether a session that this process had before has the lease. */
function isEarlierOf(life: SessionLife, { session }: Lease): boolean {
  return session !== life.id && processOfSession(session) === processOfSession(life.id);
}

function notGiven(object: ObjectRef): StatefulError {
  return new StatefulError("directory_unavailable", `The directory gave ${object.key} to nobody. Try again.`);
}
