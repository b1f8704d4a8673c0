import { nanoid } from "nanoid";
import { asStatefulError } from "../lib/errors.ts";
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
  Renewal,
  RenewalAnswer,
  SessionEnd,
} from "./directory.ts";
import { migrate } from "./directory-schema.ts";
import {
  commitStatements,
  endStatements,
  findStatement,
  lostStatement,
  opened,
  openStatements,
  renewed,
  renewStatements,
  type Witness,
} from "./directory-statements.ts";
import { numberOf, type SqlConnection, type SqlRows, textOf } from "./sql-connection.ts";

/** How long a session's row outlives it. A process that was frozen for longer than this looks like lost memory (L9). */
const sessionKeepMs = 7 * 24 * 60 * 60 * 1000;

export interface LibsqlConnections {
  /** Opens, renews and ends sessions. Used for nothing else, so that a renewal never queues behind other work (L1). */
  readonly renewals: SqlConnection;
  /** Commits and verifies. */
  readonly work: SqlConnection;
  /** Where hints are read (L5). May be a replica; falls back by itself where it has nothing. */
  readonly hints: SqlConnection;
}

/** The directory in libSQL. What the rules say in SQL is in `directory-statements.ts`; this carries values in and out. */
export class LibsqlDirectory implements Directory {
  readonly #renewals: SqlConnection;
  readonly #work: SqlConnection;
  readonly #hints: SqlConnection;
  #migrated: Promise<void> | undefined;

  constructor(connections: LibsqlConnections) {
    this.#renewals = connections.renewals;
    this.#work = connections.work;
    this.#hints = connections.hints;
  }

  async openSession(session: NewSession): Promise<OpenedSession> {
    await this.#migrate();
    const witness = witnessOf(session.previous?.session ?? "", session.previous?.seen, 0, session.ttlMs);
    const results = await this.#renewals.batch(openStatements(witness, sessionArgs(session)));
    const state = stateOf(results[opened.state]);
    return {
      position: state.position,
      hosts: hostsOf(results[opened.hosts]),
      quarantineMs: state.quarantineMs,
    };
  }

  async renew(renewal: Renewal): Promise<RenewalAnswer> {
    const witness = witnessOf(renewal.session, renewal.seen, 0, renewal.ttlMs);
    const results = await this.#renewals.batch(renewStatements(witness, renewalArgs(renewal)));
    const state = stateOf(results[renewed.state]);
    const reason = endOf(state, renewal.seen);
    if (reason !== undefined) return { alive: false, reason };
    return {
      alive: true,
      position: state.position,
      lastCommit: state.lastCommit,
      quarantineMs: state.quarantineMs,
      hosts: hostsOf(results[renewed.hosts]),
    };
  }

  async endSession(session: string): Promise<void> {
    await this.#renewals.batch(endStatements(session));
  }

  async commit(commit: Commit): Promise<CommitAnswer> {
    // Nothing but a lost memory makes the quarantine longer, and the longest life in the table decides how much.
    const witness = witnessOf(commit.session, commit.seen, commit.slot - 1, 0);
    const results = await this.#work.batch(commitStatements(witness, commitArgs(commit)));
    const state = stateOf(results.at(-2));
    const leases = leasesOf(askedBy(commit), results.at(-1));
    if (state.lastCommit < commit.slot) {
      return { outcome: "session_over", reason: endOf(state, commit.seen) ?? "ended" };
    }
    if (state.lastCommit > commit.slot) return { outcome: "committed", leases, position: state.position };
    switch (state.lastOutcome) {
      case "quarantined":
        return { outcome: "quarantined", quarantineMs: state.quarantineMs, leases, position: state.position };
      case "draining":
        return { outcome: "draining", leases, position: state.position };
      default:
        return { outcome: "committed", leases, position: state.position };
    }
  }

  async find(objects: readonly ObjectRef[]): Promise<ReadonlyMap<string, LeaseHint>> {
    const rows = await this.#hints.query(findStatement(JSON.stringify(objects.map(nameOf))));
    return new Map(
      rows.map((row) => [
        keyAt(objects, numberOf(row, "asked")),
        { session: textOf(row, "session"), epoch: numberOf(row, "epoch") },
      ]),
    );
  }

  async verify(session: string, leases: readonly HeldLease[]): Promise<readonly HeldLease[]> {
    const asked = leases.map((lease) => [...nameOf(lease.object), lease.epoch]);
    const rows = await this.#work.query(lostStatement(session, JSON.stringify(asked)));
    return rows.flatMap((row) => leases[numberOf(row, "asked")] ?? []);
  }

  async close(): Promise<void> {
    const connections = new Set([this.#renewals, this.#work, this.#hints]);
    await Promise.all(Array.from(connections, (connection) => connection.close()));
  }

  /** Once per directory; a failure is forgotten, so that the next session that opens tries again. */
  #migrate(): Promise<void> {
    this.#migrated ??= migrate(this.#work).catch((cause: unknown) => {
      this.#migrated = undefined;
      throw asStatefulError(cause, "directory_unavailable");
    });
    return this.#migrated;
  }
}

interface State {
  readonly position: DirectoryPosition;
  readonly quarantineMs: number;
  readonly isMissing: boolean;
  readonly ended: number;
  readonly isExpired: boolean;
  readonly lastCommit: number;
  readonly lastOutcome: string;
}

/** A position is the generation of the directory with the number on the session's own row. */
function stateOf(rows: SqlRows | undefined): State {
  const row = rows?.[0];
  const generation = textOf(row, "generation");
  const quarantineMs = numberOf(row, "quarantine_ms");
  if (row?.session == null) {
    const position = { generation, counter: 0 };
    return {
      position,
      quarantineMs,
      isMissing: true,
      ended: 0,
      isExpired: false,
      lastCommit: 0,
      lastOutcome: "",
    };
  }
  return {
    position: { generation, counter: numberOf(row, "counter") },
    quarantineMs,
    isMissing: false,
    ended: numberOf(row, "ended"),
    isExpired: numberOf(row, "expires_at") <= numberOf(row, "now"),
    lastCommit: numberOf(row, "last_commit"),
    lastOutcome: textOf(row, "last_outcome"),
  };
}

function endOf(state: State, seen: DirectoryPosition): SessionEnd | undefined {
  if (state.position.generation !== seen.generation || state.ended === 3) return "directory_lost_memory";
  if (state.isMissing) return "missing";
  if (state.ended === 1) return "ended";
  return state.ended === 2 || state.isExpired ? "expired" : undefined;
}

function witnessOf(
  session: string,
  seen: DirectoryPosition | undefined,
  commitsSeen: number,
  ttlMs: number,
): Witness {
  return {
    session,
    generation: seen?.generation ?? "",
    counter: BigInt(seen?.counter ?? 0),
    commitsSeen: BigInt(commitsSeen),
    ttlMs: BigInt(ttlMs),
    nextGeneration: nanoid(),
  };
}

function sessionArgs(session: NewSession) {
  return {
    ...liveArgs(session),
    hostId: session.hostId,
    region: session.region,
    privateUrl: session.privateUrl,
    publicUrl: session.publicUrl,
    version: session.version,
    sessionKeepMs: BigInt(sessionKeepMs),
  };
}

function renewalArgs(renewal: Renewal) {
  return { ...liveArgs(renewal), generation: renewal.seen.generation };
}

/** What a session says when it opens and again with each renewal. */
function liveArgs(live: Omit<Renewal, "seen">) {
  return {
    session: live.session,
    ttlMs: BigInt(live.ttlMs),
    draining: live.draining ? 1n : 0n,
    classes: JSON.stringify(live.classes),
    load: JSON.stringify(live.load),
  };
}

function commitArgs(commit: Commit) {
  const { acquire, adopt, release } = commit;
  return {
    session: commit.session,
    slot: BigInt(commit.slot),
    generation: commit.seen.generation,
    acquire: JSON.stringify(acquire.map((item) => [...nameOf(item.object), item.when])),
    adopt: JSON.stringify(adopt.map((item) => [...nameOf(item.object), item.fromSession, item.fromEpoch])),
    release: JSON.stringify(release.map((lease) => [...nameOf(lease.object), lease.epoch])),
    asked: JSON.stringify(askedBy(commit).map(nameOf)),
  };
}

function askedBy(commit: Commit): readonly ObjectRef[] {
  return [...commit.acquire, ...commit.adopt].map((item) => item.object);
}

/** The id as the key spells it, percent-encoded: ASCII, so that no id meets what SQL text does to NUL or to Unicode. */
function nameOf(object: ObjectRef): readonly [className: string, id: string] {
  return [object.className, object.key.slice(object.className.length + 1)];
}

function leasesOf(asked: readonly ObjectRef[], rows: SqlRows = []): ReadonlyMap<string, Lease> {
  // Written by readLeases.
  const answers: ReadonlyArray<readonly [asked: number, session: string, epoch: number, alive: 0 | 1]> =
    JSON.parse(textOf(rows[0], "leases"));
  return new Map(
    answers.map(([index, session, epoch, alive]) => {
      const lease = { session, epoch, alive: alive === 1 };
      return [keyAt(asked, index), lease];
    }),
  );
}

function keyAt(asked: readonly ObjectRef[], index: number): string {
  const object = asked[index];
  if (object === undefined)
    throw new RangeError("The directory answered about an object that was not asked for.");
  return object.key;
}

function hostsOf(rows: SqlRows = []): readonly HostRecord[] {
  return rows.map((row) => ({
    session: textOf(row, "session"),
    hostId: textOf(row, "host_id"),
    region: textOf(row, "region"),
    privateUrl: textOf(row, "private_url"),
    publicUrl: textOf(row, "public_url"),
    classes: JSON.parse(textOf(row, "classes")), // written by liveArgs
    version: textOf(row, "version"),
    draining: numberOf(row, "draining") === 1,
    load: JSON.parse(textOf(row, "load")), // written by liveArgs
  }));
}
