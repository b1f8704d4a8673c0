import { type Clock, sleep } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { keptBytes } from "../topics/topic-histories.ts";
import { Sleeper, type SleeperSetup } from "./sleeper.ts";

export interface SleepersSetup {
  readonly clock: Clock;
  readonly log: Log;
  nowMs(): number;
  /** The messages of its topics are gone. */
  expired(sleeper: Sleeper): void;
  /** Has the object started. Rejects with why it was not. */
  wake(ref: ObjectRef): Promise<unknown>;
}

/** How long after a wake that failed for now the next is tried, while something waits for the object. */
const wakeRetryMs = 1000;

/** Bytes of messages that topics of sleeping objects may keep on one host; past it the longest asleep keep none. */
export const asleepMessageBytesMax = 64 * 1024 * 1024;

/** The objects that sleep on this host. */
export class Sleepers {
  readonly #setup: SleepersSetup;
  readonly #byKey = new Map<string, Sleeper>();
  readonly #waking = new Set<string>();
  /** Those that keep messages, the longest asleep first, with how many bytes. */
  readonly #messageBytes = new Map<Sleeper, number>();
  #messageBytesTotal = 0;

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
    const { clock, nowMs } = this.#setup;
    const sleeper = new Sleeper(setup);
    this.#byKey.set(setup.ref.key, sleeper);
    sleeper.watchAlarm(clock, nowMs, () => this.wake(setup.ref));
    sleeper.watchTopics(clock, nowMs, () => this.#dropped(sleeper));
    this.#keepMessages(sleeper);
    return sleeper;
  }

  #keepMessages(sleeper: Sleeper): void {
    const bytes = keptBytes(sleeper.topics);
    if (bytes === 0) return;
    this.#messageBytes.set(sleeper, bytes);
    this.#messageBytesTotal += bytes;
    for (const longest of this.#messageBytes.keys()) {
      if (this.#messageBytesTotal <= asleepMessageBytesMax) return;
      longest.dropMessages();
      this.#dropped(longest);
    }
  }

  #dropped(sleeper: Sleeper): void {
    this.#forgetMessages(sleeper);
    this.#setup.expired(sleeper);
  }

  #forgetMessages(sleeper: Sleeper): void {
    this.#messageBytesTotal -= this.#messageBytes.get(sleeper) ?? 0;
    this.#messageBytes.delete(sleeper);
  }

  /** It is awake, or no longer ours. */
  remove(sleeper: Sleeper): void {
    this.#forgetMessages(sleeper);
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
