import { nanoid } from "nanoid";
import { asStatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type {
  Commit,
  CommitAnswer,
  CommitEffects,
  Directory,
  ForgottenLeases,
  HeldLease,
  LeaseHint,
  LeasePage,
  NewSession,
  OpenedSession,
  Renewal,
  RenewalAnswer,
} from "./directory.ts";
import { migrate, requiredSchema, schemaTooNew, schemaVersion } from "./directory-schema.ts";
import {
  commitStatements,
  endStatements,
  findStatement,
  forgetStatements,
  lostStatement,
  opened,
  openStatements,
  renewed,
  renewStatements,
  writeOnlyStatements,
} from "./directory-statements.ts";
import { endOf, hostsOf, keyAt, leasesOf, refusedOf, stateOf } from "./libsql-answers.ts";
import { askedBy, commitArgs, renewalArgs, sessionArgs, witnessOf } from "./libsql-arguments.ts";
import { LibsqlStoredObjects, loadedOf } from "./libsql-stored-objects.ts";
import { nameOf } from "./object-name.ts";
import { numberOf, type SqlConnection, textOf } from "./sql-connection.ts";
import type {
  AlarmReport,
  MessagePlace,
  ObjectName,
  StoredAlarm,
  StoredKey,
  StoredMessages,
  StoredPage,
  StoredRange,
  StoredObjects,
} from "./stored-objects.ts";
import { packWrites } from "./write-statements.ts";

export interface LibsqlConnections {
  /** Opens, renews and ends sessions. Used for nothing else, so that a renewal never queues behind other work (L1). */
  readonly renewals: SqlConnection;
  /** Commits and verifies. */
  readonly work: SqlConnection;
  /** Reads what objects have stored, and forgets leases: what is slow there is not to hold up a commit. Default: `work`. */
  readonly reads?: SqlConnection | undefined;
  /** Where hints are read (L5). May be a replica; falls back by itself where it has nothing. */
  readonly hints: SqlConnection;
}

/** The directory in libSQL. What the rules say in SQL is in `directory-statements.ts`; this asks, and says what the answers mean. */
export class LibsqlDirectory implements Directory {
  readonly #renewals: SqlConnection;
  readonly #work: SqlConnection;
  readonly #hints: SqlConnection;
  readonly #reads: SqlConnection | undefined;
  readonly #stored: LibsqlStoredObjects;
  #migrated: Promise<void> | undefined;

  constructor(connections: LibsqlConnections) {
    this.#renewals = connections.renewals;
    this.#work = connections.work;
    this.#hints = connections.hints;
    this.#stored = new LibsqlStoredObjects(connections.reads ?? connections.work);
    this.#reads = connections.reads;
  }

  async openSession(session: NewSession): Promise<OpenedSession> {
    await this.#migrate();
    const witness = witnessOf(session.previous?.session ?? "", session.previous?.seen, 0, session.ttlMs);
    const results = await this.#understood(
      this.#renewals.batch(openStatements(witness, sessionArgs(session))),
    );
    // A session that ran out did not hear from here: what was under way on the other connection may never be answered.
    if (session.previous !== undefined) {
      this.#work.reset();
      this.#reads?.reset();
    }
    const state = stateOf(results[opened.state]);
    // Somebody may have migrated since this build looked at the tables, which it does once.
    if (state.requiredSchema > schemaVersion) throw schemaTooNew(state.requiredSchema);
    return {
      position: state.position,
      hosts: hostsOf(results[opened.hosts]),
      quarantineMs: state.quarantineMs,
      nowMs: state.nowMs,
    };
  }

  async renew(renewal: Renewal): Promise<RenewalAnswer> {
    const witness = witnessOf(renewal.session, renewal.seen, 0, renewal.ttlMs);
    const results = await this.#understood(
      this.#renewals.batch(renewStatements(witness, renewalArgs(renewal))),
    );
    const state = stateOf(results[renewed.state]);
    const reason = endOf(state, renewal.seen);
    if (reason !== undefined) return { alive: false, reason };
    return {
      alive: true,
      position: state.position,
      lastCommit: state.lastCommit,
      quarantineMs: state.quarantineMs,
      nowMs: state.nowMs,
      hosts: hostsOf(results[renewed.hosts]),
    };
  }

  async endSession(session: string): Promise<void> {
    await this.#renewals.batch(endStatements(session));
  }

  async commit(commit: Commit): Promise<CommitAnswer> {
    const { acquire, adopt, release, move, writes } = commit;
    const leases = acquire.length + adopt.length + release.length + move.length;
    const onlyWrites = leases === 0 && writes.length > 0;
    return (onlyWrites ? await this.#commitWrites(commit) : undefined) ?? this.#commitAll(commit);
  }

  /** Undefined where the slot could not be claimed so: nothing was written, and the long way finds out why. */
  async #commitWrites(commit: Commit): Promise<CommitAnswer | undefined> {
    const { session, slot, seen, writes } = commit;
    const { generation } = seen;
    const claim = { session, slot: BigInt(slot), generation, counter: BigInt(seen.counter), claim: nanoid() };
    const results = await this.#work.batch(writeOnlyStatements(claim, packWrites(writes)));
    const row = results[0]?.[0];
    if (row === undefined) return undefined;
    return {
      outcome: "committed",
      leases: new Map(),
      loaded: new Map(),
      refused: refusedOf(commit, results.at(-1)?.[0]),
      position: { generation, counter: numberOf(row, "counter") },
      nowMs: numberOf(row, "now"),
    };
  }

  async #commitAll(commit: Commit): Promise<CommitAnswer> {
    // Nothing but a lost memory makes the quarantine longer, and the longest life in the table decides how much.
    const witness = witnessOf(commit.session, commit.seen, commit.slot - 1, 0);
    const args = commitArgs(commit);
    const results = await this.#work.batch(commitStatements(witness, args));
    const read = args.load.length > 0 ? results.slice(-4) : results.slice(-2);
    const state = stateOf(read[0]);
    if (state.lastCommit < commit.slot) {
      return { outcome: "session_over", reason: endOf(state, commit.seen) ?? "ended" };
    }
    const effects: CommitEffects = {
      leases: leasesOf(askedBy(commit), read[1]),
      loaded: loadedOf(args.load, read[2], read[3]),
      refused: refusedOf(commit, read[0]?.[0]),
      position: state.position,
      nowMs: state.nowMs,
    };
    const isOurs = state.lastCommit === commit.slot;
    if (isOurs && state.lastOutcome === "quarantined")
      return { outcome: "quarantined", quarantineMs: state.quarantineMs, ...effects };
    if (isOurs && state.lastOutcome === "draining") return { outcome: "draining", ...effects };
    return { outcome: "committed", ...effects };
  }

  read(keys: readonly StoredKey[]): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#stored.read(keys);
  }
  list(range: StoredRange): Promise<StoredPage> {
    return this.#stored.list(range);
  }
  dueAlarms(...asked: Parameters<StoredObjects["dueAlarms"]>): Promise<readonly ObjectName[]> {
    return this.#stored.dueAlarms(...asked);
  }
  alarmsOf(object: ObjectRef): Promise<ReadonlyMap<string, StoredAlarm>> {
    return this.#stored.alarmsOf(object);
  }
  alarms(limit: number, object?: ObjectRef): Promise<readonly AlarmReport[]> {
    return this.#stored.alarms(limit, object);
  }
  messages(object: ObjectRef, after?: MessagePlace): Promise<StoredMessages> {
    return this.#stored.messages(object, after);
  }

  get hasHints(): boolean {
    return this.#hints !== this.#work;
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

  async forgetLeases({ after, limit, keepMs }: LeasePage): Promise<ForgottenLeases> {
    const [className = "", id = ""] = after.split("/");
    const page = { class: className, id, limit: BigInt(limit), keepMs: BigInt(keepMs) };
    const results = await (this.#reads ?? this.#work).batch(forgetStatements(page));
    const last = results[0]?.[0];
    const next = last && `${textOf(last, "class")}/${textOf(last, "id")}`;
    return { forgotten: numberOf(results.at(-1)?.[0], "forgotten"), next };
  }

  async close(): Promise<void> {
    const reads = this.#reads === undefined ? [] : [this.#reads];
    const connections = new Set([this.#renewals, this.#work, this.#hints, ...reads]);
    await Promise.all(Array.from(connections, (connection) => connection.close()));
  }

  /** Where the database refuses what this build says, the tables may be those of a newer one (L12). */
  async #understood<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (thrown) {
      if (asStatefulError(thrown).code === "directory_unavailable") throw thrown;
      const required = await requiredSchema(this.#renewals);
      throw required > schemaVersion ? schemaTooNew(required) : thrown;
    }
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
