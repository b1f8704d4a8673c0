import { StatefulError } from "../lib/errors.ts";

/** Limits of one object's storage. Past each of them the call is refused with `storage_limit` and changes nothing. */
export interface StorageLimits {
  /** Bytes of one encoded value. */
  readonly valueBytesMax: number;
  /** Bytes of all keys and values of the object; no limit by default. Counting them costs one read of a large object. */
  readonly storageBytesMax: number;
  /** Alarms of the object. */
  readonly alarmsMax: number;
}

/** Bytes of a key's UTF-8. */
export const keyBytesMax = 2048;
/** Keys in one `getMany`, `putMany` or page of `list`. */
export const keysPerCallMax = 10_000;
/**
 * Keys and bytes, as they travel, that one object may have waiting to be written. A transaction is written whole, so it fits
 * in here too; and a libSQL server closes a WebSocket that carries a message of more than 16 MiB, which this and a state of
 * 4 MiB are the better part of in base64.
 */
export const pendingLimits = { keysMax: 20_000, bytesMax: 7 * 1024 * 1024 } as const;
/** Above this an object takes no new events until its writes have got through (`storage_backlog`). */
export const backlogLimits = { keysMax: 10_000, bytesMax: 4 * 1024 * 1024 } as const;
/** The same for all objects of a host together: above this no object that stores takes a new event. */
export const hostBacklogBytesMax = 64 * 1024 * 1024;
/** What one activation keeps of its storage in memory. Beyond it values are dropped and read again when they are asked for. */
export const cacheLimits = { bytesMax: 4 * 1024 * 1024, keysMax: 50_000 } as const;
/** Storage calls of one object that may wait for one that reads. */
export const lineLengthMax = 10_000;
/** How long a transaction may take; then it is rolled back. */
export const transactionLimitMs = 30_000;

export function overLimit(message: string): StatefulError {
  return new StatefulError("storage_limit", message);
}
