import type { ObjectRef } from "../lib/object-ref.ts";
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

  /**
   * Takes the object for the current session, or learns who has it. Many calls travel in one batch.
   * Rejects with `session_over`, `directory_unavailable`, `directory_recovering` or `queue_full`.
   */
  acquire(object: ObjectRef, when: "free" | "mine"): Promise<Acquisition>;

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

export type Acquisition =
  | { readonly owned: true; readonly session: Session; readonly epoch: number }
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
  /** The next session is open. `adopt` may be called now. */
  sessionOpened(session: Session, previous: Session): void;
  /** The directory no longer shows these leases as held by this session (L9): their activations must stop. */
  leasesLost(leases: readonly HeldLease[]): void;
  /** The set of hosts that are alive changed. */
  hostsChanged(hosts: readonly HostRecord[], gone: readonly HostRecord[]): void;
}
