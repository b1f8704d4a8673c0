import { type SqlArgs, type SqlStatement, statement } from "./sql-connection.ts";

/**
 * The rules of the directory as SQL. Every write is one batch of at most nine statements, however many objects it
 * is about: they travel as one JSON array and are read by `json_each`. What a transaction costs is its statements, not its
 * rows: one statement over a thousand leases takes about as long as ten single ones.
 *
 * A batch cannot branch: an UPDATE that matches nothing is a success, and the next statement runs. So each effect carries
 * its whole condition (`slotIsOurs`, `mayTake`), and the order of the statements does the rest:
 *
 *     tick      one instant and one counter value for the whole transaction
 *     detect    where this host knows more than the directory does, the directory has lost memory (L9)
 *     effects   each guarded by "the session is alive and its last commit is slot - 1"
 *     claim     last_commit = slot, under the same guard, LAST: a second copy of the slot finds every guard false (L6)
 *     answer    how things stand now, whoever made them so
 *
 * Storage joins here: its writes are effects between `releaseLeases` and `claimSlot`, under `slotIsOurs`
 * and the lease of their object.
 */

/** `now` never falls, so what has expired stays expired. The counter rises even where the rest is refused. */
const tick = `
  UPDATE directory SET
    now = max(now, CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    counter = counter + 1`;

/**
 * L9. What was acknowledged to this session is on its row: a position, and the last commit. Where the row is missing or
 * behind, the directory is not the one that acknowledged it. The first to say so changes the generation, which ends every
 * session of the old one; `former` is what keeps the second from doing it again.
 */
const detectLoss = `
  UPDATE directory SET
    generation = :nextGeneration,
    former = :generation,
    quarantine_until = now + max(:ttlMs, (SELECT coalesce(max(ttl_ms), 0) FROM sessions WHERE ended = 0))
  WHERE :session <> '' AND former <> :generation AND NOT EXISTS (
    SELECT 1 FROM sessions
    WHERE session = :session AND counter >= :counter AND last_commit >= :commitsSeen)`;

const endAllAfterLoss = `
  UPDATE sessions SET ended = 3
  WHERE ended = 0 AND (SELECT generation FROM directory) = :nextGeneration`;

const insertSession = `
  INSERT INTO sessions (session, host_id, region, private_url, public_url, classes, version, draining, load, ttl_ms,
    opened_at, expires_at, counter)
  SELECT :session, :hostId, :region, :privateUrl, :publicUrl, :classes, :version, :draining, :load, :ttlMs,
    d.now, d.now + :ttlMs, d.counter
  FROM directory d WHERE true
  ON CONFLICT (session) DO NOTHING`;

/** A host that comes back after its session ran out says so itself, and nobody has to wait that session out (L9). */
const endPrevious = `
  UPDATE sessions SET ended = 2
  WHERE session = :session AND ended = 0 AND expires_at <= (SELECT now FROM directory)`;

const forgetOldSessions = `
  DELETE FROM sessions WHERE ended <> 0 AND expires_at < (SELECT now FROM directory) - :sessionKeepMs`;

/** L1: an UPDATE, never an upsert. What has ended, expired or gone stays so. */
const renewSession = `
  UPDATE sessions SET
    expires_at = d.now + :ttlMs, ttl_ms = :ttlMs, draining = :draining, classes = :classes, load = :load,
    counter = d.counter
  FROM directory d
  WHERE sessions.session = :session AND sessions.ended = 0 AND sessions.expires_at > d.now
    AND d.generation = :generation`;

/**
 * Writes down that others have expired, so that a session which opens later need not wait (see `mayTake`). Only a session
 * that has itself been open for as long as the expired one could live on unheard may say so.
 */
const buryExpired = `
  UPDATE sessions SET ended = 2
  WHERE ended = 0 AND expires_at <= (SELECT now FROM directory) AND EXISTS (
    SELECT 1 FROM sessions me, directory d
    WHERE me.session = :session AND me.ended = 0 AND me.expires_at > d.now AND me.opened_at + sessions.ttl_ms <= d.now)`;

const slotIsOurs = `EXISTS (
    SELECT 1 FROM sessions me, directory d
    WHERE me.session = :session AND me.ended = 0 AND me.expires_at > d.now AND me.last_commit = :slot - 1
      AND d.generation = :generation)`;

/**
 * The gap of a session (L9): others that had expired, un-ended, before it opened. In a living cluster somebody buries them
 * within one renewal. Otherwise this may be the first word in a restored backup, where "expired" is only what the backup
 * remembers: until one of their lifetimes has passed since this session opened, such hosts may still be serving.
 */
const gapUntil = `(
    SELECT coalesce(max(me.opened_at + gone.ttl_ms), 0) FROM sessions gone, sessions me
    WHERE me.session = :session AND gone.ended = 0 AND gone.expires_at <= me.opened_at)`;

const noQuarantine = `(SELECT max(quarantine_until, ${gapUntil}) <= now FROM directory)`;

/**
 * A lease is taken from a session that has ended or is missing, or has expired and the taker has been open for all of its
 * time to live: whatever the old owner ever heard, it then heard too long ago to be valid by its own clock.
 */
const ownerLives = `EXISTS (
    SELECT 1 FROM sessions s, sessions me, directory d
    WHERE s.session = leases.session AND s.ended = 0 AND me.session = :session
      AND (s.expires_at > d.now OR me.opened_at + s.ttl_ms > d.now))`;

const releaseLeases = `
  UPDATE leases SET session = ''
  FROM json_each(:release) r
  WHERE leases.class = r.value ->> 0 AND leases.id = r.value ->> 1
    AND leases.session = :session AND leases.epoch = r.value ->> 2
    AND ${slotIsOurs}`;

/** L1: a compare-and-set from (session, epoch), which proves that nobody owned it in between. */
const adoptLeases = `
  UPDATE leases SET session = :session, epoch = max(leases.epoch + 1, d.now)
  FROM json_each(:adopt) a, directory d
  WHERE leases.class = a.value ->> 0 AND leases.id = a.value ->> 1
    AND leases.session = a.value ->> 2 AND leases.epoch = a.value ->> 3
    AND ${slotIsOurs} AND ${noQuarantine}`;

/** L2. Every epoch is at least the time it was given at, so a restored backup cannot bring an old one back. */
const acquireLeases = `
  INSERT INTO leases (class, id, session, epoch)
  SELECT a.value ->> 0, a.value ->> 1, :session, d.now
  FROM json_each(:acquire) a, directory d
  WHERE ${slotIsOurs} AND ${noQuarantine}
    AND (SELECT draining = 0 FROM sessions WHERE session = :session)
    AND (a.value ->> 2 = 'free' OR EXISTS (
      SELECT 1 FROM leases l
      WHERE l.class = a.value ->> 0 AND l.id = a.value ->> 1 AND l.session = :session))
  ON CONFLICT (class, id) DO UPDATE SET session = excluded.session, epoch = max(leases.epoch + 1, excluded.epoch)
  WHERE leases.session = :session OR NOT ${ownerLives}`;

/** Claims the slot also where nothing may be taken: only then can no late copy take it after the quarantine (L6). */
const claimSlot = `
  UPDATE sessions SET
    last_commit = :slot,
    counter = d.counter,
    last_outcome = CASE WHEN NOT ${noQuarantine} THEN 'quarantined' WHEN draining THEN 'draining' ELSE 'committed' END
  FROM directory d
  WHERE sessions.session = :session AND ${slotIsOurs}`;

/** One row with one text, because a thousand rows cost more to carry than to read. */
const readLeases = `
  SELECT json_group_array(json_array(asked.key, leases.session, leases.epoch, ${ownerLives})) AS leases
  FROM json_each(:asked) asked
  CROSS JOIN leases ON leases.class = asked.value ->> 0 AND leases.id = asked.value ->> 1`;

const readState = `
  SELECT d.generation, d.now, max(0, max(d.quarantine_until, ${gapUntil}) - d.now) AS quarantine_ms,
    me.session, me.ended, me.expires_at, me.counter, me.last_commit, me.last_outcome
  FROM directory d LEFT JOIN sessions me ON me.session = :session`;

const readHosts = `
  SELECT session, host_id, region, private_url, public_url, classes, version, draining, load
  FROM sessions WHERE ended = 0 AND expires_at > (SELECT now FROM directory)`;

const endSession = `
  UPDATE sessions SET ended = 1 WHERE session = :session AND ended = 0`;

const findLeases = `
  SELECT asked.key AS asked, leases.session AS session, leases.epoch AS epoch
  FROM json_each(:asked) asked
  CROSS JOIN leases ON leases.class = asked.value ->> 0 AND leases.id = asked.value ->> 1
  WHERE leases.session <> ''`;

const lostLeases = `
  SELECT asked.key AS asked
  FROM json_each(:asked) asked
  LEFT JOIN leases ON leases.class = asked.value ->> 0 AND leases.id = asked.value ->> 1
  WHERE leases.session IS NOT :session OR leases.epoch IS NOT asked.value ->> 2`;

/** What a write knows of the directory, for `detectLoss`. `session` is '' where it knows nothing. */
export interface Witness extends SqlArgs {
  readonly session: string;
  readonly generation: string;
  readonly counter: bigint;
  readonly commitsSeen: bigint;
  readonly ttlMs: bigint;
  /** Fresh for each call, so that the call can tell whether it was the one to change the generation. */
  readonly nextGeneration: string;
}

/** Which result has the state, and which the hosts. */
export const opened = { state: 6, hosts: 7 } as const;
export const renewed = { state: 5, hosts: 6 } as const;

export function openStatements(witness: Witness, session: SqlArgs): readonly SqlStatement[] {
  return [
    statement(tick, {}),
    statement(detectLoss, witness),
    statement(endAllAfterLoss, witness),
    statement(endPrevious, witness),
    statement(insertSession, session),
    statement(forgetOldSessions, session),
    statement(readState, session),
    statement(readHosts, {}),
  ];
}

export function renewStatements(witness: Witness, renewal: SqlArgs): readonly SqlStatement[] {
  return [
    statement(tick, {}),
    statement(detectLoss, witness),
    statement(endAllAfterLoss, witness),
    statement(renewSession, renewal),
    statement(buryExpired, renewal),
    statement(readState, renewal),
    statement(readHosts, {}),
  ];
}

/** Effects that have nothing to do are left out; the state and the leases are the last two results. */
export function commitStatements(witness: Witness, commit: CommitArgs): readonly SqlStatement[] {
  const effects = [
    commit.release === "[]" ? undefined : releaseLeases,
    commit.adopt === "[]" ? undefined : adoptLeases,
    commit.acquire === "[]" ? undefined : acquireLeases,
  ];
  return [
    statement(tick, {}),
    statement(detectLoss, witness),
    statement(endAllAfterLoss, witness),
    ...effects.flatMap((sql) => (sql === undefined ? [] : [statement(sql, commit)])),
    statement(claimSlot, commit),
    statement(readState, commit),
    statement(readLeases, commit),
  ];
}

export interface CommitArgs extends SqlArgs {
  /** JSON arrays, `[]` where there is nothing. */
  readonly release: string;
  readonly adopt: string;
  readonly acquire: string;
}

export function endStatements(session: string): readonly SqlStatement[] {
  return [statement(tick, {}), statement(endSession, { session })];
}

export function findStatement(asked: string): SqlStatement {
  return statement(findLeases, { asked });
}

export function lostStatement(session: string, asked: string): SqlStatement {
  return statement(lostLeases, { session, asked });
}
