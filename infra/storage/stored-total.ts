import type { ObjectRef } from "../lib/object-ref.ts";
import { RangeReader } from "./range-reader.ts";
import type { StorageCache } from "./storage-cache.ts";
import { overLimit } from "./storage-limits.ts";
import type { StoredReader } from "./stored-reader.ts";

/** Bytes of all that an object has stored, for one that has a limit: measured once, and kept up to date from then on. */
export class StoredTotal {
  /** undefined until it is measured. */
  bytes: number | undefined;
  readonly #ref: ObjectRef;
  readonly #cache: StorageCache;
  readonly #reader: StoredReader;
  #measuring: Promise<void> | undefined;

  constructor(ref: ObjectRef, cache: StorageCache, reader: StoredReader) {
    this.#ref = ref;
    this.#cache = cache;
    this.#reader = reader;
  }

  /** Once, however many calls ask for it at the same time: each of them counts on top. */
  measure(): Promise<void> {
    if (this.bytes !== undefined) return Promise.resolve();
    this.#measuring ??= this.#measureNow();
    return this.#measuring;
  }

  /** The total once these are put; what their keys have now is known. Throws where that is too much. */
  with(entries: readonly (readonly [string, Uint8Array])[], bytesMax: number): number {
    let total = this.bytes ?? 0;
    for (const [key, bytes] of entries) total += key.length + bytes.length - this.sizeOf(key);
    if (total > bytesMax)
      throw overLimit(
        `This would make ${total} bytes of ${this.#ref.key}'s storage; its limit is ${bytesMax}.`,
      );
    return total;
  }

  /** What a key that is known takes of the total. */
  sizeOf(key: string): number {
    const known = this.#cache.find(key);
    return known ? key.length + known.length : 0;
  }

  async #measureNow(): Promise<void> {
    try {
      const bytes = await new RangeReader(this.#ref, this.#cache, this.#reader).measure();
      this.bytes ??= bytes;
    } finally {
      this.#measuring = undefined;
    }
  }
}
