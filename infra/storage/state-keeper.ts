import type { StatefulError } from "../lib/errors.ts";
import type { Participant } from "./object-storage.ts";
import { checkRecord, decodeRecord, encodeRecord, type ObjectRecord, packRecord } from "./storage-codec.ts";
import { overLimit } from "./storage-limits.ts";

export interface StateKeeperSetup {
  readonly state: object;
  /** Of what is stored, or of the class where nothing is. */
  readonly version: number;
  /** Whether the state is stored at all; where it is not, the record has the version alone. */
  readonly isStored: boolean;
  /** What the directory has, as bytes; undefined for an object without a record, whose state is its class's own. */
  readonly record: Uint8Array | undefined;
  readonly bytesMax: number;
  write(record: Uint8Array): void;
  /** A transaction was rolled back, and what had been changed of the state since it began is as before. */
  undone(): void;
}

/**
 * Notices that an object's state has changed, by comparing its bytes. Nothing else would do: authors change it in place, at
 * any depth, and in a Map as well as in an object, where a proxy would have to stand in front of everything. It costs one
 * encoding of the state each time it is looked at, some 0.6 µs for a small one; what is large belongs into `storage`.
 */
export class StateKeeper implements Participant {
  readonly #setup: StateKeeperSetup;
  #saved: Uint8Array;
  #version: number;
  #isWritten: boolean;
  /** What a transaction that fails goes back to. */
  #before: Uint8Array | undefined;

  constructor(setup: StateKeeperSetup) {
    this.#setup = setup;
    this.#version = setup.version;
    this.#isWritten = setup.record !== undefined;
    this.#saved = setup.record ?? new Uint8Array(encodeRecord(this.#record()));
  }

  /** The record as it was last written or read, or as it would be of a new object. */
  get saved(): Uint8Array {
    return this.#saved;
  }

  /** The record as the directory has it, or is about to; undefined where none was ever written. */
  get written(): Uint8Array | undefined {
    return this.#isWritten ? this.#saved : undefined;
  }
  get version(): number {
    return this.#version;
  }

  /** The data is brought to that version with what is written next. */
  setVersion(version: number): void {
    this.#version = version;
  }

  /** Has the record written if it is not what it was. Throws where the state cannot be stored: too large, or not cloneable. */
  capture(): void {
    const { bytesMax, write } = this.#setup;
    const { bytes: record, isChecked } = packRecord(this.#record());
    if (record.length > bytesMax) throw tooLarge(record.length, bytesMax);
    if (Buffer.compare(record, this.#saved) === 0) return;
    if (!isChecked) checkRecord(this.#record());
    this.#saved = new Uint8Array(record); // a copy: the encoder writes into larger pieces of memory
    this.#isWritten = true;
    write(this.#saved);
  }

  /** Back to what was last saved: the object goes on as if the changes since had not been made. */
  restore(): void {
    this.#restore(this.#saved);
  }

  // -- in a transaction

  begin(): void {
    this.capture();
    this.#before = this.#setup.isStored ? this.#saved : this.#copyOfState();
  }

  commit(): void {
    this.capture();
    this.#before = undefined;
  }

  rollback(): void {
    const before = this.#before;
    this.#before = undefined;
    this.#version = decodeRecord(this.#saved).version;
    if (before === undefined || this.#isStill(before)) return;
    this.#restore(before);
    this.#setup.undone();
  }

  /** A state that cannot be encoded any more is not what it was. */
  #isStill(before: Uint8Array): boolean {
    const { version } = decodeRecord(before);
    try {
      return Buffer.compare(encodeRecord({ version, state: this.#setup.state }), before) === 0;
    } catch {
      return false;
    }
  }

  /** What is not stored is kept for the length of the transaction, so it must be such that it can be. */
  #copyOfState(): Uint8Array {
    const record = { version: this.#version, state: this.#setup.state };
    const encoded = encodeRecord(record);
    checkRecord(record);
    return new Uint8Array(encoded);
  }

  #record(): ObjectRecord {
    const { isStored, state } = this.#setup;
    return isStored ? { version: this.#version, state } : { version: this.#version };
  }

  #restore(record: Uint8Array): void {
    const { state } = decodeRecord(record);
    if (state !== undefined) replaceState(this.#setup.state, state);
  }
}

/** Makes `state` what `stored` is, in place: handlers hold on to the object that they were given. */
export function replaceState(state: object, stored: unknown): void {
  if (state instanceof Map && stored instanceof Map) {
    state.clear();
    for (const [key, value] of stored) state.set(key, value);
  } else if (state instanceof Set && stored instanceof Set) {
    state.clear();
    for (const value of stored) state.add(value);
  } else if (Array.isArray(state) && Array.isArray(stored)) {
    state.length = 0;
    for (const item of stored) state.push(item);
  } else if (typeof stored === "object" && stored !== null) {
    for (const key of Object.keys(state)) if (!Object.hasOwn(stored, key)) Reflect.deleteProperty(state, key);
    Object.assign(state, stored);
  }
}

/** The state that an object starts with: what is stored, and the class's own value for a field that is not. */
export function startingState(fresh: object, stored: unknown): object {
  if (stored === undefined) return fresh;
  const isPlain = !(fresh instanceof Map || fresh instanceof Set || Array.isArray(fresh));
  if (isPlain && typeof stored === "object") return Object.assign(fresh, stored);
  replaceState(fresh, stored);
  return fresh;
}

function tooLarge(bytes: number, bytesMax: number): StatefulError {
  return overLimit(`The state takes ${bytes} bytes; the limit is ${bytesMax}. Keep what grows in storage.`);
}
