import type { CancelTimer } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { Lease } from "./directory.ts";
import type { LoadedObject } from "./stored-objects.ts";

/** A lease as the directory has it after a commit, with what the object has stored where that was asked for. */
export interface LineLease extends Lease {
  readonly loaded?: LoadedObject;
}

export interface Waiter {
  readonly resolve: (lease: LineLease | undefined) => void;
  readonly reject: (error: StatefulError) => void;
  readonly cancel: CancelTimer;
}

/** One object, and everybody who asked for it in the same way before it left. */
export interface Entry<Item> {
  item: Item;
  readonly waiters: Set<Waiter>;
}

export type Entries<Item> = ReadonlyMap<string, Entry<Item>>;

export function takeFirst<Item>(queue: Map<string, Entry<Item>>, countMax: number): Map<string, Entry<Item>> {
  const taken = new Map<string, Entry<Item>>();
  for (const [key, entry] of queue) {
    if (taken.size >= countMax) break;
    taken.set(key, entry);
    queue.delete(key);
  }
  return taken;
}

export function resolveAll(entry: Entry<unknown>, lease: LineLease | undefined): void {
  for (const waiter of entry.waiters) {
    waiter.cancel();
    waiter.resolve(lease);
  }
  entry.waiters.clear();
}

export function rejectAll(entry: Entry<unknown>, error: StatefulError): void {
  for (const waiter of entry.waiters) {
    waiter.cancel();
    waiter.reject(error);
  }
  entry.waiters.clear();
}
