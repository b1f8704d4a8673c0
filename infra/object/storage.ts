/**
 * An object's own storage: values under keys, durable in every class, in the order of the keys' UTF-8 bytes.
 *
 * A write returns at once and is durable a round trip later; until then nothing that follows it leaves the object, so nobody
 * is told of what a crash could take back. What was read or written stays in memory with the object.
 *
 * Keys are well-formed text of 1 to 2,048 bytes without U+0000. Values are whatever `structuredClone` takes (Map, Set, Date,
 * BigInt, typed arrays, cycles), 2 MiB at most once encoded; they are copied going in and coming out.
 *
 * @throws StatefulError `bad_request` for what is no key, `storage_limit` past a limit: nothing has changed then.
 */
export interface StorageKeys {
  /** undefined where there is no such key. While a read is open no other event enters the object. */
  get<T = unknown>(key: string): Promise<T | undefined>;
  /** Those that exist, in the order in which they were asked for; 10,000 keys at most. */
  getMany<T = unknown>(keys: readonly string[]): Promise<Map<string, T>>;
  /** What `get` would answer, now, where that is in memory; undefined where it would have to be read. */
  peek<T = unknown>(key: string): { readonly value: T | undefined } | undefined;
  put(key: string, value: unknown): Promise<void>;
  /** All or none, in one commit. */
  putMany(
    entries: Iterable<readonly [key: string, value: unknown]> | Readonly<Record<string, unknown>>,
  ): Promise<void>;
  /** Whether the key existed. */
  delete(key: string): Promise<boolean>;
  /** How many of them existed. All or none, in one commit. */
  deleteMany(keys: readonly string[]): Promise<number>;
  /** In the order of the keys. Everything it answers is in memory at once: give it a `limit` where there may be much. */
  list<T = unknown>(options?: StorageListOptions): Promise<Map<string, T>>;
  /** Deletes every key. `state`, alarms and what topics keep are not keys: they stay. */
  deleteAll(): Promise<void>;
}

export interface ObjectStorage extends StorageKeys {
  /**
   * Runs `run` with the object's storage to itself: no event enters and no other storage call completes until it settles,
   * 30 s at most. What it changed (keys, `state`, alarms) is written in one commit; if it throws, nothing is, and memory is
   * as it was before. What it said meanwhile, as a publish, is not taken back: say it afterwards.
   *
   * Calls on `storage` inside are the transaction's own, like those on `tx`.
   */
  transaction<T>(run: (tx: StorageKeys) => T | Promise<T>): Promise<T>;
  /** Resolves when everything written so far is in the directory. Rarely needed: what you answer waits for it anyway. */
  sync(): Promise<void>;
}

export interface StorageListOptions {
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
 * When an alarm is due: a time (a `Date`, or milliseconds since the Unix epoch), a delay, or again and again. Times are the
 * directory's, which all hosts share.
 *
 * - `every`: milliseconds, 1,000 or more, on a grid that does not drift; what was missed while nobody could run is made
 *   up for once.
 * - `cron`: five fields, or six with seconds first, in `timeZone` (an IANA name; default UTC).
 */
export type AlarmTime =
  | Date
  | number
  | { readonly afterMs: number }
  | { readonly every: number; readonly startAt?: Date | number }
  | { readonly cron: string; readonly timeZone?: string };

/**
 * Named alarms, durable in every class. One that is due starts its object wherever the scheduler puts it and runs `onAlarm`
 * there: at least once, one at a time per name, tried again with growing delays (about 1 s, doubling, 5 min at most) eight
 * times. After that a one-time alarm is parked, where an operator sees it; a recurring one goes on with its next time.
 *
 * It is removed in the commit that ends its handler, and only the one that fired: a handler may set its own name again.
 */
export interface Alarms {
  /** Sets it, or sets it anew. The payload is copied, 16 KiB at most. 256 alarms per object. */
  set(name: string, when: AlarmTime, payload?: unknown): void;
  get(name: string): AlarmInfo | undefined;
  /** By when they are due. */
  list(): readonly AlarmInfo[];
  /** Whether there was one. */
  delete(name: string): boolean;
}

export interface AlarmInfo {
  readonly name: string;
  readonly dueAt: Date;
  readonly payload: unknown;
  /** Attempts that have begun. */
  readonly attempt: number;
  readonly recurs:
    | { readonly every: number }
    | { readonly cron: string; readonly timeZone: string }
    | undefined;
  /** All attempts failed: it waits for an operator, or to be set again. */
  readonly isParked: boolean;
  /** Message of the last failure. */
  readonly lastError: string | undefined;
}
