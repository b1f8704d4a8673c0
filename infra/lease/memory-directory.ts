import { nanoid } from "nanoid";
import type { Clock } from "../lib/clock.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type {
  Commit,
  CommitAnswer,
  Directory,
  DirectoryPosition,
  HeldLease,
  HostRecord,
  Lease,
  LeaseHint,
  NewSession,
  OpenedSession,
  PreviousSession,
  Renewal,
  RenewalAnswer,
  SessionEnd,
} from "./directory.ts";

/**
 * The directory's rules over maps, for tests and simulations: each call is one transaction, on an injected clock. It can be
 * copied and put back, so that a test can have it forget. The rules are explained where they are SQL, in
 * `directory-statements.ts`; the contract suite holds both to them.
 */
export class MemoryDirectory implements Directory {
  readonly #clock: Clock;
  #data: Data = emptyData();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async openSession(session: NewSession): Promise<OpenedSession> {
    this.#tick();
    const { previous } = session;
    if (previous !== undefined) {
      this.#detectLoss(previous, 0, session.ttlMs);
      this.#endPrevious(previous.session);
    }
    if (!this.#data.sessions.has(session.session))
      this.#data.sessions.set(session.session, this.#newRow(session));
    return {
      position: this.#positionOf(session.session),
      hosts: this.#hosts(),
      quarantineMs: this.#quarantineMs(this.#data.sessions.get(session.session)),
    };
  }

  async renew(renewal: Renewal): Promise<RenewalAnswer> {
    this.#tick();
    this.#detectLoss({ session: renewal.session, seen: renewal.seen }, 0, renewal.ttlMs);
    const row = this.#data.sessions.get(renewal.session);
    const reason = this.#endOf(row, renewal.seen);
    if (row === undefined || reason !== undefined) return { alive: false, reason: reason ?? "missing" };
    row.expiresAt = this.#data.now + renewal.ttlMs;
    row.counter = this.#data.counter;
    row.host = { ...row.host, draining: renewal.draining, classes: renewal.classes, load: renewal.load };
    row.ttlMs = renewal.ttlMs;
    this.#buryExpired(row);
    return {
      alive: true,
      position: this.#positionOf(renewal.session),
      lastCommit: row.lastCommit,
      quarantineMs: this.#quarantineMs(row),
      hosts: this.#hosts(),
    };
  }

  async endSession(session: string): Promise<void> {
    this.#tick();
    const row = this.#data.sessions.get(session);
    if (row !== undefined) row.ended ??= "ended";
  }

  async commit(commit: Commit): Promise<CommitAnswer> {
    this.#tick();
    this.#detectLoss(commit, commit.slot - 1, 0);
    const row = this.#data.sessions.get(commit.session);
    const reason = this.#endOf(row, commit.seen);
    if (row !== undefined && reason === undefined && row.lastCommit === commit.slot - 1)
      this.#apply(row, commit);
    const leases = this.#leasesOf(row, commit);
    const position = this.#positionOf(commit.session);
    if (row === undefined || row.lastCommit < commit.slot) {
      return { outcome: "session_over", reason: reason ?? "ended" };
    }
    const outcome = row.lastCommit > commit.slot ? "committed" : row.lastOutcome;
    if (outcome !== "quarantined") return { outcome, leases, position };
    return { outcome, quarantineMs: this.#quarantineMs(row), leases, position };
  }

  async find(objects: readonly ObjectRef[]): Promise<ReadonlyMap<string, LeaseHint>> {
    const found = new Map<string, LeaseHint>();
    for (const { key } of objects) {
      const lease = this.#data.leases.get(key);
      if (lease !== undefined && lease.session !== "") found.set(key, { ...lease });
    }
    return found;
  }

  async verify(session: string, leases: readonly HeldLease[]): Promise<readonly HeldLease[]> {
    return leases.filter(({ object, epoch }) => {
      const lease = this.#data.leases.get(object.key);
      return lease?.session !== session || lease.epoch !== epoch;
    });
  }

  async close(): Promise<void> {
    // Nothing is open.
  }

  /** Everything the directory knows, to be put back later: a backup, or what the platter had when the power failed. */
  copy(): MemoryDirectoryCopy {
    return structuredClone(this.#data);
  }

  restore(copy: MemoryDirectoryCopy): void {
    this.#data = structuredClone(copy);
  }

  #tick(): void {
    this.#data.now = Math.max(this.#data.now, Math.floor(this.#clock.wallMs()));
    this.#data.counter += 1;
  }

  #detectLoss(witness: PreviousSession, commitsSeen: number, ttlMs: number): void {
    const { seen } = witness;
    const row = this.#data.sessions.get(witness.session);
    const isRemembered = row !== undefined && row.counter >= seen.counter && row.lastCommit >= commitsSeen;
    if (isRemembered || this.#data.former === seen.generation) return;
    const living = Array.from(this.#data.sessions.values()).filter((session) => session.ended === undefined);
    this.#data.generation = nanoid();
    this.#data.former = seen.generation;
    this.#data.quarantineUntil = this.#data.now + Math.max(ttlMs, ...living.map((session) => session.ttlMs));
    for (const session of living) session.ended = "directory_lost_memory";
  }

  #endPrevious(session: string): void {
    const row = this.#data.sessions.get(session);
    if (row !== undefined && row.expiresAt <= this.#data.now) row.ended ??= "expired";
  }

  #newRow({ ttlMs, previous: _, ...host }: NewSession): SessionRow {
    const { now, counter } = this.#data;
    return {
      host,
      ttlMs,
      openedAt: now,
      expiresAt: now + ttlMs,
      counter,
      lastCommit: 0,
      lastOutcome: "committed",
      ended: undefined,
    };
  }

  #buryExpired(me: SessionRow): void {
    for (const row of this.#data.sessions.values()) {
      const isOver = row.expiresAt <= this.#data.now && me.openedAt + row.ttlMs <= this.#data.now;
      if (isOver) row.ended ??= "expired";
    }
  }

  #apply(me: SessionRow, commit: Commit): void {
    const isQuarantined = this.#quarantineMs(me) > 0;
    for (const { object, epoch } of commit.release) {
      const lease = this.#data.leases.get(object.key);
      if (lease?.session === commit.session && lease.epoch === epoch) lease.session = "";
    }
    for (const { object, fromSession, fromEpoch } of isQuarantined ? [] : commit.adopt) {
      const lease = this.#data.leases.get(object.key);
      if (lease?.session === fromSession && lease.epoch === fromEpoch) this.#give(commit.session, object);
    }
    for (const { object, when } of isQuarantined || me.host.draining ? [] : commit.acquire) {
      const lease = this.#data.leases.get(object.key);
      const isMine = lease?.session === commit.session;
      const isFree = lease === undefined || !this.#ownerLives(me, lease.session);
      if (isMine || (isFree && when === "free")) this.#give(commit.session, object);
    }
    me.lastCommit = commit.slot;
    me.lastOutcome = isQuarantined ? "quarantined" : me.host.draining ? "draining" : "committed";
    me.counter = this.#data.counter;
  }

  #give(session: string, object: ObjectRef): void {
    const epoch = Math.max((this.#data.leases.get(object.key)?.epoch ?? 0) + 1, this.#data.now);
    this.#data.leases.set(object.key, { session, epoch });
  }

  #ownerLives(me: SessionRow | undefined, session: string): boolean {
    const row = this.#data.sessions.get(session);
    if (row === undefined || me === undefined || row.ended !== undefined) return false;
    return row.expiresAt > this.#data.now || me.openedAt + row.ttlMs > this.#data.now;
  }

  #endOf(row: SessionRow | undefined, seen: DirectoryPosition): SessionEnd | undefined {
    if (this.#data.generation !== seen.generation) return "directory_lost_memory";
    if (row === undefined) return "missing";
    return row.ended ?? (row.expiresAt <= this.#data.now ? "expired" : undefined);
  }

  #quarantineMs(me: SessionRow | undefined): number {
    let until = this.#data.quarantineUntil;
    for (const row of this.#data.sessions.values()) {
      const isGap = me !== undefined && row.ended === undefined && row.expiresAt <= me.openedAt;
      if (isGap) until = Math.max(until, me.openedAt + row.ttlMs);
    }
    return Math.max(0, until - this.#data.now);
  }

  #positionOf(session: string): DirectoryPosition {
    return { generation: this.#data.generation, counter: this.#data.sessions.get(session)?.counter ?? 0 };
  }

  #leasesOf(me: SessionRow | undefined, commit: Commit): ReadonlyMap<string, Lease> {
    const leases = new Map<string, Lease>();
    for (const { object } of [...commit.acquire, ...commit.adopt]) {
      const lease = this.#data.leases.get(object.key);
      if (lease !== undefined)
        leases.set(object.key, { ...lease, alive: this.#ownerLives(me, lease.session) });
    }
    return leases;
  }

  #hosts(): readonly HostRecord[] {
    const alive = Array.from(this.#data.sessions.values()).filter(
      (row) => row.ended === undefined && row.expiresAt > this.#data.now,
    );
    return alive.map((row) => row.host);
  }
}

/** Opaque to whoever keeps one. */
export type MemoryDirectoryCopy = Data;

interface Data {
  generation: string;
  former: string;
  counter: number;
  quarantineUntil: number;
  now: number;
  readonly sessions: Map<string, SessionRow>;
  readonly leases: Map<string, { session: string; epoch: number }>;
}

interface SessionRow {
  host: HostRecord;
  ttlMs: number;
  readonly openedAt: number;
  expiresAt: number;
  counter: number;
  lastCommit: number;
  lastOutcome: "committed" | "quarantined" | "draining";
  ended: SessionEnd | undefined;
}

function emptyData(): Data {
  const counters = { counter: 0, quarantineUntil: 0, now: 0 };
  return { generation: nanoid(), former: "", ...counters, sessions: new Map(), leases: new Map() };
}
