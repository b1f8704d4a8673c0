import type { Acquisition, Leases, Session } from "../lease/leases.ts";
import { type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/** What a session that ended has left here: an object that lives, or sleeps. */
export interface Adoptable {
  readonly ref: ObjectRef;
  readonly epoch: number;
  /** The session whose end it has to get over; undefined where there is none. */
  readonly suspendedUnder: string | undefined;
  readonly isOver: boolean;
  resume(session: Session, epoch: number): void;
}

export interface AdoptionSetup {
  readonly leases: Pick<Leases, "adopt" | "release" | "session">;
  readonly clock: Clock;
  readonly log: Log;
  /** Somebody else has it. */
  readonly lost: (adoptable: Adoptable, cause: StatefulError) => void;
  /** It has ended, and another copy of it is here, or starts: what was adopted is that one's. */
  readonly isTakenAnew: (adoptable: Adoptable) => boolean;
  /** It had stopped, or ended, before its lease was confirmed. */
  readonly over: (adoptable: Adoptable) => void;
}

const retryDelayMinMs = 100;
const retryDelayMaxMs = 5_000;

/**
 * Carries what was suspended over into the current session (L1): each object goes on, or ends. While the session lasts,
 * what could not be settled is asked for again; after it, that is the next session's work.
 */
export class Adoption {
  readonly #setup: AdoptionSetup;
  readonly #closed = new AbortController();

  constructor(setup: AdoptionSetup) {
    this.#setup = setup;
  }

  close(): void {
    this.#closed.abort();
  }

  /** Never rejects. */
  async adopt(adoptables: readonly Adoptable[], attemptsMax = Number.POSITIVE_INFINITY): Promise<void> {
    const { leases, clock } = this.#setup;
    const { session } = leases;
    const isOver = () => leases.session !== session || !session.isValid() || this.#closed.signal.aborted;
    let left = adoptables;
    for (let attempt = 1; ; attempt += 1) {
      await this.#adoptOnce(left);
      left = left.filter(({ suspendedUnder }) => suspendedUnder !== undefined);
      if (left.length === 0 || attempt >= attemptsMax || isOver()) return;
      const delayMs = Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** Math.min(attempt, 16));
      await sleep(clock, delayMs, this.#closed.signal);
      if (isOver()) return;
    }
  }

  async #adoptOnce(adoptables: readonly Adoptable[]): Promise<void> {
    for (const [fromSession, group] of groupBySession(adoptables)) {
      const answers = await this.#ask(fromSession, group);
      const unsettled = group.filter(({ ref }) => !answers.has(ref.key)).length;
      if (unsettled > 0) this.#setup.log.warn("adoption.unsettled", { fromSession, objects: unsettled });
      for (const adoptable of group) this.#settle(adoptable, answers.get(adoptable.ref.key));
    }
  }

  async #ask(fromSession: string, group: readonly Adoptable[]): Promise<ReadonlyMap<string, Acquisition>> {
    try {
      const held = group.map(({ ref, epoch }) => ({ object: ref, epoch }));
      return await this.#setup.leases.adopt(fromSession, held);
    } catch (thrown) {
      this.#setup.log.warn("adoption.failed", { fromSession, error: asStatefulError(thrown) });
      return new Map();
    }
  }

  #settle(adoptable: Adoptable, answer: Acquisition | undefined): void {
    if (answer === undefined) return;
    const { ref } = adoptable;
    if (answer.owned) {
      adoptable.resume(answer.session, answer.epoch);
      if (!adoptable.isOver) return;
      // Whoever started meanwhile asked for it in the same commit, and runs under this very epoch.
      if (!this.#setup.isTakenAnew(adoptable))
        this.#setup.leases.release({ object: ref, epoch: answer.epoch });
      this.#setup.over(adoptable);
    } else if (adoptable.suspendedUnder !== undefined) {
      this.#setup.lost(
        adoptable,
        new StatefulError("session_over", `${ref.key} lives on another host by now.`),
      );
    }
  }
}

function groupBySession(adoptables: readonly Adoptable[]): Map<string, Adoptable[]> {
  const groups = new Map<string, Adoptable[]>();
  for (const adoptable of adoptables) {
    const { suspendedUnder } = adoptable;
    if (suspendedUnder === undefined) continue;
    const group = groups.get(suspendedUnder);
    if (group) group.push(adoptable);
    else groups.set(suspendedUnder, [adoptable]);
  }
  return groups;
}
