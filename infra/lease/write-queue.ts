import type { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { ObjectWrites, StoredAlarm } from "./stored-objects.ts";

/**
 * Whoever has something to store. It keeps its changes itself until they are asked for, which is when the commit leaves:
 * so what changes several times while it waits is written once.
 */
export interface WriteSource {
  /** About how much `take` would give now. What is large travels by itself. */
  readonly pendingBytes?: number;
  /**
   * All that waits, to be written under this session; undefined where there is nothing, or where the session is not the
   * one that it has its lease under. Every other method is told of what was taken here last.
   */
  take(session: string): ObjectWrites | undefined;
  /** It is in the directory. What has changed since may be asked for at once, before anybody is told. */
  committed(): void;
  /** After `committed`: whoever waits for it may be told. Must not throw. */
  told(): void;
  /** It is not, and never will be: the lease is another by now (L4). */
  fenced(): void;
  /** The database would not have it. Whether an earlier copy went through is not known. */
  refused(cause: StatefulError): void;
}

/**
 * Changes in one commit, beside those of leases. The first object's always go, however many they are: their own limit is
 * `pendingLimits`. A libSQL server closes a WebSocket that carries a message of 16 MiB, and would do so again each time.
 */
export const writeBatchLimits = { bytesMax: 2 * 1024 * 1024, rowsMax: 5_000 } as const;

/** The sources that wait for the next commit, and those that travel. A source waits once, however often it is added. */
export class WriteQueue {
  /** In the order in which they came, each with its number in it. */
  readonly #waiting = new Map<WriteSource, number>();
  #lastNumber = 0;

  /** Of whoever came last: all up to it have been asked once `firstWaiting` is beyond it. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  get firstWaiting(): number {
    for (const number of this.#waiting.values()) return number;
    return Number.POSITIVE_INFINITY;
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(source: WriteSource): void {
    if (!this.#waiting.has(source)) this.#waiting.set(source, ++this.#lastNumber);
  }

  clear(): void {
    this.#waiting.clear();
  }

  /** In the order in which they came, as many as fit. */
  take(session: string): WriteBatch {
    const taken: { source: WriteSource; writes: ObjectWrites }[] = [];
    let bytes = 0;
    let rows = 0;
    for (const source of this.#waiting.keys()) {
      const wanted = bytes + (source.pendingBytes ?? 0);
      if (bytes >= writeBatchLimits.bytesMax || rows >= writeBatchLimits.rowsMax) break;
      if (taken.length > 0 && wanted > writeBatchLimits.bytesMax) break;
      this.#waiting.delete(source);
      const writes = source.take(session);
      if (writes === undefined) continue;
      taken.push({ source, writes });
      rows += writes.values.size + writes.alarms.size + messagesOf(writes) + 1;
      bytes += bytesOf(writes);
    }
    return new WriteBatch(taken);
  }
}

/** The changes of one commit, with who made them. */
export class WriteBatch {
  readonly #taken: readonly { readonly source: WriteSource; readonly writes: ObjectWrites }[];

  #fenced: ReadonlySet<string> = new Set();

  readonly writes: readonly ObjectWrites[];

  constructor(taken: readonly { readonly source: WriteSource; readonly writes: ObjectWrites }[]) {
    this.#taken = taken;
    this.writes = taken.map(({ writes }) => writes);
  }

  /** `fenced`: keys of the objects that were left out. */
  note(fenced: ReadonlySet<string>): void {
    this.#fenced = fenced;
    for (const { source, writes } of this.#taken) if (!fenced.has(writes.object.key)) source.committed();
  }

  tell(): void {
    for (const { source, writes } of this.#taken) {
      if (this.#fenced.has(writes.object.key)) source.fenced();
      else source.told();
    }
  }

  refuse(cause: StatefulError): void {
    for (const { source } of this.#taken) source.refused(cause);
  }
}

export const noWrites = new WriteBatch([]);

function messagesOf({ messages }: ObjectWrites): number {
  let count = 0;
  for (const { puts } of messages.values()) count += puts.length + 1;
  return count;
}

function bytesOf({ object, values, alarms, messages }: ObjectWrites): number {
  let bytes = 0;
  for (const [key, value] of values) bytes += rowBytes(object, key) + (value?.length ?? 0);
  for (const [name, alarm] of alarms) bytes += alarmBytes(object, name, alarm);
  for (const [topic, { puts }] of messages)
    for (const put of puts) bytes += messageBytes(object, topic, put.value.length);
  return bytes;
}

/** What a change takes of a commit beside its value: the name of its object, its own, and some numbers. */
export function rowBytes(object: ObjectRef, name: string): number {
  return object.key.length + textBytes(name) + 64;
}

export function alarmBytes(object: ObjectRef, name: string, alarm: StoredAlarm | null): number {
  if (alarm === null) return rowBytes(object, name);
  const { payload, schedule, lastError } = alarm;
  return rowBytes(object, name) + payload.length + textBytes(schedule) + textBytes(lastError);
}

/** @param length of its value */
export function messageBytes(object: ObjectRef, topic: string, length: number): number {
  return rowBytes(object, topic) + messageFactsBytes + length;
}

/** Place, history, form and time, at their usual length. */
const messageFactsBytes = 64;

const plainText = /^[ !#-[\]-~]*$/;

/** Rows are JSON, and travel as text in a message that is JSON again: quotes and control characters grow on their way. */
function textBytes(text: string): number {
  if (plainText.test(text)) return text.length;
  return Buffer.byteLength(JSON.stringify(JSON.stringify(text)));
}
