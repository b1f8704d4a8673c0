import { type Clock, sleep } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { Sleeper, type SleeperSetup } from "./sleeper.ts";

export interface SleepersSetup {
  readonly clock: Clock;
  readonly log: Log;
  nowMs(): number;
  /** The messages of its topics are too old to be asked for. */
  expired(sleeper: Sleeper): void;
  /** Has the object started. Rejects with why it was not. */
  wake(ref: ObjectRef): Promise<unknown>;
}

/** How long after a wake that failed for now the next is tried, while something waits for the object. */
const wakeRetryMs = 1000;

/** The objects that sleep on this host. */
export class Sleepers {
  readonly #setup: SleepersSetup;
  readonly #byKey = new Map<string, Sleeper>();
  readonly #waking = new Set<string>();

  constructor(setup: SleepersSetup) {
    this.#setup = setup;
  }

  get size(): number {
    return this.#byKey.size;
  }
  get(key: string): Sleeper | undefined {
    return this.#byKey.get(key);
  }
  all(): Iterable<Sleeper> {
    return this.#byKey.values();
  }

  add(setup: SleeperSetup): Sleeper {
    const { clock, nowMs, expired } = this.#setup;
    const sleeper = new Sleeper(setup);
    this.#byKey.set(setup.ref.key, sleeper);
    sleeper.watchAlarm(clock, nowMs, () => this.wake(setup.ref));
    sleeper.watchTopics(clock, nowMs, () => expired(sleeper));
    return sleeper;
  }

  /** It is awake, or no longer ours. */
  remove(sleeper: Sleeper): void {
    sleeper.end();
    if (this.#byKey.get(sleeper.ref.key) === sleeper) this.#byKey.delete(sleeper.ref.key);
  }

  /** Somebody else has it: its edges look for them. */
  lose(sleeper: Sleeper, cause: StatefulError): void {
    this.remove(sleeper);
    sleeper.edges.close(cause);
  }

  /** Something waits for it. Tried again until it has started, or is no longer ours. */
  wake(ref: ObjectRef): void {
    const { key } = ref;
    if (this.#waking.has(key)) return;
    this.#waking.add(key);
    void this.#wake(ref).finally(() => this.#waking.delete(key));
  }

  async #wake(ref: ObjectRef): Promise<void> {
    const { clock, log, wake } = this.#setup;
    while (this.#byKey.has(ref.key)) {
      try {
        await wake(ref);
      } catch (error) {
        log.warn("object.wake.failed", { object: ref.key, error });
      }
      if (!this.#byKey.has(ref.key)) return;
      await sleep(clock, wakeRetryMs);
    }
  }
}
