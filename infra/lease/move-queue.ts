import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { HeldLease, Lease, MoveItem } from "./directory.ts";
import type { LeaseLineLimits } from "./lease-line.ts";
import { notSent } from "./lease-refusals.ts";
import type { MoveOutcome } from "./leases.ts";

/**
 * Planned moves that wait for a commit (L7), and those that travel in one.
 *
 * Whoever acquires may stop waiting at any time: what it took meanwhile is given back. A move cannot be given back. While
 * one is under way the target may own the object already, so a source that is told "it did not work" and serves on may be
 * the second copy. So there are two times with two rules:
 *
 *     waiting       not sent by anybody; withdrawn after `waitMs`, and the source goes on as owner
 *     travelling    no limit: told when the slot is settled, or when the session ends, which ends the source's right too
 *
 * What was waiting to be written when a move was asked for travels before it or with it, never after it: an object's last
 * writes are under the lease that it gives away. More than one commit can carry may wait, so a move waits for those first.
 */
export class MoveQueue {
  readonly #clock: Clock;
  readonly #limits: LeaseLineLimits;
  readonly #waiting = new Set<Move>();

  constructor(clock: Clock, limits: LeaseLineLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** @param lastWrite the number in the queue of writes of the last one that must not travel later */
  add({ object, epoch }: HeldLease, toSession: string, lastWrite: number): Promise<MoveOutcome> {
    const { waitMs } = this.#limits;
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(waitMs, () => {
        this.#waiting.delete(move);
        reject(notSent(object, waitMs));
      });
      const move: Move = { item: { object, epoch, toSession }, lastWrite, resolve, reject, cancel };
      this.#waiting.add(move);
    });
  }

  /**
   * One of each object, in their order; from here on they are not withdrawn.
   *
   * @param firstWrite the number of the first write that stays behind
   */
  take(countMax: number, firstWrite: number): MoveBatch {
    const taken = new Map<string, Move>();
    for (const move of this.#waiting) {
      // Those behind it came later still.
      if (taken.size >= countMax || move.lastWrite >= firstWrite) break;
      if (taken.has(move.item.object.key)) continue;
      this.#waiting.delete(move);
      move.cancel();
      taken.set(move.item.object.key, move);
    }
    return new MoveBatch([...taken.values()]);
  }

  refuse(error: StatefulError): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const move of waiting) {
      move.cancel();
      move.reject(error);
    }
  }
}

interface Move {
  readonly item: MoveItem;
  readonly lastWrite: number;
  readonly resolve: (outcome: MoveOutcome) => void;
  readonly reject: (error: StatefulError) => void;
  readonly cancel: CancelTimer;
}

/** The moves of one commit. */
export class MoveBatch {
  readonly #moves: readonly Move[];
  readonly items: readonly MoveItem[];

  constructor(moves: readonly Move[]) {
    this.#moves = moves;
    this.items = moves.map(({ item }) => item);
  }

  /** For a slot that is to be claimed without effects: moves nothing, and asks what an earlier copy of it has moved. */
  get questions(): readonly MoveItem[] {
    return this.items.map((item) => ({ ...item, toSession: "" }));
  }

  /** `leases`, as the answer to the commit of `session` has them, whatever else that says: the row alone tells who owns. */
  tell(session: string, leases: ReadonlyMap<string, Lease>): void {
    for (const { item, resolve } of this.#moves)
      resolve(outcomeOf(item, session, leases.get(item.object.key)));
  }

  refuse(error: StatefulError): void {
    for (const { reject } of this.#moves) reject(error);
  }
}

function outcomeOf(item: MoveItem, session: string, lease: Lease | undefined): MoveOutcome {
  if (lease?.session === session) return { outcome: lease.epoch === item.epoch ? "refused" : "lost" };
  if (lease?.session === item.toSession) return { outcome: "moved", epoch: lease.epoch };
  return { outcome: "lost" };
}
