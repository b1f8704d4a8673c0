import { StatefulError } from "../lib/errors.ts";
import { numberOf, type SqlConnection, type SqlStatement, statement, textOf } from "./sql-connection.ts";

/**
 * The tables, as a list of migrations that only ever grows. Several hosts may start on one empty database at the same
 * instant, in several processes and against a server; there is no lock to take first and no transaction that stays open.
 *
 * Each migration is one write transaction whose first statement inserts its version number. Of two hosts that run it
 * at once, the second fails on the primary key, rolls back whole, reads the version again and goes on from there. So a
 * migration may contain anything, also what cannot be repeated (`ALTER TABLE`), and whoever is killed in the middle of one
 * leaves the version before it.
 *
 * Hosts of two versions share a database while a release rolls out, and where it is taken back (L12). Nearly every migration is
 * an *addition*: tables and nullable columns that the version before leaves alone, so that its hosts go on, and start again.
 * `schema_additions` lists those. `schema_versions` lists what a build must know: one that does not ends its session, and does
 * not start. Such a migration ends every session in its own transaction, because each of them is of a build that is older.
 */
export const migrations: readonly Migration[] = [
  {
    version: 1,
    olderHosts: "end",
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
      // No expiry here (L1). A lease that was given up keeps its row, with session '', until its epoch is long behind the time (L2).
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
    olderHosts: "end",
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
    olderHosts: "end",
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
    olderHosts: "end",
    statements: [
      // Since when a session has been heard without a gap of half its time to live. NULL: since it opened.
      `ALTER TABLE sessions ADD COLUMN steady_since INTEGER`,
    ],
  },
  {
    version: 5,
    olderHosts: "go on",
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
    olderHosts: "go on",
    statements: [
      // The oldest and the newest version of the links between hosts that it speaks, as a JSON list. NULL: the first alone.
      `ALTER TABLE sessions ADD COLUMN link_versions TEXT`,
    ],
  },
  {
    version: 7,
    olderHosts: "go on",
    statements: [
      // By how many ms `now` was ahead of the clock at the latest write. NULL: not. The version before this one leaves it as it is:
      // where that has written while the clock was not behind any more, it means nothing until the clock is set back again.
      `ALTER TABLE directory ADD COLUMN ahead INTEGER`,
    ],
  },
];

export interface Migration {
  readonly version: number;
  /** What becomes of hosts whose build does not know it. `go on`: nothing, the migration only adds. `end`: they may not write. */
  readonly olderHosts: "go on" | "end";
  readonly statements: readonly string[];
}

/** The newest that this build knows. */
export const schemaVersion = migrations.length;

const createTables = [
  `CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS schema_additions (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)`,
];
const readVersions = `
  SELECT (SELECT coalesce(max(version), 0) FROM schema_versions) AS required,
    (SELECT coalesce(max(version), 0) FROM schema_additions) AS added`;
const readRequired = "SELECT coalesce(max(version), 0) AS required FROM schema_versions";
const nowMs = `CAST(unixepoch('subsec') * 1000 AS INTEGER)`;
const claims = {
  "go on": `INSERT INTO schema_additions VALUES (:version, ${nowMs})`,
  end: `INSERT INTO schema_versions VALUES (:version, ${nowMs})`,
} as const;

/** As after lost memory (L9): what older hosts still send is refused, and nobody takes over before each of them knows. */
const endOlderHosts = [
  `UPDATE directory SET
    now = max(now, ${nowMs}),
    former = generation,
    generation = lower(hex(randomblob(16))),
    quarantine_until = max(quarantine_until, max(now, ${nowMs}) +
      (SELECT coalesce(max(ttl_ms), 0) FROM sessions WHERE ended = 0))
  WHERE EXISTS (SELECT 1 FROM sessions WHERE ended = 0)`,
  `UPDATE sessions SET ended = 3 WHERE ended = 0`,
];

/**
 * Brings the database to what this build knows, or refuses one that requires more. Any number of hosts may run it at once, of
 * any versions.
 *
 * @param steps other ones, for tests
 */
export async function migrate(
  connection: SqlConnection,
  steps: readonly Migration[] = migrations,
): Promise<void> {
  await connection.batch(createTables.map((sql) => statement(sql, {})));
  for (;;) {
    const { required, current } = await versionsOf(connection);
    if (required > steps.length) throw schemaTooNew(required, steps.length);
    const next = steps[current];
    if (next === undefined) return;
    await apply(connection, next);
  }
}

/** A failure may mean that another host applied it first: then the version has risen, and there is nothing to report. */
async function apply(
  connection: SqlConnection,
  { version, olderHosts, statements }: Migration,
): Promise<void> {
  const claim = statement(claims[olderHosts], { version: BigInt(version) });
  const hasOlderHosts = olderHosts === "end" && version > 1;
  const changes: readonly SqlStatement[] = [...statements, ...(hasOlderHosts ? endOlderHosts : [])].map(
    (sql) => ({
      sql,
      args: {},
    }),
  );
  try {
    await connection.batch([claim, ...changes]);
  } catch (cause) {
    if ((await versionsOf(connection)).current < version) throw cause;
  }
}

/** `required`: what a build must know. `current`: how far the tables are. */
export async function versionsOf(
  connection: SqlConnection,
): Promise<{ readonly required: number; readonly current: number }> {
  const [row] = await connection.query(statement(readVersions, {}));
  const required = numberOf(row, "required");
  return { required, current: Math.max(required, numberOf(row, "added")) };
}

const readTables = `
  SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('schema_versions', 'schema_additions')`;

/** As `versionsOf`, of a database that may be of any release: the first ones had no additions. 0 where it is no directory. */
export async function versionsFound(connection: SqlConnection): ReturnType<typeof versionsOf> {
  const rows = await connection.query(statement(readTables, {}));
  const tables = new Set(rows.map((row) => textOf(row, "name")));
  if (tables.has("schema_additions")) return versionsOf(connection);
  if (!tables.has("schema_versions")) return { required: 0, current: 0 };
  const [row] = await connection.query(statement(readRequired, {}));
  const required = numberOf(row, "required");
  return { required, current: required };
}

/** The version that a build must know. Rejects with what the database says where there is no such table. */
export async function requiredSchema(connection: SqlConnection): Promise<number> {
  return (await versionsOf(connection)).required;
}

/** Final for this build. The message is for whoever deploys. */
export function schemaTooNew(required: number, known = schemaVersion): StatefulError {
  return new StatefulError(
    "version_mismatch",
    `The directory requires schema version ${required}; this build knows ${known} at most. ` +
      "Deploy a build that knows it, or restore a backup from before that migration: infra/deploy/README.md, Upgrading.",
  );
}
