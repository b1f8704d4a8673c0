import type { Acquisition, Leases } from "../lease/leases.ts";
import { type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Activation } from "./activation.ts";

export interface AdoptionSetup {
  readonly leases: Pick<Leases, "adopt" | "release" | "session">;
  readonly clock: Clock;
  readonly log: Log;
  /** Somebody else has it. */
  readonly lost: (activation: Activation, cause: StatefulError) => void;
  /** It had stopped, or ended, before its lease was confirmed. */
  readonly over: (activation: Activation) => void;
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
  async adopt(activations: readonly Activation[], attemptsMax = Number.POSITIVE_INFINITY): Promise<void> {
    const { leases, clock } = this.#setup;
    const { session } = leases;
    const isOver = () => leases.session !== session || !session.isValid() || this.#closed.signal.aborted;
    let left = activations;
    for (let attempt = 1; ; attempt += 1) {
      await this.#adoptOnce(left);
      left = left.filter(({ phase }) => phase.name === "suspended");
      if (left.length === 0 || attempt >= attemptsMax || isOver()) return;
      const delayMs = Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** Math.min(attempt, 16));
      await sleep(clock, delayMs, this.#closed.signal);
      if (isOver()) return;
    }
  }

  async #adoptOnce(activations: readonly Activation[]): Promise<void> {
    for (const [fromSession, group] of groupBySession(activations)) {
      const answers = await this.#ask(fromSession, group);
      const unsettled = group.filter(({ ref }) => !answers.has(ref.key)).length;
      if (unsettled > 0) this.#setup.log.warn("adoption.unsettled", { fromSession, objects: unsettled });
      for (const activation of group) this.#settle(activation, answers.get(activation.ref.key));
    }
  }

  async #ask(fromSession: string, group: readonly Activation[]): Promise<ReadonlyMap<string, Acquisition>> {
    try {
      const held = group.map(({ ref, epoch }) => ({ object: ref, epoch }));
      return await this.#setup.leases.adopt(fromSession, held);
    } catch (thrown) {
      this.#setup.log.warn("adoption.failed", { fromSession, error: asStatefulError(thrown) });
      return new Map();
    }
  }

  #settle(activation: Activation, answer: Acquisition | undefined): void {
    if (answer === undefined) return;
    const { ref, phase } = activation;
    if (answer.owned) {
      activation.resume(answer.session, answer.epoch);
      if (activation.phase.name !== "over") return;
      this.#setup.leases.release({ object: ref, epoch: answer.epoch });
      this.#setup.over(activation);
    } else if (phase.name === "suspended") {
      this.#setup.lost(
        activation,
        new StatefulError("session_over", `${ref.key} lives on another host by now.`),
      );
    }
  }
}

function groupBySession(activations: readonly Activation[]): Map<string, Activation[]> {
  const groups = new Map<string, Activation[]>();
  for (const activation of activations) {
    const { phase } = activation;
    if (phase.name !== "suspended") continue;
    const group = groups.get(phase.session.id);
    if (group) group.push(activation);
    else groups.set(phase.session.id, [activation]);
  }
  return groups;
}
