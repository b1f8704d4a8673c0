import { nanoid } from "nanoid";
import type { Clock } from "../lib/clock.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { alarmRows, listRows, loadRows, messageRows, readRows, writeRows } from "./memory-stored-objects.ts";
import { processOfSession } from "./session-id.ts";
import { type Data, emptyData, keyOf, type SessionRow } from "./memory-tables.ts";
import {
  type Commit,
  type CommitAnswer,
  type CommitEffects,
  type Directory,
  type DirectoryPosition,
  elapsedMsMax,
  type HeldLease,
  type HostRecord,
  type Lease,
  type LeaseHint,
  type MoveItem,
  type NewSession,
  type OpenedSession,
  type PreviousSession,
  type Renewal,
  type RenewalAnswer,
  type SessionEnd,
} from "./directory.ts";
import {
  type StoredAlarm,
  type AlarmReport,
  type LoadedObject,
  loadLimits,
  type MessagePlace,
  type ObjectName,
  type StoredKey,
  type StoredMessages,
  type StoredPage,
  type StoredRange,
} from "./stored-objects.ts";

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
      this.#endPrevious(previous.session, session.ttlMs);
    }
    if (!this.#data.sessions.has(session.session))
      this.#data.sessions.set(session.session, this.#newRow(session));
    return {
      position: this.#positionOf(session.session),
      hosts: this.#hosts(),
      quarantineMs: this.#quarantineMs(this.#data.sessions.get(session.session)),
      nowMs: this.#data.now,
    };
  }

  async renew(renewal: Renewal): Promise<RenewalAnswer> {
    this.#tick();
    this.#detectLoss({ session: renewal.session, seen: renewal.seen }, 0, renewal.ttlMs);
    const row = this.#data.sessions.get(renewal.session);
    const reason = this.#endOf(row, renewal.seen);
    if (row === undefined || reason !== undefined) return { alive: false, reason: reason ?? "missing" };
    if (this.#data.now - row.expiresAt + row.ttlMs > row.ttlMs / 2) row.steadySince = this.#data.now;
    row.expiresAt = this.#data.now + renewal.ttlMs;
    row.counter = Math.max(row.counter + 1, this.#data.counter);
    row.host = { ...row.host, draining: renewal.draining, classes: renewal.classes, load: renewal.load };
    row.ttlMs = renewal.ttlMs;
    this.#buryExpired(row);
    return {
      alive: true,
      position: this.#positionOf(renewal.session),
      lastCommit: row.lastCommit,
      quarantineMs: this.#quarantineMs(row),
      nowMs: this.#data.now,
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
    if (row === undefined || row.lastCommit < commit.slot) {
      return { outcome: "session_over", reason: reason ?? "ended" };
    }
    const outcome = row.lastCommit > commit.slot ? "committed" : row.lastOutcome;
    const effects = this.#effects(row, commit);
    if (outcome !== "quarantined") return { outcome, ...effects };
    return { outcome, quarantineMs: this.#quarantineMs(row), ...effects };
  }

  readonly hasHints = false;

  async find(objects: readonly ObjectRef[]): Promise<ReadonlyMap<string, LeaseHint>> {
    const found = new Map<string, LeaseHint>();
    for (const { key } of objects) {
      const lease = this.#data.leases.get(key);
      if (lease !== undefined && lease.session !== "")
        found.set(key, { session: lease.session, epoch: lease.epoch });
    }
    return found;
  }

  async verify(session: string, leases: readonly HeldLease[]): Promise<readonly HeldLease[]> {
    return leases.filter((lease) => !this.#holds(session, lease));
  }

  async read(keys: readonly StoredKey[]): Promise<readonly (Uint8Array | undefined)[]> {
    return readRows(this.#data.stored, keys);
  }

  async list(range: StoredRange): Promise<StoredPage> {
    return listRows(this.#data.stored, range);
  }

  async dueAlarms(
    limit: number,
    ownerGraceMs: number,
    classes?: readonly string[],
  ): Promise<readonly ObjectName[]> {
    const nowMs = Math.max(this.#data.now, this.#clock.wallMs());
    const due = alarmRows(this.#data.stored).filter((alarm) => {
      const owner = this.#data.sessions.get(this.#data.leases.get(keyOf(alarm))?.session ?? "");
      const isOwned = owner !== undefined && owner.ended === undefined && owner.expiresAt > nowMs;
      if (classes !== undefined && !classes.includes(alarm.className)) return false;
      return !alarm.parked && alarm.dueAtMs <= (isOwned ? nowMs - ownerGraceMs : nowMs);
    });
    const byObject = new Map(due.slice(0, limit).map((alarm) => [keyOf(alarm), alarm]));
    return Array.from(byObject.values(), ({ className, id }) => ({ className, id }));
  }

  async alarmsOf(object: ObjectRef): Promise<ReadonlyMap<string, StoredAlarm>> {
    return new Map(this.#data.stored.alarms.get(object.key));
  }

  async alarms(limit: number, object?: ObjectRef): Promise<readonly AlarmReport[]> {
    const all = alarmRows(this.#data.stored);
    return all.filter((alarm) => object === undefined || keyOf(alarm) === object.key).slice(0, limit);
  }

  async messages(object: ObjectRef, after?: MessagePlace): Promise<StoredMessages> {
    return messageRows(this.#data.stored, object, after);
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
    const { now, ahead } = this.#data;
    const clock = Math.floor(this.#clock.wallMs());
    const elapsed = Math.min(elapsedMsMax, Math.max(0, ahead - now + clock));
    this.#data.now = clock >= now ? clock : now + Math.floor(elapsed / 2);
    this.#data.ahead = this.#data.now - clock + (elapsed % 2);
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

  #endPrevious(session: string, ttlMs: number): void {
    const row = this.#data.sessions.get(session);
    if (row === undefined || row.ended !== undefined) return;
    row.ended = "expired";
    row.expiresAt = this.#data.now + 2 * ttlMs;
  }

  #newRow({ ttlMs, previous: _, ...host }: NewSession): SessionRow {
    const { now, counter } = this.#data;
    return {
      host,
      ttlMs,
      openedAt: now,
      steadySince: now,
      expiresAt: now + ttlMs,
      counter,
      lastCommit: 0,
      lastOutcome: "committed",
      lastRefused: new Set(),
      ended: undefined,
    };
  }

  #buryExpired(me: SessionRow): void {
    for (const row of this.#data.sessions.values()) {
      const isOver = row.expiresAt <= this.#data.now && this.#steadySince(me) + row.ttlMs <= this.#data.now;
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
    for (const { object, when } of isQuarantined ? [] : commit.acquire) {
      const lease = this.#data.leases.get(object.key);
      const isMine = lease?.session === commit.session;
      const isFree = lease === undefined || !this.#ownerLives(me, lease.session);
      if (isMine || (isFree && when === "free" && !me.host.draining)) this.#give(commit.session, object);
    }
    for (const writes of commit.writes) {
      if (this.#holds(commit.session, writes)) writeRows(this.#data.stored, writes);
    }
    // Before the moves: after them the leases do not tell who was fenced. The writes are in, so an object may go with its last.
    if (isNoted(commit)) me.lastRefused = this.#refused(commit);
    for (const item of isQuarantined ? [] : commit.move) {
      if (this.#holds(commit.session, item) && this.#mayReceive(commit.session, item))
        this.#give(item.toSession, item.object);
    }
    me.lastCommit = commit.slot;
    const leases = commit.acquire.length + commit.adopt.length + commit.release.length + commit.move.length;
    const isOnlyWrites = commit.writes.length > 0 && leases === 0;
    me.lastOutcome = isOnlyWrites
      ? "committed"
      : isQuarantined
        ? "quarantined"
        : me.host.draining
          ? "draining"
          : "committed";
    me.counter = Math.max(me.counter + 1, this.#data.counter);
  }

  #holds(session: string, { object, epoch }: HeldLease): boolean {
    const lease = this.#data.leases.get(object.key);
    return lease?.session === session && lease.epoch === epoch;
  }

  #give(session: string, object: ObjectRef): void {
    const before = this.#data.leases.get(object.key);
    const epoch = Math.max((before?.epoch ?? 0) + 1, this.#data.now);
    this.#data.leases.set(object.key, { session, epoch, former: before?.session ?? "" });
  }

  #mayReceive(fromSession: string, { toSession }: MoveItem): boolean {
    const target = this.#data.sessions.get(toSession);
    if (target === undefined || toSession === fromSession || target.host.draining) return false;
    return target.ended === undefined && target.expiresAt > this.#data.now;
  }

  #refused(commit: Commit): ReadonlySet<string> {
    const refused = commit.writes.filter((writes) => !this.#holds(commit.session, writes));
    return new Set(refused.map(({ object }) => object.key));
  }

  #ownerLives(me: SessionRow | undefined, session: string): boolean {
    const row = this.#data.sessions.get(session);
    if (row === undefined || me === undefined) return false;
    const isBack = row.ended === "expired" && row.expiresAt > this.#data.now;
    if (isBack) return processOfSession(session) !== processOfSession(me.host.session);
    if (row.ended !== undefined) return false;
    return row.expiresAt > this.#data.now || this.#steadySince(me) + row.ttlMs > this.#data.now;
  }

  #steadySince({ expiresAt, ttlMs, steadySince }: SessionRow): number {
    return expiresAt - this.#data.now < ttlMs / 2 ? this.#data.now : steadySince;
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

  #effects(me: SessionRow, commit: Commit): CommitEffects {
    const leases = this.#leasesOf(me, commit);
    const loaded = new Map<string, LoadedObject>();
    const budget = { bytes: loadLimits.bytesMax };
    for (const { object, load } of commit.acquire) {
      if (load !== true || leases.get(object.key)?.session !== commit.session) continue;
      loaded.set(object.key, loadRows(this.#data.stored, object, budget));
    }
    return {
      leases,
      loaded,
      refused: isNoted(commit) ? me.lastRefused : this.#refused(commit),
      position: this.#positionOf(commit.session),
      nowMs: this.#data.now,
    };
  }

  #leasesOf(me: SessionRow | undefined, commit: Commit): ReadonlyMap<string, Lease> {
    const leases = new Map<string, Lease>();
    for (const { object } of [...commit.acquire, ...commit.adopt, ...commit.move]) {
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

/** Whether the leases no longer tell, after this commit, which of its writes were fenced. */
function isNoted({ move, writes }: Commit): boolean {
  return move.length > 0 && writes.length > 0;
}

/** Opaque to whoever keeps one. */
export type MemoryDirectoryCopy = Data;
