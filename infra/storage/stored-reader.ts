import type {
  MessagePlace,
  StoredAlarm,
  StoredKey,
  StoredMessages,
  StoredObjects,
  StoredPage,
  StoredRange,
} from "../lease/stored-objects.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";

/**
 * Queries in flight at once, of each kind, and keys in one of them. What comes beyond waits for one to end: each takes a
 * connection of the database, which has 128, and a server that runs out of them answers no commit either.
 */
const queriesMax = 8;
const queryKeysMax = 500;
/** Lists that may wait, of all objects of this host. */
const listsWaitingMax = 10_000;
/** Keys that may wait, of all objects of this host. */
const waitingMax = 50_000;
/** How long a read is tried before its caller is told that the directory does not answer. */
const readLimitMs = 10_000;
const retryDelayMinMs = 25;
const retryDelayMaxMs = 1_000;

type Stored = Pick<StoredObjects, "read" | "list" | "alarmsOf" | "messages">;

/** Reads what objects have stored. What all objects of a host ask for in one turn travels in one query. */
export class StoredReader {
  readonly #stored: Stored;
  readonly #clock: Clock;
  #waiting: WaitingRead[] = [];
  #isGathering = false;
  #queries = 0;
  #lists = 0;
  readonly #waitingLists: (() => void)[] = [];

  constructor(stored: Stored, clock: Clock) {
    this.#stored = stored;
    this.#clock = clock;
  }

  read(key: StoredKey): Promise<Uint8Array | undefined> {
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(backlog(`${waitingMax} keys wait to be read on this host.`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject });
      this.#gather();
    });
  }

  list(range: StoredRange): Promise<StoredPage> {
    return this.#inTurn(() => this.#stored.list(range));
  }

  alarmsOf(object: ObjectRef): Promise<ReadonlyMap<string, StoredAlarm>> {
    return this.#inTurn(() => this.#stored.alarmsOf(object));
  }

  messages(object: ObjectRef, after: MessagePlace | undefined): Promise<StoredMessages> {
    return this.#inTurn(() => this.#stored.messages(object, after));
  }

  async #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#waitingLists.length >= listsWaitingMax)
      throw backlog(`${listsWaitingMax} lists wait to be read on this host.`);
    if (this.#lists < queriesMax) this.#lists += 1;
    else await new Promise<void>((enter) => this.#waitingLists.push(enter));
    try {
      return await this.#persist(ask);
    } finally {
      const next = this.#waitingLists.shift(); // takes the place of this one
      if (next) next();
      else this.#lists -= 1;
    }
  }

  #gather(): void {
    if (this.#isGathering || this.#queries >= queriesMax) return;
    this.#isGathering = true;
    queueMicrotask(() => {
      this.#isGathering = false;
      while (this.#waiting.length > 0 && this.#queries < queriesMax) void this.#query();
    });
  }

  async #query(): Promise<void> {
    const batch = this.#waiting.splice(0, queryKeysMax);
    this.#queries += 1;
    try {
      const values = await this.#persist(() => this.#stored.read(batch.map(({ key }) => key)));
      for (const [index, { resolve }] of batch.entries()) resolve(values[index]);
    } catch (thrown) {
      for (const { reject } of batch) reject(thrown);
    } finally {
      this.#queries -= 1;
      if (this.#waiting.length > 0) this.#gather();
    }
  }

  /** A read changes nothing, so it may simply be sent again. */
  async #persist<T>(ask: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#clock.monotonicMs() + readLimitMs;
    for (let failures = 0; ; failures += 1) {
      try {
        return await ask();
      } catch (thrown) {
        const error = asStatefulError(thrown);
        if (error.code !== "directory_unavailable" || this.#clock.monotonicMs() >= deadlineMs) throw error;
        await sleep(this.#clock, Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** Math.min(failures, 16)));
      }
    }
  }
}

function backlog(message: string): StatefulError {
  return new StatefulError("storage_backlog", message, { retryAfterMs: 1000 });
}

interface WaitingRead {
  readonly key: StoredKey;
  resolve(value: Uint8Array | undefined): void;
  reject(thrown: unknown): void;
}
