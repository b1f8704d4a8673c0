import { objectRefFromSegment, type ObjectRef } from "../lib/object-ref.ts";
import { topicName } from "./object-name.ts";
import type {
  AlarmReport,
  LoadedObject,
  MessagePlace,
  ObjectName,
  ObjectWrites,
  StoredAlarm,
  StoredKey,
  StoredMessage,
  StoredMessages,
  StoredPage,
  StoredRange,
} from "./stored-objects.ts";
import { loadLimits, readBytesMax, readMessagesMax, recordKey } from "./stored-objects.ts";

/** What objects have stored, by object key. Plain maps, so that a directory can be cloned whole. */
export interface StoredRows {
  readonly values: Map<string, Map<string, Uint8Array>>;
  readonly alarms: Map<string, Map<string, StoredAlarm>>;
  /** By topic, which is spelled as in URLs, and place. */
  readonly messages: Map<string, Map<string, Map<number, StoredMessage>>>;
}

export function noStoredRows(): StoredRows {
  return { values: new Map(), alarms: new Map(), messages: new Map() };
}

export function writeRows(rows: StoredRows, writes: ObjectWrites): void {
  const { key } = writes.object;
  const values = rows.values.get(key) ?? new Map<string, Uint8Array>();
  rows.values.set(key, values);
  if (writes.clears) {
    for (const name of [...values.keys()]) if (name !== recordKey) values.delete(name);
  }
  apply(values, writes.values);
  const alarms = rows.alarms.get(key) ?? new Map<string, StoredAlarm>();
  rows.alarms.set(key, alarms);
  apply(alarms, wellFormed(writes.alarms));
  const topics = rows.messages.get(key) ?? new Map<string, Map<number, StoredMessage>>();
  rows.messages.set(key, topics);
  for (const [topic, { keepFrom, puts }] of writes.messages) {
    const stored = topics.get(topicName(topic)) ?? new Map<number, StoredMessage>();
    topics.set(topicName(topic), stored);
    for (const place of [...stored.keys()]) if (place < keepFrom) stored.delete(place);
    for (const put of puts) stored.set(put.place, put);
  }
}

/** An error's message may have been cut in the middle of a character. */
function wellFormed(alarms: ObjectWrites["alarms"]): ObjectWrites["alarms"] {
  const entries = Array.from(alarms, ([name, alarm]) => {
    return [name, alarm && { ...alarm, lastError: alarm.lastError.toWellFormed() }] as const;
  });
  return new Map(entries);
}

function apply<Value>(to: Map<string, Value>, changes: ReadonlyMap<string, Value | null>): void {
  for (const [key, value] of changes) {
    if (value === null) to.delete(key);
    else to.set(key, value);
  }
}

/** `budget` is shared by all objects of a commit. */
export function loadRows(rows: StoredRows, object: ObjectRef, budget: { bytes: number }): LoadedObject {
  const stored = rows.values.get(object.key);
  const sorted = sortedKeys(stored);
  const values = new Map<string, Uint8Array | undefined>();
  let isComplete = sorted.length <= loadLimits.keysMax;
  for (const key of sorted.slice(0, loadLimits.keysMax)) {
    const value = stored?.get(key);
    const bytesMax = key === recordKey ? loadLimits.recordBytesMax : loadLimits.valueBytesMax;
    const fits = value !== undefined && value.length <= bytesMax;
    budget.bytes -= Buffer.byteLength(key) + loadLimits.rowBytes + (fits ? value.length : 0);
    if (budget.bytes >= 0 || key === recordKey)
      values.set(key, fits && budget.bytes >= 0 ? value : undefined);
    else isComplete = false;
  }
  return { values, isComplete, alarms: new Map(rows.alarms.get(object.key)), hasAllAlarms: true };
}

export function readRows(rows: StoredRows, keys: readonly StoredKey[]): readonly (Uint8Array | undefined)[] {
  return keys.map(({ object, key }) => rows.values.get(object.key)?.get(key));
}

export function listRows(rows: StoredRows, range: StoredRange): StoredPage {
  const values = rows.values.get(range.object.key);
  const inRange = sortedKeys(values).filter(
    (key) =>
      key !== recordKey &&
      compareBytes(key, range.start) >= 0 &&
      (range.end === undefined || compareBytes(key, range.end) < 0),
  );
  if (range.reverse) inRange.reverse();
  const entries: (readonly [string, Uint8Array])[] = [];
  let bytes = 0;
  for (const key of inRange.slice(0, range.limit)) {
    const value = values?.get(key);
    if (value === undefined || bytes >= readBytesMax) break;
    entries.push([key, value]);
    bytes += value.length;
  }
  return { entries, hasMore: inRange.length > entries.length };
}

export function messageRows(rows: StoredRows, object: ObjectRef, after?: MessagePlace): StoredMessages {
  const first = after ? topicName(after.topic) : "";
  const behind = [...(rows.messages.get(object.key) ?? [])]
    .sort(([a], [b]) => compareBytes(a, b))
    .flatMap(([name, stored]) =>
      [...stored.values()]
        .sort((a, b) => a.place - b.place)
        .filter(({ place }) => name > first || (name === first && place > (after?.place ?? 0)))
        .map((message) => ({ ...message, topic: decodeURIComponent(name) })),
    );
  let bytes = 0;
  const end = behind.findIndex(({ value }, index) => {
    const isFull = index >= readMessagesMax || bytes >= readBytesMax;
    bytes += value.length;
    return isFull;
  });
  return { messages: end === -1 ? behind : behind.slice(0, end), hasMore: end !== -1 };
}

export function alarmRows(rows: StoredRows): readonly AlarmReport[] {
  const reports: AlarmReport[] = [];
  for (const [key, alarms] of rows.alarms) {
    for (const [name, { payload: _, ...facts }] of alarms)
      reports.push({ ...nameOfKey(key), name, ...facts });
  }
  return reports.sort(
    (a, b) =>
      Number(b.parked) - Number(a.parked) ||
      a.dueAtMs - b.dueAtMs ||
      compareBytes(a.className, b.className) ||
      compareBytes(encodeURIComponent(a.id), encodeURIComponent(b.id)) ||
      compareBytes(a.name, b.name),
  );
}

function nameOfKey(key: string): ObjectName {
  const slash = key.indexOf("/");
  const { className, id } = objectRefFromSegment(key.slice(0, slash), key.slice(slash + 1));
  return { className, id };
}

function sortedKeys(values: ReadonlyMap<string, unknown> | undefined): string[] {
  return [...(values?.keys() ?? [])].sort(compareBytes);
}

/** As SQLite compares text: by the bytes of its UTF-8. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
