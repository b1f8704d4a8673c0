import { StatefulError } from "../lib/errors.ts";
import { numberOf, type SqlConnection, type SqlStatement, statement } from "./sql-connection.ts";

/**
 * The tables, as a list of migrations that only ever grows. Several hosts may start on one empty database at the same
 * instant, in several processes and against a server; there is no lock to take first and no transaction that stays open.
 *
 * Each migration is one write transaction whose first statement inserts its version number. Of two hosts that run it
 * at once, the second fails on the primary key, rolls back whole, reads the version again and goes on from there. So a
 * migration may contain anything, also what cannot be repeated (`ALTER TABLE`).
 *
 * Hosts of two versions share a database while a release rolls out. A migration must therefore leave what the version
 * before it reads and writes in working order: add tables and nullable columns, drop nothing that is still in use.
 */
const migrations: readonly Migration[] = [
  {
    version: 1,
    statements: [
      // One row. `now` is the time of the latest write, so that a whole transaction sees one instant, and time never
      // goes back: expiry stays final even where the machine's clock is set back.
      `CREATE TABLE directory (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        generation TEXT NOT NULL,
        former TEXT NOT NULL,
        counter INTEGER NOT NULL,
        quarantine_until INTEGER NOT NULL,
        now INTEGER NOT NULL
      )`,
      `INSERT INTO directory VALUES (1, lower(hex(randomblob(16))), '', 0, 0, 0)`,
      // ended: 0 not ended, 1 handed back, 2 expired and found so, 3 the directory lost memory.
      `CREATE TABLE sessions (
        session TEXT PRIMARY KEY,
        host_id TEXT NOT NULL,
        region TEXT NOT NULL,
        private_url TEXT NOT NULL,
        public_url TEXT NOT NULL,
        classes TEXT NOT NULL,
        version TEXT NOT NULL,
        draining INTEGER NOT NULL,
        load TEXT NOT NULL,
        ttl_ms INTEGER NOT NULL,
        opened_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        counter INTEGER NOT NULL,
        last_commit INTEGER NOT NULL DEFAULT 0,
        last_outcome TEXT NOT NULL DEFAULT 'committed'
      ) WITHOUT ROWID`,
      // Every renewal asks who has expired; rows that have ended are kept for a week and must not be walked each time.
      `CREATE INDEX sessions_not_ended ON sessions (expires_at) WHERE ended = 0`,
      // No expiry here (L1). A lease that was given up keeps its row, with session '', so that its epoch never falls.
      `CREATE TABLE leases (
        class TEXT NOT NULL,
        id TEXT NOT NULL,
        session TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        PRIMARY KEY (class, id)
      ) WITHOUT ROWID`,
    ],
  },
  {
    version: 2,
    statements: [
      // With rowids, because values may be large. Key '' is the object's own record; infra/storage/README.md has the format.
      `CREATE TABLE storage (
        class TEXT NOT NULL,
        id TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (class, id, key)
      )`,
      `CREATE TABLE alarms (
        class TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        due_at INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        schedule TEXT NOT NULL,
        payload BLOB NOT NULL,
        parked INTEGER NOT NULL,
        last_error TEXT NOT NULL,
        PRIMARY KEY (class, id, name)
      )`,
      // Which are due, and how an operator wants to see them.
      `CREATE INDEX alarms_due ON alarms (parked DESC, due_at)`,
    ],
  },
  {
    version: 3,
    statements: [
      // Whom a lease named before its session. The version before this one does not know it and leaves it as it is: what it
      // says of such a host's lease is old, but whoever takes that lease next writes it anew, from `session`.
      `ALTER TABLE leases ADD COLUMN former TEXT`,
      // Which writes of a session's last commit were fenced, where the leases cannot tell afterwards: they moved in it.
      `ALTER TABLE sessions ADD COLUMN last_refused TEXT`,
    ],
  },
  {
    version: 4,
    statements: [
      // Since when a session has been heard without a gap of half its time to live. NULL: since it opened.
      `ALTER TABLE sessions ADD COLUMN steady_since INTEGER`,
    ],
  },
  {
    version: 5,
    statements: [
      // With rowids, as `storage` is. `place` counts the messages of a topic's `history`; infra/topics/README.md has both.
      `CREATE TABLE messages (
        class TEXT NOT NULL,
        id TEXT NOT NULL,
        topic TEXT NOT NULL,
        place INTEGER NOT NULL,
        history TEXT NOT NULL,
        form TEXT NOT NULL,
        published_at INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (class, id, topic, place)
      )`,
    ],
  },
  {
    version: 6,
    statements: [
      // By how many ms `now` was ahead of the clock at the latest write. NULL: not. The version before this one leaves it as it
      // is, and `now` with it wherever the clock is behind; so what it says stays true.
      `ALTER TABLE directory ADD COLUMN ahead INTEGER`,
    ],
  },
];

interface Migration {
  readonly version: number;
  readonly statements: readonly string[];
}

export const schemaVersion = migrations.length;

const createVersions = `CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)`;
const readVersion = `SELECT coalesce(max(version), 0) AS version FROM schema_versions`;
const claimVersion = `INSERT INTO schema_versions VALUES (:version, CAST(unixepoch('subsec') * 1000 AS INTEGER))`;

/** Brings the database to `schemaVersion`, or refuses one that is newer. Any number of hosts may run it at once. */
export async function migrate(connection: SqlConnection): Promise<void> {
  await connection.batch([statement(createVersions, {})]);
  for (;;) {
    const version = await currentVersion(connection);
    if (version > schemaVersion) throw tooNew(version);
    const next = migrations[version];
    if (next === undefined) return;
    await apply(connection, next);
  }
}

/** A failure may mean that another host applied it first: then the version has risen, and there is nothing to report. */
async function apply(connection: SqlConnection, migration: Migration): Promise<void> {
  const claim = statement(claimVersion, { version: BigInt(migration.version) });
  const changes: readonly SqlStatement[] = migration.statements.map((sql) => ({ sql, args: {} }));
  try {
    await connection.batch([claim, ...changes]);
  } catch (cause) {
    if ((await currentVersion(connection)) < migration.version) throw cause;
  }
}

async function currentVersion(connection: SqlConnection): Promise<number> {
  return numberOf((await connection.query(statement(readVersion, {})))[0], "version");
}

function tooNew(version: number): StatefulError {
  return new StatefulError(
    "internal",
    `The directory has schema version ${version}; this build knows ${schemaVersion} at most. ` +
      "Run the newer build, or point this one at another database.",
  );
}
