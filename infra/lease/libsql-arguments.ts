import { nanoid } from "nanoid";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { VersionRange } from "../lib/version-range.ts";
import type { Commit, DirectoryPosition, NewSession, Renewal } from "./directory.ts";
import type { CommitArgs, Witness } from "./directory-statements.ts";
import { schemaVersion } from "./directory-schema.ts";
import { nameOf } from "./object-name.ts";
import { packWrites } from "./write-statements.ts";

/** What the statements of `directory-statements.ts` are given. `libsql-answers.ts` is the way back. */

/** How long a session's row outlives it. A process that was frozen for longer than this looks like lost memory (L9). */
const sessionKeepMs = 7 * 24 * 60 * 60 * 1000;

export function witnessOf(
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

export function sessionArgs(session: NewSession) {
  return {
    ...liveArgs(session),
    hostId: session.hostId,
    region: session.region,
    privateUrl: session.privateUrl,
    publicUrl: session.publicUrl,
    version: session.version,
    linkVersions: linkVersionsArg(session.linkVersions),
    schemaVersion: BigInt(schemaVersion),
    sessionKeepMs: BigInt(sessionKeepMs),
  };
}

function linkVersionsArg(range: VersionRange | undefined): string | null {
  return range === undefined ? null : JSON.stringify([range.oldest, range.newest]);
}

export function renewalArgs(renewal: Renewal) {
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

export function commitArgs(commit: Commit): CommitArgs {
  const { acquire, adopt, release, move, writes } = commit;
  return {
    session: commit.session,
    slot: BigInt(commit.slot),
    generation: commit.seen.generation,
    acquire: JSON.stringify(acquire.map((item) => [...nameOf(item.object), item.when])),
    adopt: JSON.stringify(adopt.map((item) => [...nameOf(item.object), item.fromSession, item.fromEpoch])),
    release: JSON.stringify(release.map((lease) => [...nameOf(lease.object), lease.epoch])),
    move: JSON.stringify(move.map((item) => [...nameOf(item.object), item.epoch, item.toSession])),
    asked: JSON.stringify(askedBy(commit).map(nameOf)),
    writes: packWrites(writes),
    load: acquire.filter((item) => item.load === true).map((item) => item.object),
  };
}

/** The objects whose leases a commit's answer tells, in the order in which it counts them. */
export function askedBy(commit: Commit): readonly ObjectRef[] {
  return [...commit.acquire, ...commit.adopt, ...commit.move].map((item) => item.object);
}
