import { objectRefFromSegment, type ObjectRef } from "../lib/object-ref.ts";
import {
  bytesOf,
  numberOf,
  type SqlConnection,
  type SqlRow,
  type SqlRows,
  textOf,
} from "./sql-connection.ts";
import {
  alarmsOfStatement,
  alarmsStatement,
  dueAlarmsStatement,
  listStatement,
  messagesStatement,
  readStatement,
} from "./storage-statements.ts";
import {
  type AlarmReport,
  type LoadedObject,
  loadLimits,
  type MessagePlace,
  nothingStored,
  type ObjectName,
  readMessagesMax,
  type StoredAlarm,
  type StoredKey,
  type StoredMessages,
  type StoredObjects,
  type StoredPage,
  type StoredRange,
} from "./stored-objects.ts";

/** Reads of what objects have stored, in libSQL. */
export class LibsqlStoredObjects implements StoredObjects {
  readonly #primary: SqlConnection;

  constructor(primary: SqlConnection) {
    this.#primary = primary;
  }

  async read(keys: readonly StoredKey[]): Promise<readonly (Uint8Array | undefined)[]> {
    const values: (Uint8Array | undefined)[] = keys.map(() => undefined);
    let left = keys.map((key, index) => ({ key, index }));
    while (left.length > 0) {
      const rows = await this.#primary.query(readStatement(left.map(({ key }) => key)));
      const late = new Set<number>();
      for (const row of rows) {
        const asked = numberOf(row, "asked");
        const place = left[asked];
        if (numberOf(row, "has_room") === 0) late.add(asked);
        else if (place !== undefined) values[place.index] = bytesOf(row, "value");
      }
      // The first of them always has room, so each round leaves fewer.
      left = left.filter((_, asked) => late.has(asked));
    }
    return values;
  }

  async list(range: StoredRange): Promise<StoredPage> {
    const rows = await this.#primary.query(listStatement(range));
    const end = rows.findIndex((row, index) => index >= range.limit || row.value === null);
    const page = end === -1 ? rows : rows.slice(0, end);
    return {
      entries: page.map((row) => [textOf(row, "key"), bytesOf(row, "value")] as const),
      hasMore: end !== -1,
    };
  }

  async dueAlarms(
    limit: number,
    ownerGraceMs: number,
    classes?: readonly string[],
  ): Promise<readonly ObjectName[]> {
    const rows = await this.#primary.query(dueAlarmsStatement(limit, ownerGraceMs, classes));
    return rows.map(objectNameOf);
  }

  async alarmsOf(object: ObjectRef): Promise<ReadonlyMap<string, StoredAlarm>> {
    const rows = await this.#primary.query(alarmsOfStatement(object));
    return new Map(rows.map((row) => [textOf(row, "name"), alarmOf(row)]));
  }

  async alarms(limit: number, object?: ObjectRef): Promise<readonly AlarmReport[]> {
    const rows = await this.#primary.query(alarmsStatement(limit, object));
    return rows.map((row) => {
      const { dueAtMs, attempt, schedule, parked, lastError } = alarmFactsOf(row);
      return {
        ...objectNameOf(row),
        name: textOf(row, "name"),
        dueAtMs,
        attempt,
        schedule,
        parked,
        lastError,
      };
    });
  }

  async messages(object: ObjectRef, after?: MessagePlace): Promise<StoredMessages> {
    const rows = await this.#primary.query(messagesStatement(object, after));
    const end = rows.findIndex((row, index) => index >= readMessagesMax || row.value === null);
    const messages = (end === -1 ? rows : rows.slice(0, end)).map((row) => ({
      topic: decodeURIComponent(textOf(row, "topic")),
      place: numberOf(row, "place"),
      history: textOf(row, "history"),
      form: textOf(row, "form"),
      publishedAtMs: numberOf(row, "published_at"),
      value: bytesOf(row, "value"),
    }));
    return { messages, hasMore: end !== -1 };
  }
}

/** By object key. `objects` in the order in which they were asked for. */
export function loadedOf(
  objects: readonly ObjectRef[],
  values: SqlRows = [],
  alarms: SqlRows = [],
): ReadonlyMap<string, LoadedObject> {
  const loaded = new Map<string, MutableLoad>();
  const loadOf = (row: SqlRow): MutableLoad => {
    const key = objects[numberOf(row, "asked")]?.key ?? "";
    const found = loaded.get(key) ?? { ...nothingStored, values: new Map(), alarms: new Map() };
    loaded.set(key, found);
    return found;
  };
  for (const row of values) {
    const load = loadOf(row);
    if (row.key === null || load.values.size === loadLimits.keysMax) load.isComplete = false;
    else load.values.set(textOf(row, "key"), row.value === null ? undefined : bytesOf(row, "value"));
  }
  for (const row of alarms) {
    if (row.name === null) loadOf(row).hasAllAlarms = false;
    else loadOf(row).alarms.set(textOf(row, "name"), alarmOf(row));
  }
  return loaded;
}

interface MutableLoad {
  readonly values: Map<string, Uint8Array | undefined>;
  readonly alarms: Map<string, StoredAlarm>;
  isComplete: boolean;
  hasAllAlarms: boolean;
}

function alarmOf(row: SqlRow): StoredAlarm {
  return { ...alarmFactsOf(row), payload: bytesOf(row, "payload") };
}

function alarmFactsOf(row: SqlRow): Omit<StoredAlarm, "payload"> {
  return {
    dueAtMs: numberOf(row, "due_at"),
    attempt: numberOf(row, "attempt"),
    schedule: textOf(row, "schedule"),
    parked: numberOf(row, "parked") === 1,
    lastError: textOf(row, "last_error"),
  };
}

function objectNameOf(row: SqlRow): ObjectName {
  const ref = objectRefFromSegment(textOf(row, "class"), textOf(row, "id"));
  return { className: ref.className, id: ref.id };
}
