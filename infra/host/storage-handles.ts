import { StatefulError } from "../lib/errors.ts";
import type { AlarmInfo, Alarms, ObjectStorage, StorageKeys } from "../object/storage.ts";
import type { AlarmBook } from "../storage/alarm-book.ts";
import { type AlarmInfo as BookInfo, alarmPayloadBytesMax } from "../storage/alarm-entry.ts";
import type { ObjectStorage as Core } from "../storage/object-storage.ts";
import { decodeValue, encodeValue } from "../storage/storage-codec.ts";

/** `storage` as an author sees it. Values come back as what the author says they are: that is what the types cannot know. */
export function storageOf(core: Core, caller: object | undefined): ObjectStorage {
  return {
    ...keysOf(core, caller),
    transaction: (run) => core.transaction(caller, (transaction) => run(keysOf(core, transaction))),
    sync: () => core.sync(caller),
  };
}

/** The part of `storage` that a transaction has as well. */
export function keysOf(core: Core, caller: object | undefined): StorageKeys {
  return {
    get: (key) => core.get(caller, key) as Promise<never>, // the author's type
    getMany: (keys) => core.getMany(caller, keys) as Promise<Map<string, never>>, // the author's type
    peek: (key) => core.peek(key) as { readonly value: never } | undefined, // the author's type
    put: (key, value) => core.put(caller, key, value),
    putMany: (entries) => core.putMany(caller, entriesOf(entries)),
    delete: (key) => core.delete(caller, key),
    deleteMany: (keys) => core.deleteMany(caller, keys),
    list: (options) => core.list(caller, options) as Promise<Map<string, never>>, // the author's type
    deleteAll: () => core.deleteAll(caller),
  };
}

function entriesOf(
  entries: Iterable<readonly [string, unknown]> | Readonly<Record<string, unknown>>,
): readonly (readonly [string, unknown])[] {
  return Symbol.iterator in entries
    ? [...(entries as Iterable<readonly [string, unknown]>)] // checked: what is iterable is not the record
    : Object.entries(entries);
}

/** `alarms` as an author sees it. Without a handler there is nobody to fire them for. */
export function alarmsOf(book: AlarmBook, className: string, hasHandler: boolean): Alarms {
  return {
    set(name, when, payload) {
      if (!hasHandler)
        throw new StatefulError(
          "bad_request",
          `object("${className}") has no onAlarm: an alarm would have nobody to call.`,
        );
      book.set(name, when, encodeValue(payload, `The payload of alarm "${name}"`, alarmPayloadBytesMax));
    },
    get(name) {
      const info = book.get(name);
      return info && alarmInfo(info);
    },
    list: () => book.list().map(alarmInfo),
    delete: (name) => book.delete(name),
  };
}

function alarmInfo({ name, dueAt, payload, attempt, schedule, parked, lastError }: BookInfo): AlarmInfo {
  return {
    name,
    dueAt,
    payload: decodeValue(payload),
    attempt,
    recurs: schedule,
    isParked: parked,
    lastError,
  };
}
