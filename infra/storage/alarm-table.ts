import type { StoredAlarm } from "../lease/stored-objects.ts";
import { type AlarmEntry, rowOf } from "./alarm-entry.ts";

/** An open transaction, with what it has set and deleted (`null`). */
export interface AlarmSnapshot {
  readonly staged: Map<string, AlarmEntry | null>;
}

/**
 * Alarms by name, and what an open transaction makes of them, one transaction at a time. What it does lies over them and
 * joins them when it is committed: until then it does not fire and is not seen outside, while what others do, and what comes
 * of firing, is no part of it and outlives its rollback. The rows that wait to be written are kept in the same way.
 */
export class AlarmTable {
  readonly #entries: Map<string, AlarmEntry>;
  readonly #isInside: () => boolean;
  #open: AlarmSnapshot | undefined;

  /** `isInside`: whether what the author does now is part of the transaction, while one is open. */
  constructor(entries: Map<string, AlarmEntry>, isInside: () => boolean) {
    this.#entries = entries;
    this.#isInside = isInside;
  }

  /** Without what is not committed: those that may fire. */
  get entries(): ReadonlyMap<string, AlarmEntry> {
    return this.#entries;
  }

  /** As they are stored, where none is firing. */
  rows(): ReadonlyMap<string, StoredAlarm> {
    return new Map(Array.from(this.#entries, ([name, entry]) => [name, rowOf(entry)]));
  }

  /** The alarms as the author sees them from where the code runs now. */
  seen(): ReadonlyMap<string, AlarmEntry> {
    const staged = this.#staged();
    if (staged === undefined || staged.size === 0) return this.#entries;
    const seen = new Map(this.#entries);
    for (const [name, entry] of staged) putInto(seen, name, entry);
    return seen;
  }

  /** The author sets one, or deletes it. */
  put(name: string, entry: AlarmEntry | null): void {
    const staged = this.#staged();
    if (staged === undefined) putInto(this.#entries, name, entry);
    else staged.set(name, entry);
  }

  /** It has fired for the last time. */
  end(name: string): void {
    this.#entries.delete(name);
  }

  begin(): AlarmSnapshot {
    this.#open = { staged: new Map() };
    return this.#open;
  }

  rollback(snapshot: AlarmSnapshot): void {
    if (this.#open === snapshot) this.#open = undefined;
  }

  commit(snapshot: AlarmSnapshot): void {
    if (this.#open !== snapshot) return;
    this.#open = undefined;
    for (const [name, entry] of snapshot.staged) putInto(this.#entries, name, entry);
  }

  #staged(): Map<string, AlarmEntry | null> | undefined {
    return this.#open !== undefined && this.#isInside() ? this.#open.staged : undefined;
  }
}

function putInto(entries: Map<string, AlarmEntry>, name: string, entry: AlarmEntry | null): void {
  if (entry === null) entries.delete(name);
  else entries.set(name, entry);
}
