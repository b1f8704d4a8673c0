import type { LoadedObject } from "../lease/stored-objects.ts";
import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { StorageCache } from "./storage-cache.ts";
import { decodeValue, encodeValue } from "./storage-codec.ts";
import { checkKey } from "./storage-key.ts";
import { type StorageGate, StorageLine } from "./storage-line.ts";
import { keysPerCallMax, overLimit, type StorageLimits, transactionLimitMs } from "./storage-limits.ts";
import { StoredTotal } from "./stored-total.ts";
import { RangeReader, rangeOf } from "./range-reader.ts";
import { runningEventOf } from "./running-event.ts";
import type { StoredReader } from "./stored-reader.ts";
import {
  checkNotOver,
  currentTransaction,
  endedTransactionOf,
  runInTransaction,
  Transaction,
} from "./transaction.ts";
import type { WriteBuffer } from "./write-buffer.ts";

/** What of an activation takes part in its transactions beside its keys: its state, its alarms. */
export interface Participant {
  begin(): void;
  commit(): void;
  rollback(): void;
}

export interface ObjectStorageSetup {
  readonly ref: ObjectRef;
  readonly loaded: LoadedObject;
  readonly limits: StorageLimits;
  readonly buffer: WriteBuffer;
  readonly reader: StoredReader;
  readonly clock: Clock;
  readonly gate: StorageGate;
  readonly participants: readonly Participant[];
  /** A call that writes has done so, or has failed. */
  readonly applied: () => void;
  /** Resolves when all that was written so far is durable. */
  readonly sync: () => Promise<void>;
}

export interface ListOptions {
  readonly prefix?: string;
  /** The first key that may be in the answer. */
  readonly start?: string;
  /** The first key, in order, that may not. */
  readonly end?: string;
  readonly limit?: number;
  /** From the last key to the first. */
  readonly reverse?: boolean;
}

/**
 * The storage of one activation: what is in memory is answered from there, the rest is read, and every change goes into the
 * cache and into the write buffer at once. `caller` tells events apart; see `StorageLine`.
 *
 * Changes do not wait to be durable. Nobody is told of them before they are: that is the output gate's work.
 */
export class ObjectStorage {
  readonly #setup: ObjectStorageSetup;
  readonly #cache: StorageCache;
  readonly #line: StorageLine;
  readonly #total: StoredTotal;
  #transaction: Transaction | undefined;

  constructor(setup: ObjectStorageSetup) {
    const { loaded, clock, gate, applied } = setup;
    this.#setup = setup;
    this.#cache = new StorageCache(loaded.values, loaded.isComplete);
    this.#total = new StoredTotal(setup.ref, this.#cache, setup.reader);
    this.#line = new StorageLine({
      gate,
      nextTurn: (callback) => clock.nextTurn(callback),
      applied,
      idle: () => this.#shrink(),
    });
  }

  /** Bytes of memory that the cached keys and values take. */
  get cachedBytes(): number {
    return this.#cache.memoryBytes;
  }
  /** Of the calls that write: the last that was made, and the last of those that are done in order. */
  get issued(): number {
    return this.#line.issued;
  }
  get appliedUpTo(): number {
    return this.#line.appliedUpTo;
  }
  /** The last call under way that writes and is the caller's, or may be; 0 where there is none. */
  lastOpenOf(caller: object | undefined): number {
    return this.#line.lastOpenOf(caller);
  }
  get inTransaction(): boolean {
    return this.#transaction !== undefined;
  }
  /** Whether the code that runs now does so inside the open transaction. */
  get isInside(): boolean {
    return this.#transaction !== undefined && currentTransaction() === this.#transaction;
  }

  /** What is in memory of it: enough for the object to go on elsewhere. */
  get known(): Pick<LoadedObject, "values" | "isComplete"> {
    return { values: this.#cache.known(), isComplete: this.#cache.isComplete };
  }

  close(cause: StatefulError): void {
    this.#line.close(cause);
    this.#transaction?.abort(cause);
  }

  // -- reads

  async get(caller: object | undefined, key: string): Promise<unknown> {
    checkKey(key);
    const token = this.#token(caller);
    this.#fetchAhead([key]);
    return this.#line.read(token, () => this.#valueOf(key));
  }

  /** The keys that exist, in the order in which they were asked for. */
  async getMany(caller: object | undefined, keys: readonly string[]): Promise<Map<string, unknown>> {
    checkKeys(keys);
    const token = this.#token(caller);
    this.#fetchAhead(keys);
    return this.#keeping(keys, () => this.#line.read(token, () => this.#valuesOf(keys)));
  }

  /** undefined where the value is not in memory, or may be changing in somebody else's transaction. */
  peek(key: string): { readonly value: unknown } | undefined {
    checkKey(key);
    if (this.#transaction !== undefined && !this.isInside) return undefined;
    const known = this.#cache.find(key);
    if (known === undefined) return undefined;
    return { value: known === null ? undefined : decodeValue(known) };
  }

  async list(caller: object | undefined, options: ListOptions = {}): Promise<Map<string, unknown>> {
    const range = rangeOf(options);
    const { reverse = false, limit = Number.POSITIVE_INFINITY } = options;
    if (!(limit >= 0) || (limit !== Number.POSITIVE_INFINITY && !Number.isInteger(limit)))
      throw new StatefulError(
        "bad_request",
        `list: limit is ${limit}; it must be a whole number, 0 or more.`,
      );
    const { ref, reader } = this.#setup;
    return this.#line.read(this.#token(caller), async () => {
      const entries = await new RangeReader(ref, this.#cache, reader).read(range, reverse, limit);
      return new Map(entries.map(([key, bytes]) => [key, decodeValue(bytes)]));
    });
  }

  // -- writes

  async put(caller: object | undefined, key: string, value: unknown): Promise<void> {
    return this.putMany(caller, [[key, value]]);
  }

  /** All or none, in one commit. The values are copied now. */
  async putMany(caller: object | undefined, entries: readonly (readonly [string, unknown])[]): Promise<void> {
    checkKeys(entries.map(([key]) => key));
    const { valueBytesMax, storageBytesMax } = this.#setup.limits;
    const encoded = Array.from(new Map(entries), ([key, value]) => {
      if (value === undefined)
        throw new StatefulError("bad_request", `put("${shown(key)}"): undefined is no value; use delete.`);
      return [key, encodeValue(value, `The value of "${shown(key)}"`, valueBytesMax)] as const;
    });
    const token = this.#token(caller);
    if (!this.#isCounted) return this.#line.write(token, () => this.#write(encoded, token));
    const keys = encoded.map(([key]) => key);
    const put = async () => {
      await Promise.all([this.#total.measure(), this.#fetch(keys)]);
      // From here on in one go: a call beside this one is counted as well.
      const total = this.#total.with(encoded, storageBytesMax);
      this.#write(encoded, token);
      this.#total.bytes = total;
    };
    return this.#keeping(keys, () => this.#line.update(token, put));
  }

  /** Whether the key existed. */
  async delete(caller: object | undefined, key: string): Promise<boolean> {
    return (await this.deleteMany(caller, [key])) === 1;
  }

  /** How many of the keys existed. */
  async deleteMany(caller: object | undefined, keys: readonly string[]): Promise<number> {
    checkKeys(keys);
    const token = this.#token(caller);
    this.#fetchAhead(keys, !this.#isCounted);
    const deleteKnown = () => {
      const existing = [...new Set(keys)].filter((key) => this.#cache.exists(key) === true);
      const freed = this.#isCounted ? existing.reduce((sum, key) => sum + this.#total.sizeOf(key), 0) : 0;
      this.#write(
        existing.map((key) => [key, null] as const),
        token,
      );
      if (this.#total.bytes !== undefined) this.#total.bytes -= freed;
      return existing.length;
    };
    const onlyExistence = !this.#isCounted; // A total that is kept needs to know how large they were.
    return this.#keeping(keys, () => {
      if (keys.every((key) => this.#isKnown(key, onlyExistence))) return this.#line.write(token, deleteKnown);
      return this.#line.update(token, () => this.#fetch(keys, onlyExistence).then(deleteKnown));
    });
  }

  /** Deletes every key. State, alarms and what topics keep are not keys. */
  async deleteAll(caller: object | undefined): Promise<void> {
    return this.#line.write(this.#token(caller), () => {
      this.#setup.buffer.clear(this.inTransaction);
      this.#cache.clear();
      this.#total.bytes = 0;
    });
  }

  /** Resolves when everything written so far is in the directory. */
  async sync(caller: object | undefined): Promise<void> {
    if (this.isInside)
      throw new StatefulError("bad_request", "sync() inside a transaction would wait for its own end.");
    await this.#line.write(this.#token(caller), () => undefined);
    await this.#setup.sync();
  }

  // -- transactions

  /**
   * Runs `run` with the object's storage to itself. What it changes (keys, alarms, state) is written in one commit, or, if
   * it throws, not at all, and memory is as it was. It is serializable because nothing else of the object's storage runs.
   */
  async transaction<T>(
    caller: object | undefined,
    run: (transaction: Transaction) => T | Promise<T>,
  ): Promise<T> {
    if (this.isInside)
      throw new StatefulError("bad_request", "Transactions do not nest: this call is inside one already.");
    checkNotOver(endedTransactionOf(this.#setup.ref));
    const transaction = new Transaction(this.#setup.ref);
    const whose = this.#token(caller);
    return this.#line.transaction(whose, transaction, () => this.#runTransaction(transaction, run));
  }

  async #runTransaction<T>(
    transaction: Transaction,
    run: (transaction: Transaction) => T | Promise<T>,
  ): Promise<T> {
    const { buffer, clock, participants } = this.#setup;
    const all: readonly Participant[] = [...participants, this.#cache, buffer];
    const totalBefore = this.#total.bytes;
    for (const participant of participants) participant.begin();
    this.#cache.begin();
    buffer.begin();
    this.#transaction = transaction;
    try {
      const running = runInTransaction(transaction, run);
      const result = await withTimeLimit(
        clock,
        transactionLimitMs,
        Promise.race([running, transaction.aborted]),
        () =>
          new StatefulError(
            "handler_failed",
            `The transaction took over ${transactionLimitMs} ms and was rolled back.`,
          ),
      );
      transaction.end();
      for (const participant of all) participant.commit();
      return result;
    } catch (thrown) {
      transaction.end();
      for (const participant of all) participant.rollback();
      this.#total.bytes = totalBefore;
      throw thrown;
    } finally {
      this.#transaction = undefined;
    }
  }

  // -- inside

  /** Calls inside a transaction are the transaction's, whichever handle they are made on. */
  #token(caller: object | undefined): object | undefined {
    const { ref } = this.#setup;
    checkNotOver(endedTransactionOf(ref) ?? caller);
    return this.isInside ? this.#transaction : (runningEventOf(ref) ?? caller);
  }

  /** `token`: whose call it is. One that a transaction did not wait for, and that had to read first, comes too late. */
  #write(entries: readonly (readonly [string, Uint8Array | null])[], token: object | undefined): void {
    checkNotOver(token);
    const { buffer } = this.#setup;
    buffer.putAll(entries, this.inTransaction);
    for (const [key, bytes] of entries) this.#cache.write(key, bytes);
  }

  #valueOf(key: string): unknown {
    const known = this.#cache.find(key);
    if (known === undefined) return this.#fetch([key]).then(() => this.#knownValue(key));
    return known === null ? undefined : decodeValue(known);
  }

  #valuesOf(keys: readonly string[]): Map<string, unknown> | Promise<Map<string, unknown>> {
    const values = () => {
      const found = new Map<string, unknown>();
      for (const key of keys) {
        const known = this.#cache.find(key);
        if (known) found.set(key, decodeValue(known));
      }
      return found;
    };
    if (keys.every((key) => this.#cache.find(key) !== undefined)) return values();
    return this.#fetch(keys).then(values);
  }

  #knownValue(key: string): unknown {
    const known = this.#cache.find(key);
    return known ? decodeValue(known) : undefined;
  }

  /** So that calls which wait for their turn do not also wait, one after the other, for the directory. */
  #fetchAhead(keys: readonly string[], onlyExistence = false): void {
    // Whoever comes to its turn meets the failure, if it still is one.
    if (!this.#cache.isComplete || !onlyExistence)
      void this.#fetch(keys, onlyExistence).catch(() => undefined);
  }

  readonly #fetching = new Map<string, Promise<void>>();

  async #fetch(keys: readonly string[], onlyExistence = false): Promise<void> {
    const fetches = keys
      .filter((key) => !this.#isKnown(key, onlyExistence))
      .map((key) => this.#fetchOne(key));
    if (fetches.length > 0) await Promise.all(fetches);
  }

  #isKnown(key: string, onlyExistence: boolean): boolean {
    return (onlyExistence ? this.#cache.exists(key) : this.#cache.find(key)) !== undefined;
  }

  /** Keys that calls are about, with how many: what is known of them stays in memory until those are through. */
  readonly #kept = new Map<string, number>();

  async #keeping<T>(keys: readonly string[], call: () => Promise<T>): Promise<T> {
    for (const key of keys) this.#kept.set(key, (this.#kept.get(key) ?? 0) + 1);
    try {
      return await call();
    } finally {
      for (const key of keys) {
        const left = (this.#kept.get(key) ?? 1) - 1;
        if (left > 0) this.#kept.set(key, left);
        else this.#kept.delete(key);
      }
    }
  }

  #fetchOne(key: string): Promise<void> {
    const under = this.#fetching.get(key);
    if (under) return under;
    const { reader, ref } = this.#setup;
    const fetching = reader
      .read({ object: ref, key })
      .then((value) => this.#cache.learn(key, value ?? null))
      .finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, fetching);
    return fetching;
  }

  get #isCounted(): boolean {
    return Number.isFinite(this.#setup.limits.storageBytesMax);
  }

  #shrink(): void {
    if (this.inTransaction) return;
    const { buffer } = this.#setup;
    this.#cache.shrink((key) => buffer.holds(key) || this.#fetching.has(key) || this.#kept.has(key));
  }
}

function checkKeys(keys: readonly string[]): void {
  if (keys.length > keysPerCallMax)
    throw overLimit(`${keys.length} keys in one call; the limit is ${keysPerCallMax}.`);
  for (const key of keys) checkKey(key);
}

function shown(key: string): string {
  return key.length > 80 ? `${key.slice(0, 80)}…` : key;
}
