import type { ObjectWrites, StoredAlarm, TopicWrites } from "../lease/stored-objects.ts";
import { noMessages, recordKey } from "../lease/stored-objects.ts";
import { alarmBytes, rowBytes, type WriteSource } from "../lease/write-queue.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { MessageChanges } from "./message-changes.ts";
import { overLimit, pendingLimits } from "./storage-limits.ts";

export interface WriteBufferSetup {
  readonly ref: ObjectRef;
  /** Goes along with the first write: that of an object which has none yet, and whose version must be known from then on. */
  readonly firstRecord?: () => Uint8Array | undefined;
  /** Asks for the next commit to take along what waits here. */
  readonly send: (source: WriteSource) => void;
  /** `durableUpTo` has risen. */
  readonly committed: () => void;
  /** All buffers of the host together. */
  readonly waiting: WaitingBytes;
  /** Never again will anything be written from here. */
  readonly broken: (cause: BrokenWrites) => void;
}

export type BrokenWrites =
  | { readonly kind: "fenced" }
  | { readonly kind: "refused"; readonly cause: StatefulError };

/** Bytes that wait to be written on one host, of all its objects. */
export interface WaitingBytes {
  bytes: number;
}

/** Changes that belong together. */
interface Changes {
  clears: boolean;
  values: Map<string, Uint8Array | null>;
  alarms: Map<string, StoredAlarm | null>;
  /** Undefined for most objects: only topics whose history is stored have some. */
  messages: MessageChanges | undefined;
  /** Of keys, values and alarms. */
  bytes: number;
}

/**
 * What an activation has changed and the directory does not have yet. Two sets: what travels in the commit in flight, and
 * what has changed since; several changes of one key are one write. Both are the activation's memory as it stands, so when
 * a session ends with a commit in flight, whether that landed need not be known: the next session, having adopted the lease
 * (which proves that nobody wrote in between), writes both sets again, under an epoch that the lost commit does not have.
 *
 * Changes are counted. Everything up to `durableUpTo` is in the directory for good: this is what the output gate waits for.
 */
export class WriteBuffer implements WriteSource {
  readonly #setup: WriteBufferSetup;
  #session: string;
  #epoch: number;
  #isPaused = false;
  #isClosed = false;
  #pending = noChanges();
  #inFlight: Changes | undefined;
  #inFlightUpTo = 0;
  /** Changes of an open transaction, which nothing takes before its end. */
  #staged: Changes | undefined;
  #changes = 0;
  #durableUpTo = 0;
  /** What of `waiting` is ours. */
  #counted = 0;
  #hasWritten = false;
  /** For messages that are said already, and are not among the changes yet. */
  readonly #reserved = { count: 0, bytes: 0 };

  constructor(setup: WriteBufferSetup, session: string, epoch: number) {
    this.#setup = setup;
    this.#session = session;
    this.#epoch = epoch;
  }

  /** Number of the last change that effects wait for. */
  get changedUpTo(): number {
    return this.#changes;
  }
  get durableUpTo(): number {
    return this.#durableUpTo;
  }
  get isClean(): boolean {
    return this.#inFlight === undefined && isNone(this.#pending);
  }
  get pendingKeys(): number {
    const keys = this.#pending.values.size + this.#pending.alarms.size + (this.#inFlight?.values.size ?? 0);
    return keys + this.#pendingMessages;
  }
  get pendingBytes(): number {
    return totalOf(this.#pending) + totalOf(this.#inFlight) + this.#reserved.bytes;
  }
  get #pendingMessages(): number {
    const { count } = this.#reserved;
    return count + (this.#pending.messages?.count ?? 0) + (this.#inFlight?.messages?.count ?? 0);
  }

  /** Whether the key's value here is newer than what the directory may have. */
  holds(key: string): boolean {
    return (
      this.#pending.values.has(key) ||
      (this.#inFlight?.values.has(key) ?? false) ||
      (this.#staged?.values.has(key) ?? false)
    );
  }

  // -- changes

  /** All of them or, with `storage_limit` where too much waits already, none. `null` deletes. */
  putAll(entries: readonly (readonly [key: string, value: Uint8Array | null])[], isStaged: boolean): void {
    const changes = this.#target(isStaged);
    const { ref } = this.#setup;
    const { values } = changes;
    let { bytes } = changes;
    let keys = values.size;
    for (const [key, value] of entries) {
      const before = values.get(key);
      bytes += (value?.length ?? 0) - (before?.length ?? 0);
      if (before !== undefined) continue;
      keys += 1;
      bytes += rowBytes(ref, key);
    }
    this.#checkBytes(changes, bytes);
    if (keys > pendingLimits.keysMax) throw tooMuch(`${pendingLimits.keysMax} keys`);
    for (const [key, value] of entries) values.set(key, value);
    changes.bytes = bytes;
    if (entries.length > 0) this.#changed(isStaged);
  }

  /** The object's own record. `isAwaited`: whether effects wait for it, as for any other change. */
  putRecord(value: Uint8Array, isAwaited: boolean): void {
    const before = this.#pending.values.get(recordKey);
    this.#pending.values.set(recordKey, value);
    if (before === undefined) this.#pending.bytes += rowBytes(this.#setup.ref, recordKey);
    this.#pending.bytes += value.length - (before?.length ?? 0);
    if (isAwaited) this.#changes += 1;
    this.#send();
  }

  /** Deletes all keys but the record. */
  clear(isStaged: boolean): void {
    const changes = this.#target(isStaged);
    const record = changes.values.get(recordKey);
    changes.clears = true;
    changes.values = new Map(record === undefined ? [] : [[recordKey, record]]);
    changes.bytes = bytesOf(this.#setup.ref, changes.values, changes.alarms);
    this.#changed(isStaged);
  }

  putAlarm(name: string, alarm: StoredAlarm | null, isStaged: boolean): void {
    const { ref } = this.#setup;
    const changes = this.#target(isStaged);
    const before = changes.alarms.get(name);
    const freed = before === undefined ? 0 : alarmBytes(ref, name, before);
    const bytes = changes.bytes + alarmBytes(ref, name, alarm) - freed;
    this.#checkBytes(changes, bytes);
    changes.alarms.set(name, alarm);
    changes.bytes = bytes;
    this.#changed(isStaged);
  }

  /** Keeps room for a message that is said now, and is among the changes once its state is. */
  reserve(bytes: number): void {
    if (this.pendingBytes + bytes > pendingLimits.bytesMax) throw tooMuch(`${pendingLimits.bytesMax} bytes`);
    if (this.#pendingMessages >= pendingLimits.keysMax) throw tooMuch(`${pendingLimits.keysMax} messages`);
    this.#reserved.count += 1;
    this.#reserved.bytes += bytes;
  }

  /** The room of so many messages is free again: they are about to be changes, or were never said. */
  unreserve(count: number, bytes: number): void {
    this.#reserved.count -= count;
    this.#reserved.bytes -= bytes;
  }

  /** Never staged: what was said inside a transaction is not taken back. Effects wait for what is put, and for no trim. */
  putMessages(topic: string, writes: TopicWrites): void {
    this.#pending.messages ??= new MessageChanges(this.#setup.ref);
    this.#pending.messages.add(topic, writes);
    if (writes.puts.length > 0) this.#changes += 1;
    this.#send();
  }

  /** Whether `changes` may have so many bytes beside its messages. */
  #checkBytes(changes: Changes, bytes: number): void {
    const before = changes === this.#staged ? 0 : changes.bytes;
    if (this.pendingBytes - before + bytes > pendingLimits.bytesMax)
      throw tooMuch(`${pendingLimits.bytesMax} bytes`);
  }

  // -- a transaction, one at a time

  begin(): void {
    this.#staged = noChanges();
  }

  /** All that was staged joins what waits, at once. */
  commit(): void {
    if (this.#staged === undefined || isNone(this.#staged)) {
      this.#staged = undefined;
      return;
    }
    this.#pending = merged(this.#setup.ref, this.#pending, this.#staged);
    this.#staged = undefined;
    this.#changed(false);
  }

  rollback(): void {
    this.#staged = undefined;
  }

  // -- the session

  /** Its session is over: nothing is sent, and what travelled waits again. */
  pause(): void {
    this.#isPaused = true;
    if (this.#inFlight === undefined) return;
    this.#pending = merged(this.#setup.ref, this.#inFlight, this.#pending);
    this.#inFlight = undefined;
  }

  resume(session: string, epoch: number): void {
    this.#session = session;
    this.#epoch = epoch;
    this.#isPaused = false;
    this.#send();
  }

  /** For good: what still waits is dropped. */
  close(): void {
    this.#isClosed = true;
    this.#pending = noChanges();
    this.#inFlight = undefined;
    this.#staged = undefined;
    this.#count();
  }

  // -- what the line of commits asks and tells (WriteSource)

  take(session: string): ObjectWrites | undefined {
    if (this.#isPaused || this.#isClosed || session !== this.#session) return undefined;
    if (this.#inFlight !== undefined || isNone(this.#pending)) return undefined;
    this.#addFirstRecord();
    this.#inFlight = this.#pending;
    this.#inFlightUpTo = this.#changes;
    this.#pending = noChanges();
    const { clears, values, alarms, messages } = this.#inFlight;
    const { ref: object } = this.#setup;
    return { object, epoch: this.#epoch, clears, values, alarms, messages: messages?.taken() ?? noMessages };
  }

  #addFirstRecord(): void {
    if (this.#hasWritten) return;
    this.#hasWritten = true;
    const record = this.#setup.firstRecord?.();
    if (record && !this.#pending.values.has(recordKey)) this.#pending.values.set(recordKey, record);
  }

  committed(): void {
    if (this.#inFlight === undefined) return;
    this.#inFlight = undefined;
    this.#durableUpTo = this.#inFlightUpTo;
    this.#send();
  }

  told(): void {
    if (!this.#isClosed) this.#setup.committed();
  }

  fenced(): void {
    if (!this.#isClosed) this.#setup.broken({ kind: "fenced" });
  }

  refused(cause: StatefulError): void {
    if (!this.#isClosed) this.#setup.broken({ kind: "refused", cause });
  }

  #target(isStaged: boolean): Changes {
    return (isStaged ? this.#staged : undefined) ?? this.#pending;
  }

  #changed(isStaged: boolean): void {
    if (isStaged && this.#staged !== undefined) return;
    this.#changes += 1;
    this.#send();
  }

  #count(): void {
    const pendingBytes = this.#isClosed ? 0 : this.pendingBytes; // a handle that outlived it may still write
    this.#setup.waiting.bytes += pendingBytes - this.#counted;
    this.#counted = pendingBytes;
  }

  #send(): void {
    this.#count();
    const hasWork = !isNone(this.#pending) && this.#inFlight === undefined;
    if (hasWork && !this.#isPaused && !this.#isClosed) this.#setup.send(this);
  }
}

function noChanges(): Changes {
  return { clears: false, values: new Map(), alarms: new Map(), messages: undefined, bytes: 0 };
}

function isNone({ clears, values, alarms, messages }: Changes): boolean {
  return !clears && values.size === 0 && alarms.size === 0 && messages === undefined;
}

function totalOf(changes: Changes | undefined): number {
  return changes === undefined ? 0 : changes.bytes + (changes.messages?.bytes ?? 0);
}

/** The earlier with the later on top. */
function merged(ref: ObjectRef, earlier: Changes, later: Changes): Changes {
  const record = earlier.values.get(recordKey);
  const kept = later.clears
    ? new Map(record === undefined ? [] : [[recordKey, record] as const])
    : earlier.values;
  const values = new Map<string, Uint8Array | null>([...kept, ...later.values]);
  const alarms = new Map([...earlier.alarms, ...later.alarms]);
  const messages = mergedMessages(earlier.messages, later.messages);
  const bytes = bytesOf(ref, values, alarms);
  return { clears: earlier.clears || later.clears, values, alarms, messages, bytes };
}

function mergedMessages(
  earlier: MessageChanges | undefined,
  later: MessageChanges | undefined,
): MessageChanges | undefined {
  if (earlier === undefined) return later;
  for (const [topic, writes] of later?.taken() ?? []) earlier.add(topic, writes);
  return earlier;
}

function bytesOf(ref: ObjectRef, values: Changes["values"], alarms: Changes["alarms"]): number {
  let bytes = 0;
  for (const [key, value] of values) bytes += rowBytes(ref, key) + (value?.length ?? 0);
  for (const [name, alarm] of alarms) bytes += alarmBytes(ref, name, alarm);
  return bytes;
}

function tooMuch(what: string) {
  return overLimit(`More than ${what} of this object wait to be written, which is its limit.`);
}
