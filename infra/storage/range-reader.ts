import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { KeyRange, StorageCache } from "./storage-cache.ts";
import type { ListOptions } from "./object-storage.ts";
import { compareKeys, endOfPrefix, keyAfter } from "./storage-key.ts";
import type { StoredReader } from "./stored-reader.ts";

type Entry = readonly [key: string, bytes: Uint8Array];

const pageKeysMin = 64;
const pageKeysMax = 1_000;

/** Lists an object's keys: what the directory has, with what the activation knows on top, which is always newer. */
export class RangeReader {
  readonly #ref: ObjectRef;
  readonly #cache: StorageCache;
  readonly #reader: StoredReader;

  constructor(ref: ObjectRef, cache: StorageCache, reader: StoredReader) {
    this.#ref = ref;
    this.#cache = cache;
    this.#reader = reader;
  }

  async read(range: KeyRange, reverse: boolean, limit: number): Promise<readonly Entry[]> {
    if (this.#cache.isComplete) return this.#readKnown(range, reverse, limit);
    const entries: Entry[] = [];
    let rest: KeyRange | undefined = range;
    while (rest !== undefined && entries.length < limit) {
      const page = await this.#page(rest, reverse, limit - entries.length);
      entries.push(...page.entries.slice(0, limit - entries.length));
      rest = page.rest;
    }
    return entries;
  }

  /** Bytes of all keys and values. */
  async measure(): Promise<number> {
    let bytes = 0;
    let rest: KeyRange | undefined = { start: "", end: undefined };
    while (rest !== undefined) {
      const page: Page = await this.#page(rest, false, pageKeysMax);
      for (const [key, value] of page.entries) bytes += key.length + value.length;
      rest = page.rest;
    }
    return bytes;
  }

  /** Every key is known; only large values may have to be fetched. */
  async #readKnown(range: KeyRange, reverse: boolean, limit: number): Promise<readonly Entry[]> {
    const keys = [...this.#cache.keysIn(range)].filter((key) => this.#cache.exists(key));
    if (reverse) keys.reverse();
    const wanted = keys.slice(0, limit);
    return Promise.all(wanted.map(async (key) => [key, await this.#valueOf(key)] as const));
  }

  async #valueOf(key: string): Promise<Uint8Array> {
    const known = this.#cache.find(key);
    if (known) return known;
    const value = await this.#reader.read({ object: this.#ref, key });
    if (value === undefined)
      throw new RangeError(`The value of a key that exists is not there: ${this.#ref.key}.`);
    this.#cache.learn(key, value);
    return value;
  }

  async #page(range: KeyRange, reverse: boolean, wanted: number): Promise<Page> {
    const limit = Math.min(pageKeysMax, Math.max(pageKeysMin, wanted));
    const page = await this.#reader.list({ object: this.#ref, ...range, reverse, limit });
    for (const [key, value] of page.entries) this.#cache.keep(key, value);
    const last = page.entries.at(-1)?.[0];
    const isLast = !page.hasMore || last === undefined;
    // What the page covers: beyond its last key the directory may have more.
    const covered = isLast ? range : reverse ? { ...range, start: last } : { ...range, end: keyAfter(last) };
    const merged = this.#withKnown(page.entries, covered, reverse);
    if (isLast) return { entries: merged, rest: undefined };
    return { entries: merged, rest: reverse ? { ...range, end: last } : { ...range, start: keyAfter(last) } };
  }

  #withKnown(stored: readonly Entry[], covered: KeyRange, reverse: boolean): readonly Entry[] {
    // What was deleted a moment ago may still be stored, and a complete cache has forgotten it.
    const byKey = new Map<string, Uint8Array>(stored.filter(([key]) => this.#cache.exists(key) !== false));
    for (const key of this.#cache.keysIn(covered)) {
      const known = this.#cache.find(key);
      if (known === null) byKey.delete(key);
      else if (known) byKey.set(key, known);
    }
    const entries = [...byKey].sort(([a], [b]) => compareKeys(a, b));
    return reverse ? entries.reverse() : entries;
  }
}

/** The range that an author's options describe. */
export function rangeOf({ prefix = "", start = "", end }: ListOptions): KeyRange {
  if (!prefix.isWellFormed() || !start.isWellFormed() || end?.isWellFormed() === false)
    throw new StatefulError("bad_request", "list: prefix, start and end must be well-formed Unicode.");
  const prefixEnd = endOfPrefix(prefix);
  const first = compareKeys(prefix, start) > 0 ? prefix : start;
  const isEndNearer = end !== undefined && (prefixEnd === undefined || compareKeys(end, prefixEnd) < 0);
  return { start: first, end: isEndNearer ? end : prefixEnd };
}

interface Page {
  readonly entries: readonly Entry[];
  readonly rest: KeyRange | undefined;
}
