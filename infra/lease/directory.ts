import type { ObjectRef } from "../lib/object-ref.ts";
import type { VersionRange } from "../lib/version-range.ts";
import type { LoadedObject, ObjectWrites, StoredObjects } from "./stored-objects.ts";

/**
 * The directory: the one shared truth about who is alive and who owns what. See README.md in this folder for the rules
 * (L1-L12) that an implementation must keep; `tests/contracts/directory-contract.ts` holds every implementation to them.
 *
 * All times are the directory's own (rule L3). Every call ends within the time limit the implementation was made with,
 * and rejects with `directory_unavailable` when nothing is known about its outcome; only `commit` and `renew` may have
 * taken effect all the same, and both may safely be sent again with the same arguments.
 */
export interface Directory extends StoredObjects {
  /**
   * Adds a session row. Ends nobody else's that is alive, not even one of the same `hostId` (L1). Safe to send again with
   * the same session id: the row is added once, and its time to live counts from when that happened. Rejects with
   * `version_mismatch` where the tables require a newer build (L12): trying again cannot help.
   */
  openSession(session: NewSession): Promise<OpenedSession>;

  /** Extends the session's life by its time to live. Final refusal when it ended or expired (L1). */
  renew(renewal: Renewal): Promise<RenewalAnswer>;

  /** Hands the session back: every lease that it holds is free at once. Final, and idempotent. */
  endSession(session: string): Promise<void>;

  /**
   * The numbered write of a session (L6): takes, adopts, releases and moves leases and writes what objects store, all or
   * none, and only if the session lives and its last commit was `slot - 1`. An object whose lease is not the one that its
   * writes, or its move, name is left out by itself (L4, L7). What an object writes in the commit that moves it is written. Sending the same commit again after a lost answer is safe: whichever copy
   * arrives first takes the slot, the other changes nothing, and both answer how the leases stand now.
   */
  commit(commit: Commit): Promise<CommitAnswer>;

  /** Whether `find` is answered by something nearer than the primary. Otherwise asking for the lease itself costs the same. */
  readonly hasHints: boolean;

  /** Who probably owns these? May be stale (L5), may come from a replica. Missing means "nobody known". */
  find(objects: readonly ObjectRef[]): Promise<ReadonlyMap<string, LeaseHint>>;

  /** Those of `leases` that the primary does not show as held by this session under this epoch (L9). */
  verify(session: string, leases: readonly HeldLease[]): Promise<readonly HeldLease[]>;

  close(): Promise<void>;
}

/** What a host says about itself, and what placement decides on. */
export interface HostRecord {
  readonly session: string;
  readonly hostId: string;
  readonly region: string;
  /** Where other hosts reach it: `http://host:port`, never given to clients. */
  readonly privateUrl: string;
  /** Where clients reach it, shown by explain and the dev command. */
  readonly publicUrl: string;
  readonly classes: readonly string[];
  readonly version: string;
  /** Versions of the links between hosts that it speaks. Missing: it is of a release that had only the first. */
  readonly linkVersions?: VersionRange | undefined;
  readonly draining: boolean;
  readonly load: HostLoad;
}

export interface HostLoad {
  /** Live activations, and how many the host takes at most. */
  readonly objects: number;
  readonly objectsMax: number;
  readonly memoryUsedBytes: number;
  readonly memoryLimitBytes: number;
}

export interface NewSession extends HostRecord {
  readonly ttlMs: number;
  /** The session this process had before. A directory that does not remember it has lost memory (L9). */
  readonly previous?: PreviousSession;
}

export interface PreviousSession {
  readonly session: string;
  readonly seen: DirectoryPosition;
}

export interface Renewal {
  readonly session: string;
  readonly ttlMs: number;
  readonly draining: boolean;
  readonly classes: readonly string[];
  readonly load: HostLoad;
  /** The latest position this host has seen. An answer below it means that the directory lost memory (L9). */
  readonly seen: DirectoryPosition;
}

/**
 * Must never go back (L9). `counter` rises with every write that hosts rely on, and each write leaves its number on the
 * row of the session that made it. So what a host has seen is compared with its own row, which only its own writes
 * raise: a directory that lost memory cannot catch up through the writes of others.
 */
export interface DirectoryPosition {
  readonly generation: string;
  readonly counter: number;
}

export interface OpenedSession {
  readonly position: DirectoryPosition;
  readonly hosts: readonly HostRecord[];
  /** How long nothing may be acquired, because the directory lost memory or may have (L9). 0 when all is well. */
  readonly quarantineMs: number;
  /** The directory's clock, in ms since the Unix epoch, when it answered. */
  readonly nowMs: number;
}

export type RenewalAnswer =
  | {
      readonly alive: true;
      readonly position: DirectoryPosition;
      /** Highest slot that this session has committed, as the directory has it. */
      readonly lastCommit: number;
      readonly quarantineMs: number;
      readonly nowMs: number;
      /** Every session that is alive, this one included. */
      readonly hosts: readonly HostRecord[];
    }
  | { readonly alive: false; readonly reason: SessionEnd };

/**
 * `missing`: there is no such row. `directory_lost_memory`: the directory no longer knows something it had acknowledged,
 * to this session or to another (L9); every session of that time is over. `schema_too_new`: the tables have been migrated to
 * what this build does not know (L12); it opens no other.
 */
export type SessionEnd = "ended" | "expired" | "missing" | "directory_lost_memory" | "schema_too_new";

export interface Commit {
  readonly session: string;
  /** 1 for the first commit of a session, then one more each time. */
  readonly slot: number;
  readonly acquire: readonly AcquireItem[];
  readonly adopt: readonly AdoptItem[];
  readonly release: readonly HeldLease[];
  /** At most one of an object. */
  readonly move: readonly MoveItem[];
  readonly writes: readonly ObjectWrites[];
  readonly seen: DirectoryPosition;
}

export interface AcquireItem {
  readonly object: ObjectRef;
  /** `free`: also where nobody owns it. `mine`: only where the row already names this session (L2, last sentence). */
  readonly when: "free" | "mine";
  /** Whether what it has stored comes along, should it be won. Default false. */
  readonly load?: boolean;
}

export interface AdoptItem {
  readonly object: ObjectRef;
  readonly fromSession: string;
  readonly fromEpoch: number;
}

/**
 * L7: the lease goes to `toSession`, under a new epoch, if it is still the committing session's under `epoch` and the other
 * session is alive and not draining. Whether the committing one drains makes no difference: that is what draining is for.
 */
export interface MoveItem {
  readonly object: ObjectRef;
  readonly epoch: number;
  /** `""`: to nobody, which changes nothing and asks only how the lease stands. */
  readonly toSession: string;
}

export interface HeldLease {
  readonly object: ObjectRef;
  readonly epoch: number;
}

export type CommitAnswer =
  | ({ readonly outcome: "committed" } & CommitEffects)
  /** The session is over: nothing was written, now or by an earlier copy of this slot, and nothing ever will be. */
  | { readonly outcome: "session_over"; readonly reason: SessionEnd }
  /**
   * The directory lost memory, or may have (L9): nothing was taken, adopted or moved. The slot is used up all the same, so that
   * no copy of this commit can take effect later; what it releases is released, and what it writes is written.
   */
  | ({ readonly outcome: "quarantined"; readonly quarantineMs: number } & CommitEffects)
  /** The session is draining: nothing new was taken, for the rest like `committed`: it goes on with its own, adopting and moving away. */
  | ({ readonly outcome: "draining" } & CommitEffects);

export interface CommitEffects {
  /**
   * One entry for each object of `acquire`, `adopt` and `move` that has a row, by `ObjectRef.key`. An object was won if its
   * lease names the committing session: nobody else can have written that, but for a move to it.
   */
  readonly leases: ReadonlyMap<string, Lease>;
  /** What the objects that were won, and asked for it, have stored, by `ObjectRef.key`. Missing: nothing. */
  readonly loaded: ReadonlyMap<string, LoadedObject>;
  /** Keys of the objects of `writes` that were fenced: the lease is another by now, and nothing of theirs was written. */
  readonly refused: ReadonlySet<string>;
  readonly position: DirectoryPosition;
  readonly nowMs: number;
}

export interface Lease {
  readonly session: string;
  readonly epoch: number;
  /** False where the session has ended or expired, as far as the asking session can know: the lease is free to take. */
  readonly alive: boolean;
  /**
   * The session that the row named before it was given to this one; `""` where there was none, or it had given the lease up.
   * It is the owner's own where that took anew what it held. Not to be relied on where an owner of an older version wrote
   * the row last.
   */
  readonly former: string;
}

export interface LeaseHint {
  readonly session: string;
  readonly epoch: number;
}

/**
 * While the directory's time is ahead of a clock that was set back, so much counts as passed between two writes at most, in ms. A
 * clock that is set on again by more has not passed it, and hosts that have not counted it must not expire for it.
 */
export const elapsedMsMax = 1000;
