import type { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { LoadedObject } from "./stored-objects.ts";
import type { WriteSource } from "./write-queue.ts";
import type { HeldLease, HostRecord, LeaseHint, SessionEnd } from "./directory.ts";

/**
 * What the rest of a host sees of the lease protocol: a session that is valid or over, and leases taken under it.
 * Everything about renewing, batching, numbering and settling unknown outcomes stays behind this.
 */
export interface Leases {
  /** The current session. Replaced when it is over and the host could open the next one. */
  readonly session: Session;

  /** Hosts whose sessions were alive at the last renewal, this one included. At most one renewal interval old. */
  readonly hosts: readonly HostRecord[];

  /** The record of a session that was alive at the last renewal. */
  host(session: string): HostRecord | undefined;

  /** The session that the process of this one has now, if it is another: what the old one left is adopted there (L1). */
  successor(session: string): HostRecord | undefined;

  /**
   * Takes the object for the current session, or learns who has it. Many calls travel in one batch.
   * Rejects with `session_over`, `directory_unavailable`, `directory_recovering` or `queue_full`.
   *
   * @param load whether what the object has stored comes along, in the same round trip; default false
   */
  acquire(object: ObjectRef, when: "free" | "mine", load?: boolean): Promise<Acquisition>;

  /** Has the source's changes written by the current session's next commit (L6), together with everybody else's. */
  write(source: WriteSource): void;

  /** The directory's clock, in ms since the Unix epoch, as far as this host can tell: a little late, never early. */
  nowMs(): number;

  /**
   * Hands a lease of the current session over to another host's (L7): one compare-and-set, in the next commit, together
   * with whatever its object has waiting to be written by then.
   *
   * From this call until it settles neither side may serve: the caller has closed the object's gate before, and opens it
   * only after `refused`. Once the move was sent there is no time limit, because whoever is told "not moved" while a copy
   * is still under way may serve beside the target; it is settled by sending the same slot again, or by the session's end.
   *
   * Rejects with
   * - `queue_full`, or with `directory_unavailable` after `waitMs`: certainly not sent. The caller goes on as owner.
   * - `session_over`: the session ended before the outcome was known, so whether the object moved is not known either.
   *   The next session finds out, by adopting from (this session, this epoch), which fails if it moved (L1).
   */
  move(lease: HeldLease, toSession: string): Promise<MoveOutcome>;

  /**
   * Whether a commit that waits or travels may still take this object, though nobody here may wait for it any more. While
   * that is so, the object must not be moved here: what a commit takes for nobody is released again, and such a release
   * would be of the lease that it came under. Whoever is prepared to receive it neither acquires nor disowns it meanwhile.
   */
  isTaking(object: ObjectRef): boolean;

  /** Gives a lease up. Best effort, batched: a lost release only leaves the object with a host that will take it again. */
  release(lease: HeldLease): void;

  /**
   * Gives up whatever the current session holds of an object that neither runs nor starts here, under whatever epoch: what
   * was left to it would otherwise be looked for here until the session ends. An `acquire` that follows is not undone.
   */
  disown(object: ObjectRef): void;

  /**
   * Takes over, for the current session, what an earlier session of this host held and nobody took since (L1). What could
   * not be settled is not in the answer: ask again, or leave it to the next session.
   */
  adopt(fromSession: string, leases: readonly HeldLease[]): Promise<ReadonlyMap<string, Acquisition>>;

  /** Whether `find` is cheaper than to ask for the object, whose answer names the owner as well. */
  readonly hasHints: boolean;

  /** A hint from the replica (L5); undefined on a miss or when the replica does not answer in time. */
  find(object: ObjectRef): Promise<LeaseHint | undefined>;

  /** Stops renewing, settles what is in flight, hands the session back. Idempotent. */
  stop(): Promise<void>;
}

/** One life of this host in the directory. Once over, over for good. */
export interface Session {
  readonly id: string;
  /**
   * Whether this host may act as an owner right now (L3): judged by the local monotonic clock alone, from before the
   * last acknowledged renewal was sent, less a margin. Checked before every event and every release, so it is cheap.
   */
  isValid(): boolean;
}

export type MoveOutcome =
  /** The lease is the target's, under this epoch. */
  | { readonly outcome: "moved"; readonly epoch: number }
  /** It is still ours, under the epoch it had: the target is over or drains, or nothing moves yet (L9). */
  | { readonly outcome: "refused" }
  /** It is neither: somebody has it, or nobody, but no longer this activation. */
  | { readonly outcome: "lost" };

export type Acquisition =
  | {
      readonly owned: true;
      readonly session: Session;
      readonly epoch: number;
      /**
       * Who had it before. `""`: nobody, or it was given back. Otherwise that session ended without giving it back (a crash,
       * or a host that was stopped in a hurry), moved it here, or is this one, which took anew what it held.
       */
      readonly former: string;
      /** Where it was asked for. */
      readonly loaded?: LoadedObject;
    }
  /** `owner` is missing where the winner's session is not among the known hosts yet. */
  | {
      readonly owned: false;
      readonly session: string;
      readonly epoch: number;
      readonly owner: HostRecord | undefined;
    };

export interface LeaseEvents {
  /**
   * The session is over: from here on `session.isValid()` is false for ever. Activations stop taking events; whether
   * they live on is decided when the next session adopts them, or does not.
   */
  sessionOver(session: Session, reason: SessionEnd | "unconfirmed" | "directory_lost_memory"): void;
  /**
   * The next session is open. `adopt` may be called now. `hasForgotten`: the directory lost memory since the previous one opened
   * (L9), so what was acknowledged under that may be stored no longer.
   */
  sessionOpened(session: Session, previous: Session, hasForgotten: boolean): void;
  /** The directory no longer shows these leases as held by this session (L9): their activations must stop. */
  leasesLost(leases: readonly HeldLease[]): void;
  /** The set of hosts that are alive changed. */
  hostsChanged(hosts: readonly HostRecord[], gone: readonly HostRecord[]): void;
  /** The directory was migrated to what this build does not know (L12): this host has had its last session. */
  outdated?(error: StatefulError): void;
}
