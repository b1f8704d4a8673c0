import type { ObjectRef } from "../lib/object-ref.ts";

/**
 * What the directory keeps of objects beside their leases: values under keys, alarms, and messages of topics. These are
 * values and a port; what they mean to an author is in `storage/` and `topics/`.
 *
 * Writes never come alone: they are part of a session's numbered commit (`Directory.commit`), each object's part guarded,
 * inside the transaction, by its own lease row (L4). Reads go to the primary. Nobody but the owner writes, so what an
 * owner has read stays true until it writes itself.
 */
export interface StoredObjects {
  /** The values of these keys, in this order; undefined where there is none. A few large values may take several queries. */
  read(keys: readonly StoredKey[]): Promise<readonly (Uint8Array | undefined)[]>;

  /** One page of an object's keys in their order, the object's own record left out. */
  list(range: StoredRange): Promise<StoredPage>;

  /**
   * Alarms that are due by the directory's clock and not parked, the most overdue first, `limit` at most. Alarms of an
   * object that somebody alive owns are left out for `ownerGraceMs`: firing them is that owner's work. Only those of `classes`,
   * where these are given: alarms of a class that nobody runs are not to stand before those of one that somebody does.
   */
  dueAlarms(limit: number, ownerGraceMs: number, classes?: readonly string[]): Promise<readonly ObjectName[]>;

  /** All alarms of an object: for one whose alarms were too many or too large to come with its lease. */
  alarmsOf(object: ObjectRef): Promise<ReadonlyMap<string, StoredAlarm>>;

  /** Alarms as an operator wants to see them: the parked ones first, then by when they are due. Of all objects, or of one. */
  alarms(limit: number, object?: ObjectRef): Promise<readonly AlarmReport[]>;

  /** One page of the messages of an object's topics, by topic and place: the first, or the one behind `after`. */
  messages(object: ObjectRef, after?: MessagePlace): Promise<StoredMessages>;
}

/** Percent-encoded ids are the directory's; here they are decoded again. */
export interface ObjectName {
  readonly className: string;
  readonly id: string;
}

export interface StoredKey {
  readonly object: ObjectRef;
  readonly key: string;
}

/**
 * Keys are compared by the bytes of their UTF-8. `""` is the key of the object's own record (its state, and the version of
 * its data), which no author can name.
 */
export const recordKey = "";

export interface StoredRange {
  readonly object: ObjectRef;
  /** The first key that may be in the answer. */
  readonly start: string;
  /** The first key, in order, that may not; undefined for no end. */
  readonly end: string | undefined;
  readonly reverse: boolean;
  readonly limit: number;
}

export interface StoredPage {
  readonly entries: readonly (readonly [key: string, value: Uint8Array])[];
  /** Whether the range goes on behind the last entry. */
  readonly hasMore: boolean;
}

/** What one object writes in one commit: all of it or none. */
export interface ObjectWrites {
  readonly object: ObjectRef;
  readonly epoch: number;
  /** All keys are deleted first; the object's own record stays. */
  readonly clears: boolean;
  /** `null` deletes the key. */
  readonly values: ReadonlyMap<string, Uint8Array | null>;
  /** By name; `null` deletes the alarm. */
  readonly alarms: ReadonlyMap<string, StoredAlarm | null>;
  /** By topic. */
  readonly messages: ReadonlyMap<string, TopicWrites>;
}

/** What changes of one topic's messages. */
export interface TopicWrites {
  /** All below this place go first: 0 for none, `everyPlace` for all that the topic has. */
  readonly keepFrom: number;
  /** Each takes its place, whatever was there. */
  readonly puts: readonly StoredMessage[];
}

/** Above every place. */
export const everyPlace = Number.MAX_SAFE_INTEGER;

export const noMessages: ReadonlyMap<string, TopicWrites> = new Map();

/** A row of the table of alarms. */
export interface StoredAlarm {
  /** Milliseconds since the Unix epoch, by the directory's clock. */
  readonly dueAtMs: number;
  /** Attempts that have begun for this time of being due. */
  readonly attempt: number;
  /** JSON of how it recurs; "" for once. */
  readonly schedule: string;
  readonly payload: Uint8Array;
  /** All attempts have failed: it waits for an operator, or to be set again. */
  readonly parked: boolean;
  /** Message of the last failure; "" where there was none. */
  readonly lastError: string;
}

/** A row of the table of messages. */
export interface StoredMessage {
  /** Its number in the topic's history. */
  readonly place: number;
  /** Id of that history. */
  readonly history: string;
  /** How it was published; "" where only the place is kept, and nothing of a message. */
  readonly form: string;
  /** Milliseconds since the Unix epoch, by the directory's clock. */
  readonly publishedAtMs: number;
  readonly value: Uint8Array;
}

export interface MessagePlace {
  readonly topic: string;
  readonly place: number;
}

/** A page of messages. Topics are in the order of their names as URLs spell them, percent-encoded. */
export interface StoredMessages {
  readonly messages: readonly (StoredMessage & MessagePlace)[];
  /** Whether there are more behind the last. */
  readonly hasMore: boolean;
}

export interface AlarmReport extends ObjectName {
  readonly name: string;
  readonly dueAtMs: number;
  readonly attempt: number;
  readonly schedule: string;
  readonly parked: boolean;
  readonly lastError: string;
}

/** What an object finds when it starts, read in the commit that takes its lease. */
export interface LoadedObject {
  /** Known keys with their values; undefined where the value is too large to come along. */
  readonly values: ReadonlyMap<string, Uint8Array | undefined>;
  /** Whether these are all keys that the object has. Where they are not, the object's own record is among them all the same. */
  readonly isComplete: boolean;
  readonly alarms: ReadonlyMap<string, StoredAlarm>;
  /** Whether these are all its alarms; otherwise `alarmsOf` has them. */
  readonly hasAllAlarms: boolean;
}

export const nothingStored: LoadedObject = {
  values: new Map(),
  isComplete: true,
  alarms: new Map(),
  hasAllAlarms: true,
};

/** How much of an object comes with its lease. What is beyond is read when it is asked for. */
export const loadLimits = {
  /** Keys of one object, its own record included. */
  keysMax: 128,
  valueBytesMax: 16 * 1024,
  recordBytesMax: 256 * 1024,
  /** Keys and values of all objects in one commit, with what each row costs on its way. */
  bytesMax: 4 * 1024 * 1024,
  rowBytes: 64,
  /** What an alarm costs beside its payload: its name, its schedule, its last failure. */
  alarmRowBytes: 1024,
} as const;

/** Bytes of values in one answer of a read; the first value always comes. */
export const readBytesMax = 4 * 1024 * 1024;
/** Messages in one page. */
export const readMessagesMax = 2_000;
