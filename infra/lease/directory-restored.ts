import { nanoid } from "nanoid";
import { requiredSchema, schemaTooNew, schemaVersion, versionsOf } from "./directory-schema.ts";
import { leaseDefaults } from "./lease-keeper.ts";
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

const look = `
  SELECT now AS last_write_at,
    (SELECT count(*) FROM sessions WHERE ended = 0) AS sessions,
    (SELECT count(*) FROM leases WHERE session <> '') AS leases,
    (SELECT count(*) FROM (SELECT DISTINCT class, id, topic FROM messages)) AS histories,
    max(:leaseTtlMs, (SELECT coalesce(max(ttl_ms), 0) FROM sessions)) AS quarantine_ms
  FROM directory`;

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
 * out by themselves; this is for what nobody remembers, and for positions. May be run again.
 *
 * @param leaseTtlMs of the hosts; what the sessions in the backup say counts where it is more
 */
export async function markRestored(
  connection: SqlConnection,
  leaseTtlMs: number = leaseDefaults.ttlMs,
): Promise<Restored> {
  const required = await requiredSchema(connection);
  if (required > schemaVersion) throw schemaTooNew(required);
  const lease = { leaseTtlMs: BigInt(leaseTtlMs) };
  const [found] = await connection.batch([
    statement(look, lease),
    statement(changeGeneration, { ...lease, generation: nanoid() }),
    statement(endAll, {}),
    statement(renameHistories, { suffix: `-${nanoid(4)}` }),
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

const readDirectory = `
  SELECT generation, max(0, quarantine_until - max(now, CAST(unixepoch('subsec') * 1000 AS INTEGER))) AS quarantine_ms
  FROM directory`;
const readSessions = `
  SELECT host_id, region, version, coalesce(link_versions, '') AS link_versions,
    expires_at - CAST(unixepoch('subsec') * 1000 AS INTEGER) AS expires_in,
    (SELECT count(*) FROM leases WHERE leases.session = sessions.session) AS objects
  FROM sessions WHERE ended = 0 ORDER BY region, host_id`;

/** How the database is, for an operator. */
export async function directoryStatus(connection: SqlConnection): Promise<DirectoryStatus> {
  const schema = await versionsOf(connection);
  const [directory] = await connection.query(statement(readDirectory, {}));
  const sessions = await connection.query(statement(readSessions, {}));
  return {
    schema,
    generation: textOf(directory, "generation"),
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
