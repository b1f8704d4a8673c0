import type { HostRecord } from "../lease/directory.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { EdgeName } from "./edge-port.ts";

/**
 * What two hosts say to each other while an object moves (rule L7), as the host stage sees it. How it travels is
 * `edge/move-channel.ts`.
 *
 *     source                              target
 *     begin(offer)                   →    is there room, the class, a version that is not older?
 *                                    ←    prepared, or why not
 *     deliver(package)               →    is there room for its bytes? decoded and kept; nothing of it serves yet
 *                                    ←    ready
 *     … one compare-and-set at the primary, from the source …
 *     go(epoch)                      →    starts, and serves
 *
 * A source that is lost after `ready` leaves the target with the question whether the lease names it. It asks the primary.
 */
export interface MovePeers {
  /**
   * Resolves when the target is prepared. Rejects with its refusal, or because it cannot be reached; within a limit of its own,
   * because only whoever holds the conversation can tell a target that answers later that the source has given it up.
   */
  begin(target: HostRecord, offer: MoveOffer): Promise<MoveConversation>;
}

export interface MoveOffer {
  readonly ref: ObjectRef;
  /** The source's lease. */
  readonly epoch: number;
  /** The target's session, which the lease will name. */
  readonly toSession: string;
  /** Of the class's data, and of the source's code. */
  readonly dataVersion: number;
  readonly codeVersion: string;
  /** Who holds its sockets: a target that takes it dials them at once, so that the move's pause does not wait for links. */
  readonly edges: readonly EdgeName[];
}

export interface MoveConversation {
  /** Resolves when the target has it all and could go on from it. */
  deliver(bytes: Uint8Array): Promise<void>;
  /** The lease names the target, under that epoch. */
  go(epoch: number): void;
  /** The source lives on, or does not know: the target keeps what it has only where it is `undecided`. */
  cancel(error: StatefulError, isUndecided: boolean): void;
}

/** The reason, in an error's details, of a target that has no room for a package now: it has once what else is on its way started. */
export const arrivalsFull = "arrivals_full";

/** An object that is on its way here. */
export interface Arrival {
  /**
   * Its package has so many bytes, as its source announces, or as have come. Asked before any of them is kept; fewer than before
   * change nothing.
   *
   * @throws StatefulError `move_failed` where all that is on its way here is too much together, with the reason `arrivalsFull`
   *   unless this object is too much alone.
   */
  reserve(bytes: number): void;
  /** @throws StatefulError where this host could not go on from it. */
  deliver(bytes: Uint8Array): void;
  /** The object starts. */
  go(epoch: number): void;
  cancelled(): void;
  /** The source is gone, or does not know: whether the object is ours is for the primary to say. */
  undecided(): void;
}

export interface Arrivals {
  /** @throws StatefulError why this host does not take it. */
  offered(offer: MoveOffer): Arrival;
}

export type MoveReason = "operator" | "drain" | "memory" | "follow";

export interface MoveResult {
  readonly toSession: string;
  readonly epoch: number;
  /** From the gate's closing on a quiescent object until the target was told to go on. */
  readonly pauseMs: number;
}
