import type { ObjectRef } from "../lib/object-ref.ts";
import { elapsedMsMax } from "./directory.ts";
import { type SqlArgs, type SqlStatement, statement } from "./sql-connection.ts";
import { loadStatements } from "./storage-statements.ts";
import { type PackedWrites, refusedLeases, refusedStatement, WriteStatements } from "./write-statements.ts";

/**
 * The rules of the directory as SQL. Every write is one batch of some ten statements at most, however many objects it
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
 * What objects store is one more effect (`write-statements.ts`), under `slotIsOurs` and the lease of its object. It comes
 * before moves, after which that lease is another's: so an object's last writes travel in the commit that moves it. A commit
 * of nothing else takes a shorter way, because every statement costs and a write waits for each of them:
 *
 *     claim     the slot, under the same condition, on a name that is this call's alone
 *     effects   each guarded by "the slot is claimed in that name", which no other copy of the commit ever is
 *     answer    who was refused
 *
 * One statement alone looks at the clock there, so that all of it is judged at one instant. Where it claims nothing, the
 * long way finds out why.
 */

/**
 * The directory's time (L3), and what has passed on the clock since the latest write. It never falls, so what has expired stays
 * expired. While it is ahead of a clock that was set back it goes on at half the clock's pace, or slower, until the clock has caught
 * up: it must not run faster than hosts count, and were it to stand still, no dead host would be missed until then. `ahead` is by how
 * much it was ahead at the latest write; whatever is missing of that now has passed since. Once the clock has caught up it is the
 * time, whatever `ahead` says: a host of an earlier release, which does not know of it, may have written last.
 */
const time = `(
    SELECT CASE WHEN clock >= now THEN clock ELSE now + elapsed / 2 END AS now, clock, elapsed FROM (
      SELECT now, clock, min(${elapsedMsMax}, max(0, coalesce(ahead, 0) - now + clock)) AS elapsed
      FROM directory, (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS clock)))`;

/** The counter rises even where the rest is refused. An odd millisecond is left for the next. */
const tick = `
  UPDATE directory SET now = t.now, ahead = t.now - t.clock + t.elapsed % 2, counter = counter + 1
  FROM ${time} t`;

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

/** L12: what a build must know to work on these tables. A migration may raise it under a host that runs. */
const requiredSchema = `(SELECT max(version) FROM schema_versions)`;

const insertSession = `
  INSERT INTO sessions (session, host_id, region, private_url, public_url, classes, version, draining, load, ttl_ms,
    opened_at, expires_at, counter, link_versions)
  SELECT :session, :hostId, :region, :privateUrl, :publicUrl, :classes, :version, :draining, :load, :ttlMs,
    d.now, d.now + :ttlMs, d.counter, :linkVersions
  FROM directory d WHERE ${requiredSchema} <= :schemaVersion
  ON CONFLICT (session) DO NOTHING`;

/**
 * A host that comes back after its session ran out says so itself, and nobody has to wait that session out (L9), expired or not:
 * for its host it is over. But for a while its leases are for the host itself to adopt, memory and all: longer than the host may
 * have to wait for a quarantine. That is written as an ended session that "expires" in the future.
 */
const endPrevious = `
  UPDATE sessions SET ended = 2, expires_at = (SELECT now FROM directory) + 2 * :ttlMs
  WHERE session = :session AND ended = 0`;

const forgetOldSessions = `
  DELETE FROM sessions WHERE ended <> 0 AND expires_at < (SELECT now FROM directory) - :sessionKeepMs`;

/** L1: an UPDATE, never an upsert. What has ended, expired or gone stays so. */
const renewSession = `
  UPDATE sessions SET
    steady_since = CASE
      WHEN d.now - sessions.expires_at + sessions.ttl_ms > sessions.ttl_ms / 2 THEN d.now
      ELSE sessions.steady_since END,
    expires_at = d.now + :ttlMs, ttl_ms = :ttlMs, draining = :draining, classes = :classes, load = :load,
    counter = max(sessions.counter + 1, d.counter)
  FROM directory d
  WHERE sessions.session = :session AND sessions.ended = 0 AND sessions.expires_at > d.now
    AND d.generation = :generation`;

/**
 * Since when `me` has been heard without a gap of half its time, up to now. After an outage of the primary nobody is sure of that for a while, and so the
 * hosts that were cut off like everybody else have the time to come back to their objects.
 */
const steadySince = `CASE
    WHEN me.expires_at - d.now < me.ttl_ms / 2 THEN d.now
    ELSE coalesce(me.steady_since, me.opened_at) END`;

/**
 * Writes down that others have expired, so that a session which opens later need not wait (see `mayTake`). Only a session
 * that has itself been heard for as long as the expired one could live on unheard may say so.
 */
const buryExpired = `
  UPDATE sessions SET ended = 2
  WHERE ended = 0 AND expires_at <= (SELECT now FROM directory) AND EXISTS (
    SELECT 1 FROM sessions me, directory d
    WHERE me.session = :session AND me.ended = 0 AND me.expires_at > d.now AND (${steadySince}) + sessions.ttl_ms <= d.now)`;

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

/** Sessions of one process are told apart by the number at their end (`session-id.ts`). */
const isSameProcess = `rtrim(s.session, '0123456789') = rtrim(me.session, '0123456789')`;

/**
 * A lease is taken from a session that has ended or is missing, or has expired and the taker has been heard for all of its
 * time to live: whatever the old owner ever heard, it then heard too long ago to be valid by its own clock. Where its host is
 * back under its next session, that host comes first.
 */
const ownerLives = `EXISTS (
    SELECT 1 FROM sessions s, sessions me, directory d
    WHERE s.session = leases.session AND me.session = :session AND (
      s.ended = 0 AND (s.expires_at > d.now OR (${steadySince}) + s.ttl_ms > d.now)
      OR s.ended = 2 AND s.expires_at > d.now AND NOT ${isSameProcess}))`;

const releaseLeases = `
  UPDATE leases SET session = ''
  FROM json_each(:release) r
  WHERE leases.class = r.value ->> 0 AND leases.id = r.value ->> 1
    AND leases.session = :session AND leases.epoch = r.value ->> 2
    AND ${slotIsOurs}`;

/** L1: a compare-and-set from (session, epoch), which proves that nobody owned it in between. */
const adoptLeases = `
  UPDATE leases SET session = :session, epoch = max(leases.epoch + 1, d.now), former = leases.session
  FROM json_each(:adopt) a, directory d
  WHERE leases.class = a.value ->> 0 AND leases.id = a.value ->> 1
    AND leases.session = a.value ->> 2 AND leases.epoch = a.value ->> 3
    AND ${slotIsOurs} AND ${noQuarantine}`;

/**
 * L2. Every epoch is at least the time it was given at, so a restored backup cannot bring an old one back. A session that drains takes
 * nothing new, and goes on with what is its own.
 */
const acquireLeases = `
  INSERT INTO leases (class, id, session, epoch, former)
  SELECT a.value ->> 0, a.value ->> 1, :session, d.now, ''
  FROM json_each(:acquire) a, directory d
  WHERE ${slotIsOurs} AND ${noQuarantine}
    AND (a.value ->> 2 = 'free' AND (SELECT draining = 0 FROM sessions WHERE session = :session) OR EXISTS (
      SELECT 1 FROM leases l
      WHERE l.class = a.value ->> 0 AND l.id = a.value ->> 1 AND l.session = :session))
  ON CONFLICT (class, id) DO UPDATE SET
    session = excluded.session, epoch = max(leases.epoch + 1, excluded.epoch), former = leases.session
  WHERE leases.session = :session OR NOT ${ownerLives}`;

/**
 * L7: a compare-and-set from (this session, epoch) to a session that may take. What it may take later, should it open onto a
 * gap, does not matter here: that this lease is nobody else's is proven by who gives it away.
 */
const moveLeases = `
  UPDATE leases SET session = m.value ->> 3, epoch = max(leases.epoch + 1, d.now), former = leases.session
  FROM json_each(:move) m, directory d
  WHERE leases.class = m.value ->> 0 AND leases.id = m.value ->> 1
    AND leases.session = :session AND leases.epoch = m.value ->> 2
    AND EXISTS (
      SELECT 1 FROM sessions target
      WHERE target.session = m.value ->> 3 AND target.session <> :session
        AND target.ended = 0 AND target.expires_at > d.now AND target.draining = 0)
    AND ${slotIsOurs} AND ${noQuarantine}`;

/**
 * After the writes and before the moves: who was fenced. Later the leases no longer tell a write that was fenced from one that
 * was written and whose object then moved, and by the second copy of the slot the target may have given it on.
 */
const noteRefused = `
  UPDATE sessions SET last_refused = ${refusedLeases}
  WHERE session = :session AND ${slotIsOurs}`;

/** Claims the slot also where nothing may be taken: only then can no late copy take it after the quarantine (L6). */
const claimSlot = `
  UPDATE sessions SET
    last_commit = :slot,
    counter = max(sessions.counter + 1, d.counter),
    last_outcome = CASE WHEN NOT ${noQuarantine} THEN 'quarantined' WHEN draining THEN 'draining' ELSE 'committed' END
  FROM directory d
  WHERE sessions.session = :session AND ${slotIsOurs}`;

/** One row with one text, because a thousand rows cost more to carry than to read. */
const readLeases = `
  SELECT json_group_array(json_array(asked.key, leases.session, leases.epoch, ${ownerLives}, coalesce(leases.former, ''))) AS leases
  FROM json_each(:asked) asked
  CROSS JOIN leases ON leases.class = asked.value ->> 0 AND leases.id = asked.value ->> 1`;

const readState = `
  SELECT d.generation, d.now, max(0, max(d.quarantine_until, ${gapUntil}) - d.now) AS quarantine_ms,
    me.session, me.ended, me.expires_at, me.counter, me.last_commit, me.last_outcome, ${requiredSchema} AS required_schema
  FROM directory d LEFT JOIN sessions me ON me.session = :session`;

const readCommit = readState.replace("me.session,", `${refusedLeases} AS refused, me.session,`);
const readNoted = readState.replace("me.session,", "coalesce(me.last_refused, '[]') AS refused, me.session,");

/** The shorter way of a commit that only writes. Its own row's number rises by itself, ahead of the directory's. */
const claimForWrites = `
  UPDATE sessions SET last_commit = :slot, counter = counter + 1, last_outcome = :claim
  WHERE session = :session AND ended = 0 AND last_commit = :slot - 1 AND counter >= :counter AND (
    SELECT generation = :generation AND sessions.expires_at > t.now FROM directory, ${time} t)
  RETURNING counter, (SELECT now FROM ${time}) AS now`;

const claimedHere = `(SELECT last_commit = :slot AND last_outcome = :claim FROM sessions WHERE session = :session)`;

const writesOfSlot = new WriteStatements(slotIsOurs);
const writesOfClaim = new WriteStatements(claimedHere);

const readHosts = `
  SELECT session, host_id, region, private_url, public_url, classes, version, draining, load, link_versions
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

/** Effects that have nothing to do are left out; what is read comes last: the state, the leases, and what was loaded. */
export function commitStatements(witness: Witness, commit: CommitArgs): readonly SqlStatement[] {
  const { writes, load, ...args } = commit;
  const written = { ...args, leases: writes.leases };
  const isNoted = args.move !== "[]" && writes.leases !== "[]";
  const effects = [
    args.release === "[]" ? undefined : releaseLeases,
    args.adopt === "[]" ? undefined : adoptLeases,
    args.acquire === "[]" ? undefined : acquireLeases,
  ];
  return [
    statement(tick, {}),
    statement(detectLoss, witness),
    statement(endAllAfterLoss, witness),
    ...effects.flatMap((sql) => (sql === undefined ? [] : [statement(sql, args)])),
    ...writesOfSlot.of(writes, args),
    ...(isNoted ? [statement(noteRefused, written)] : []),
    ...(args.move === "[]" ? [] : [statement(moveLeases, args)]),
    statement(claimSlot, args),
    statement(isNoted ? readNoted : readCommit, written),
    statement(readLeases, args),
    ...loadStatements(args.session, load),
  ];
}

/**
 * A commit of writes alone. The first result is empty where the slot was not claimed: then nothing was written. The last
 * says who was refused.
 */
export function writeOnlyStatements(claim: ClaimArgs, writes: PackedWrites): readonly SqlStatement[] {
  return [
    statement(claimForWrites, claim),
    ...writesOfClaim.of(writes, claim),
    refusedStatement(claim.session, writes),
  ];
}

export interface CommitArgs {
  readonly session: string;
  readonly slot: bigint;
  readonly generation: string;
  /** JSON arrays, `[]` where there is nothing. */
  readonly release: string;
  readonly adopt: string;
  readonly acquire: string;
  readonly move: string;
  readonly asked: string;
  readonly writes: PackedWrites;
  readonly load: readonly ObjectRef[];
}

export interface ClaimArgs extends SqlArgs {
  readonly session: string;
  readonly slot: bigint;
  readonly generation: string;
  readonly counter: bigint;
  /** Fresh for each call. */
  readonly claim: string;
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
