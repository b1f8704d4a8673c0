import type { Offence } from "../continuity/offence.ts";
import { until } from "../support/wait.ts";
import { type ChaosStage, recoveryLimitMs } from "./chaos-stage.ts";
import type { Journal } from "./journal.ts";
import type { Call } from "./operations.ts";

/** Looks on as a service manager does, and waits until everything is served again. */
export class Recovery {
  readonly #stage: ChaosStage;
  readonly #journal: Journal;
  /** Of each object at each edge: when the last call began that was answered. */
  readonly #servedAtMs = new Map<string, number>();

  constructor(stage: ChaosStage, journal: Journal, objects: readonly string[]) {
    this.#stage = stage;
    this.#journal = journal;
    for (const object of objects)
      for (const edge of stage.hosts.keys()) this.#servedAtMs.set(`${object} at edge ${edge}`, 0);
  }

  told({ object, edge, calledAtMs, outcome }: Call): void {
    if (outcome.kind !== "ok") return;
    const place = `${object} at edge ${edge}`;
    this.#servedAtMs.set(place, Math.max(calledAtMs, this.#servedAtMs.get(place) ?? 0));
  }

  /** Until each object is served through each edge again. Resolves with what ought not to have happened. */
  async all(signal: AbortSignal): Promise<Offence[]> {
    const sinceMs = performance.now();
    const offences: Offence[] = [];
    const waiting = () => [...this.#servedAtMs].filter(([, atMs]) => atMs < sinceMs).map(([place]) => place);
    const isOver = async () => {
      for (const host of this.#stage.hosts) {
        if (host.end === undefined) continue;
        offences.push({ kind: "ended", client: host.id, text: `it ended by itself with ${host.end}` });
        await this.#stage.runHost(host);
      }
      for (const name of await this.#stage.revive()) this.#journal.note(`the ${name} had ended by itself`);
      return signal.aborted || waiting().length === 0;
    };
    await until("everything is served again", isOver, recoveryLimitMs).catch((error: Error) => {
      const text = `${error.message}: ${waiting().join(", ")}`;
      offences.push({ kind: "unavailable", client: "everybody", text });
    });
    return offences;
  }
}
