import { nanoid } from "nanoid";
import { StatefulError } from "../lib/errors.ts";
import { schemaTooNew, schemaVersion, versionsFound, type versionsOf } from "./directory-schema.ts";
import { leaseDefaults } from "./lease-keeper.ts";
import { directoryTime } from "./primary-time.ts";
import { numberOf, type SqlConnection, statement, textOf } from "./sql-connection.ts";

/** What was found in a database that was put back, and what was made of it. */
export interface Restored {
  /** Sessions that the backup took for alive. All are over. */
  readonly sessionsEnded: number;
  readonly objectsOwned: number;
  /** When the last write in the backup was made, in ms since the Unix epoch, by the primary's clock. 0: never. */
  readonly lastWriteAtMs: number;
  /** How long nothing is acquired from now on. */
  readonly quarantineMs: number;
  /** Topics whose histories have begun anew: whoever resumes is told that it cannot be. */
  readonly histories: number;
}

/**
 * The versions of the schema that brought what is looked at here. A backup is marked, and looked at, as it is and never migrated: it
 * may be wanted by the release that made it, and a host that starts on it migrates it anyway.
 */
const broughtBy = { messages: 5, linkVersions: 6, ahead: 7 } as const;

const look = (histories: string) => `
  SELECT now AS last_write_at,
    (SELECT count(*) FROM sessions WHERE ended = 0) AS sessions,
    (SELECT count(*) FROM leases WHERE session <> '') AS leases,
    ${histories} AS histories,
    max(:leaseTtlMs, (SELECT coalesce(max(ttl_ms), 0) FROM sessions)) AS quarantine_ms
  FROM directory`;
const countHistories = `(SELECT count(*) FROM (SELECT DISTINCT class, id, topic FROM messages))`;

/** As `detectLoss` of directory-statements.ts does for a host that remembers more than the database. */
const changeGeneration = `
  UPDATE directory SET
    now = max(now, CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    counter = counter + 1,
    former = generation,
    generation = :generation,
    quarantine_until = max(now, CAST(unixepoch('subsec') * 1000 AS INTEGER)) +
      max(:leaseTtlMs, (SELECT coalesce(max(ttl_ms), 0) FROM sessions))`;

const endAll = `UPDATE sessions SET ended = 3 WHERE ended = 0`;

/**
 * Places that are in the backup are given to other messages from here on, while clients may hold positions beyond it. Under
 * another id theirs are of a history that is no more, which they are told.
 */
const renameHistories = `UPDATE messages SET history = history || :suffix`;

/**
 * Tells a database that was put back from a backup that it is one (L9): everybody's session is over, nothing is acquired for one
 * lease time, and whoever holds a position in a topic is told that messages are missing. Hosts that live through a restore find
 * out by themselves; this is for what nobody remembers, and for positions. May be run again, and on the tables of any earlier release.
 *
 * @param leaseTtlMs of the hosts; what the sessions in the backup say counts where it is more
 */
export async function markRestored(
  connection: SqlConnection,
  leaseTtlMs: number = leaseDefaults.ttlMs,
): Promise<Restored> {
  const { required, current } = await schemaOf(connection);
  if (required > schemaVersion) throw schemaTooNew(required);
  const hasHistories = current >= broughtBy.messages;
  const lease = { leaseTtlMs: BigInt(leaseTtlMs) };
  const [found] = await connection.batch([
    statement(look(hasHistories ? countHistories : "0"), lease),
    statement(changeGeneration, { ...lease, generation: nanoid() }),
    statement(endAll, {}),
    ...(hasHistories ? [statement(renameHistories, { suffix: `-${nanoid(4)}` })] : []),
  ]);
  const row = found?.[0];
  return {
    sessionsEnded: numberOf(row, "sessions"),
    objectsOwned: numberOf(row, "leases"),
    lastWriteAtMs: numberOf(row, "last_write_at"),
    quarantineMs: numberOf(row, "quarantine_ms"),
    histories: numberOf(row, "histories"),
  };
}

export interface DirectoryStatus {
  /** How far the tables are, and what a build must know to work on them. */
  readonly schema: { readonly current: number; readonly required: number };
  readonly generation: string;
  /**
   * By how much the directory's time, in which all times here are, is ahead of the primary's clock. Until that has caught up it goes
   * at half the clock's pace at most.
   */
  readonly aheadMs: number;
  readonly quarantineMs: number;
  readonly sessions: readonly SessionStatus[];
}

export interface SessionStatus {
  readonly hostId: string;
  readonly region: string;
  readonly version: string;
  /** Of the links between hosts, as it is stored; "" where the host's release had only the first. */
  readonly linkVersions: string;
  readonly objects: number;
  readonly expiresInMs: number;
}

const readDirectory = (time: string) => `
  SELECT generation, max(0, quarantine_until - t.now) AS quarantine_ms, t.now - t.clock AS ahead_ms
  FROM directory, ${time} t`;
const readSessions = (linkVersions: string, time: string) => `
  SELECT host_id, region, version, ${linkVersions} AS link_versions,
    expires_at - t.now AS expires_in,
    (SELECT count(*) FROM leases WHERE leases.session = sessions.session) AS objects
  FROM sessions, ${time} t WHERE ended = 0 ORDER BY region, host_id`;

/** How the database is, for an operator: of this release or any earlier one, and as far as this build can tell of a later one. */
export async function directoryStatus(connection: SqlConnection): Promise<DirectoryStatus> {
  const schema = await schemaOf(connection);
  const linkVersions = schema.current >= broughtBy.linkVersions ? "coalesce(link_versions, '')" : "''";
  const time = directoryTime(schema.current >= broughtBy.ahead ? "ahead" : "NULL");
  const [directory] = await connection.query(statement(readDirectory(time), {}));
  const sessions = await connection.query(statement(readSessions(linkVersions, time), {}));
  return {
    schema,
    generation: textOf(directory, "generation"),
    aheadMs: numberOf(directory, "ahead_ms"),
    quarantineMs: numberOf(directory, "quarantine_ms"),
    sessions: sessions.map((row) => ({
      hostId: textOf(row, "host_id"),
      region: textOf(row, "region"),
      version: textOf(row, "version"),
      linkVersions: textOf(row, "link_versions"),
      objects: numberOf(row, "objects"),
      expiresInMs: numberOf(row, "expires_in"),
    })),
  };
}

async function schemaOf(connection: SqlConnection): ReturnType<typeof versionsOf> {
  const schema = await versionsFound(connection);
  if (schema.current > 0) return schema;
  throw new StatefulError(
    "not_found",
    "There is no directory in this database: it has no schema_versions. A host that starts on it makes one, `load` puts a dump there.",
  );
}
