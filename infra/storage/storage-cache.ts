import { recordKey } from "../lease/stored-objects.ts";
import { compareKeys } from "./storage-key.ts";
import { cacheLimits } from "./storage-limits.ts";

/** What is known of a key: its bytes, or null where there is nothing. */
export type Known = Uint8Array | null;

const keptValueBytesMax = 16 * 1024;
/** What an entry takes beside its key and value: the cells of both, and its place in the table. Measured on Bun. */
const entryBytes = 150;

/** A range of keys: from `start`, to before `end`. */
export interface KeyRange {
  readonly start: string;
  readonly end: string | undefined;
}

/**
 * What an activation knows of its storage. Only the owner writes, so what was read or written stays true. Where it is
 * *complete*, a key that is not here does not exist, and no look-up has to be made for it.
 */
export class StorageCache {
  /** undefined: the key exists, and its value is not in memory. */
  #entries = new Map<string, Known | undefined>();
  #isComplete: boolean;
  #bytes = 0;
  #sorted: readonly string[] | undefined;
  #undo: Undo | undefined;

  constructor(values: ReadonlyMap<string, Uint8Array | undefined>, isComplete: boolean) {
    this.#isComplete = isComplete;
    for (const [key, value] of values) if (key !== recordKey) this.#set(key, value);
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }
  get bytes(): number {
    return this.#bytes;
  }
  get size(): number {
    return this.#entries.size;
  }
  /** About what it takes of the process's memory, which for small values is more than their bytes. */
  get memoryBytes(): number {
    return this.#bytes + this.#entries.size * entryBytes;
  }

  /** All keys that are known to exist; undefined where the value is not in memory. */
  known(): ReadonlyMap<string, Uint8Array | undefined> {
    const known = new Map<string, Uint8Array | undefined>();
    for (const [key, value] of this.#entries) if (value !== null) known.set(key, value);
    return known;
  }

  /** undefined where it has to be read. */
  find(key: string): Known | undefined {
    if (this.#entries.has(key)) return this.#entries.get(key);
    return this.#isComplete ? null : undefined;
  }

  /** Whether the key exists; undefined where that has to be read. */
  exists(key: string): boolean | undefined {
    if (this.#entries.has(key)) return this.#entries.get(key) !== null;
    return this.#isComplete ? false : undefined;
  }

  /** What was read. A key that is known already was written meanwhile: that is newer. */
  learn(key: string, value: Known): void {
    if (this.find(key) === undefined) this.#set(key, value);
  }

  /** What a list has read along: kept where it is small and there is room. */
  keep(key: string, value: Uint8Array): void {
    const isSmall = value.length <= keptValueBytesMax && this.#entries.size < cacheLimits.keysMax / 2;
    if (isSmall && this.#bytes < cacheLimits.bytesMax / 2) this.learn(key, value);
  }

  write(key: string, value: Known): void {
    this.#remember(key);
    if (value === null && this.#isComplete) this.#forget(key);
    else this.#set(key, value);
  }

  /** Everything is gone, and everything is known. */
  clear(): void {
    if (this.#undo !== undefined) this.#undo.cleared ??= this.#copy();
    this.#entries = new Map();
    this.#bytes = 0;
    this.#sorted = undefined;
    this.#isComplete = true;
  }

  /** All known keys of the range, in order, those known not to exist included. */
  keysIn({ start, end }: KeyRange): readonly string[] {
    this.#sorted ??= [...this.#entries.keys()].sort(compareKeys);
    const from = firstNotBefore(this.#sorted, start);
    const to = end === undefined ? this.#sorted.length : firstNotBefore(this.#sorted, end);
    return this.#sorted.slice(from, Math.max(from, to));
  }

  /** Drops what can be read again, the oldest first, down to the limits. `isNeeded`: what the directory may not have yet. */
  shrink(
    isNeeded: (key: string) => boolean,
    limits: { bytesMax: number; keysMax: number } = cacheLimits,
  ): void {
    if (this.#bytes <= limits.bytesMax && this.#entries.size <= limits.keysMax) return;
    const keepsKeys = this.#isComplete && this.#entries.size <= limits.keysMax;
    for (const [key, value] of this.#entries) {
      if (this.#bytes <= limits.bytesMax / 2 && this.#entries.size <= limits.keysMax / 2) return;
      if (isNeeded(key)) continue;
      if (!keepsKeys) {
        this.#forget(key);
        this.#isComplete = false;
      } else if (value) {
        this.#set(key, undefined);
      }
      if (keepsKeys && this.#bytes <= limits.bytesMax / 2) return;
    }
  }

  // -- a transaction

  begin(): void {
    this.#undo = { before: new Map(), cleared: undefined };
  }

  commit(): void {
    this.#undo = undefined;
  }

  /** As it was at `begin`, and with what was learned since. */
  rollback(): void {
    const undo = this.#undo;
    this.#undo = undefined;
    if (undo === undefined) return;
    if (undo.cleared !== undefined) {
      this.#entries = undo.cleared.entries;
      this.#bytes = undo.cleared.bytes;
      this.#isComplete = undo.cleared.isComplete;
      this.#sorted = undefined;
    }
    for (const [key, entry] of undo.before) {
      if (entry.isKnown) this.#set(key, entry.value);
      else this.#forget(key);
    }
  }

  #copy(): Cleared {
    return { entries: this.#entries, bytes: this.#bytes, isComplete: this.#isComplete };
  }

  #remember(key: string): void {
    // Behind a clear nothing of the old entries changes any more.
    if (this.#undo === undefined || this.#undo.cleared !== undefined || this.#undo.before.has(key)) return;
    this.#undo.before.set(key, { isKnown: this.#entries.has(key), value: this.#entries.get(key) });
  }

  #set(key: string, value: Known | undefined): void {
    const before = this.#entries.get(key);
    if (before === undefined && !this.#entries.has(key)) {
      this.#sorted = undefined;
      this.#bytes += key.length;
    }
    this.#bytes += (value?.length ?? 0) - (before?.length ?? 0);
    this.#entries.set(key, value);
  }

  #forget(key: string): void {
    if (!this.#entries.has(key)) return;
    this.#bytes -= key.length + (this.#entries.get(key)?.length ?? 0);
    this.#entries.delete(key);
    this.#sorted = undefined;
  }
}

interface Undo {
  readonly before: Map<string, { readonly isKnown: boolean; readonly value: Known | undefined }>;
  cleared: Cleared | undefined;
}

interface Cleared {
  readonly entries: Map<string, Known | undefined>;
  readonly bytes: number;
  readonly isComplete: boolean;
}

/** Index of the first key that is not before `bound`. */
function firstNotBefore(sorted: readonly string[], bound: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(sorted[middle] ?? "", bound) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
