import type { ObjectRef } from "../lib/object-ref.ts";
import { nameOf, topicName } from "./object-name.ts";
import { type SqlArgs, type SqlStatement, statement } from "./sql-connection.ts";
import type { ObjectWrites, StoredAlarm, StoredMessage, TopicWrites } from "./stored-objects.ts";

/**
 * Storage as SQL. However many objects write, a commit has one statement for each kind of change: the changes travel as one
 * JSON array that `json_each` reads, and their values as one blob that `substr` cuts (to NULL where that blob is empty).
 * What a transaction costs is its statements, not its rows.
 *
 * Every row carries the lease it was written under, and joins that lease's row (L4): an object that was fenced writes
 * nothing, and its neighbours do not notice. `mine`, the condition on the session, is the caller's.
 */
interface WriteKind {
  readonly name:
    | "clears"
    | "deletes"
    | "puts"
    | "alarmDeletes"
    | "alarmPuts"
    | "messageTrims"
    | "messagePuts";
  sql(mine: string): string;
}

/** The lease under which a row of `:rows` was written: class, id and epoch are the first three of each. */
const underItsLease = `leases l ON l.class = w.value ->> 0 AND l.id = w.value ->> 1
    AND l.session = :session AND l.epoch = w.value ->> 2`;

/** In the order in which they are applied: what is cleared may be put again. */
const writeKinds: readonly WriteKind[] = [
  {
    name: "clears",
    sql: (mine) => `
  DELETE FROM storage WHERE key > '' AND (class, id) IN (
    SELECT l.class, l.id FROM json_each(:rows) w CROSS JOIN ${underItsLease} WHERE ${mine})`,
  },
  {
    name: "deletes",
    sql: (mine) => `
  DELETE FROM storage WHERE (class, id, key) IN (
    SELECT l.class, l.id, w.value ->> 3 FROM json_each(:rows) w CROSS JOIN ${underItsLease} WHERE ${mine})`,
  },
  {
    name: "puts",
    sql: (mine) => `
  INSERT INTO storage (class, id, key, value)
  SELECT l.class, l.id, w.value ->> 3, coalesce(substr(:bytes, w.value ->> 4, w.value ->> 5), x'')
  FROM json_each(:rows) w CROSS JOIN ${underItsLease} WHERE ${mine}
  ON CONFLICT (class, id, key) DO UPDATE SET value = excluded.value`,
  },
  {
    name: "alarmDeletes",
    sql: (mine) => `
  DELETE FROM alarms WHERE (class, id, name) IN (
    SELECT l.class, l.id, w.value ->> 3 FROM json_each(:rows) w CROSS JOIN ${underItsLease} WHERE ${mine})`,
  },
  {
    name: "alarmPuts",
    sql: (mine) => `
  INSERT INTO alarms (class, id, name, due_at, attempt, schedule, payload, parked, last_error)
  SELECT l.class, l.id, w.value ->> 3, w.value ->> 6, w.value ->> 7, w.value ->> 8,
    coalesce(substr(:bytes, w.value ->> 4, w.value ->> 5), x''), w.value ->> 9, w.value ->> 10
  FROM json_each(:rows) w CROSS JOIN ${underItsLease} WHERE ${mine}
  ON CONFLICT (class, id, name) DO UPDATE SET
    due_at = excluded.due_at, attempt = excluded.attempt, schedule = excluded.schedule,
    payload = excluded.payload, parked = excluded.parked, last_error = excluded.last_error`,
  },
  {
    name: "messageTrims",
    sql: (mine) => `
  DELETE FROM messages WHERE rowid IN (
    SELECT m.rowid FROM json_each(:rows) w CROSS JOIN ${underItsLease}
    CROSS JOIN messages m ON m.class = l.class AND m.id = l.id AND m.topic = w.value ->> 3 AND m.place < w.value ->> 4
    WHERE ${mine})`,
  },
  {
    name: "messagePuts",
    sql: (mine) => `
  INSERT INTO messages (class, id, topic, place, history, form, published_at, value)
  SELECT l.class, l.id, w.value ->> 3, w.value ->> 6, w.value ->> 7, w.value ->> 8, w.value ->> 9,
    coalesce(substr(:bytes, w.value ->> 4, w.value ->> 5), x'')
  FROM json_each(:rows) w CROSS JOIN ${underItsLease} WHERE ${mine}
  ON CONFLICT (class, id, topic, place) DO UPDATE SET
    history = excluded.history, form = excluded.form, published_at = excluded.published_at, value = excluded.value`,
  },
];

/** The changes of a commit as statements, `mine` being the condition under which this commit may write at all. */
export class WriteStatements {
  readonly #sql = new Map<string, string>();

  constructor(mine: string) {
    for (const { name, sql } of writeKinds) this.#sql.set(name, sql(mine));
  }

  of(writes: PackedWrites, args: SqlArgs): readonly SqlStatement[] {
    const statements: SqlStatement[] = [];
    for (const { name } of writeKinds) {
      const sql = this.#sql.get(name);
      if (sql === undefined) continue;
      for (const changes of writes.changes.get(name) ?? []) {
        statements.push(statement(sql, { ...args, ...changes.args }));
      }
    }
    return statements;
  }
}

/**
 * Changes of one kind are cut into several statements where they are many, because a server takes no text or blob of 5 MB.
 * A statement has so many characters of rows, and one row more, and so many bytes of values; a larger value has its own.
 */
const statementLengthMax = { rows: 1024 * 1024, blob: 2 * 1024 * 1024 } as const;

/** What travels of a commit's writes. */
export interface PackedWrites {
  /** By kind; kinds without changes are left out. */
  readonly changes: ReadonlyMap<WriteKind["name"], readonly Changes[]>;
  /** JSON of [class, id, epoch] of each object, in the order of the commit. */
  readonly leases: string;
  /** Rows of the only statement, where that is one of puts: as many as it changes unless some object is refused. */
  readonly onlyPuts: number | undefined;
}

/** Changes of one kind that travel in one statement, which carries no bytes but theirs. */
class Changes {
  readonly #rows: string[] = [];
  #rowsLength = 0;
  readonly #blob = new ByteRun();

  get count(): number {
    return this.#rows.length;
  }

  /** Whether there is room for one more, with a value of that many bytes. */
  takes(bytes: number): boolean {
    if (this.#rowsLength >= statementLengthMax.rows) return false;
    return this.#blob.length === 0 || this.#blob.length + bytes <= statementLengthMax.blob;
  }

  get args(): { readonly rows: string; readonly bytes: Uint8Array } {
    return { rows: `[${this.#rows.join(",")}]`, bytes: this.#blob.bytes() };
  }

  /** @param fields of a JSON array, without its brackets */
  add(fields: string): void {
    this.#rows.push(`[${fields}]`);
    this.#rowsLength += fields.length + 2;
  }

  put(fields: string, bytes: Uint8Array, facts = ""): void {
    const [position, length] = this.#blob.add(bytes);
    this.add(`${fields},${position},${length}${facts}`);
  }
}

/** Texts are made well-formed: a native connection that reads one which is not ends the process. */
export function packWrites(writes: readonly ObjectWrites[]): PackedWrites {
  const kinds = new Map<WriteKind["name"], Changes[]>();
  const leases: string[] = [];
  const changesOf = (kind: WriteKind["name"], bytes = 0): Changes => {
    const all = kinds.get(kind) ?? [];
    kinds.set(kind, all);
    const last = all.at(-1);
    if (last?.takes(bytes)) return last;
    const next = new Changes();
    all.push(next);
    return next;
  };
  for (const { object, epoch, clears, values, alarms, messages } of writes) {
    const lease = leaseFields(object, epoch);
    leases.push(`[${lease}]`);
    if (clears) changesOf("clears").add(lease);
    for (const [key, value] of values) {
      const named = `${lease},${jsonText(key)}`;
      if (value === null) changesOf("deletes").add(named);
      else changesOf("puts", value.length).put(named, value);
    }
    for (const [name, alarm] of alarms) {
      const named = `${lease},${jsonText(name)}`;
      if (alarm === null) changesOf("alarmDeletes").add(named);
      else changesOf("alarmPuts", alarm.payload.length).put(named, alarm.payload, alarmFacts(alarm));
    }
    for (const [topic, { keepFrom, puts }] of messages) {
      const named = `${lease},"${topicName(topic)}"`;
      if (keepFrom > 0) changesOf("messageTrims").add(`${named},${keepFrom}`);
      for (const put of puts)
        changesOf("messagePuts", put.value.length).put(named, put.value, messageFacts(put));
    }
  }
  return { changes: kinds, leases: `[${leases.join(",")}]`, onlyPuts: onlyPutsOf(kinds, writes) };
}

/** Rows tell of a refused object only where each has some. */
function onlyPutsOf(kinds: PackedWrites["changes"], writes: readonly ObjectWrites[]): number | undefined {
  const [only, ...others] = kinds;
  const [statement, ...more] = only?.[1] ?? [];
  if (only === undefined || others.length + more.length > 0) return undefined;
  const [kind] = only;
  if (kind === "puts" && writes.every(({ values }) => values.size > 0)) return statement?.count;
  if (kind === "messagePuts" && writes.every(({ messages }) => hasPuts(messages))) return statement?.count;
  return undefined;
}

function hasPuts(messages: ReadonlyMap<string, TopicWrites>): boolean {
  for (const { puts } of messages.values()) if (puts.length > 0) return true;
  return false;
}

/** Class and id are letters, digits and signs that JSON has as they are: the one by its pattern, the other percent-encoded. */
function leaseFields(object: ObjectRef, epoch: number): string {
  const [className, id] = nameOf(object);
  return `"${className}","${id}",${epoch}`;
}

function jsonText(text: string): string {
  return JSON.stringify(text.toWellFormed());
}

function alarmFacts({ dueAtMs, attempt, schedule, parked, lastError }: StoredAlarm): string {
  const facts = [dueAtMs, attempt, schedule.toWellFormed(), parked ? 1 : 0, lastError.toWellFormed()];
  return `,${JSON.stringify(facts).slice(1, -1)}`;
}

function messageFacts({ place, history, form, publishedAtMs }: StoredMessage): string {
  return `,${place},${jsonText(history)},${jsonText(form)},${publishedAtMs}`;
}

/** Values one behind the other. */
class ByteRun {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Where `substr` finds it: positions in SQL begin at 1. */
  add(part: Uint8Array): [position: number, length: number] {
    const position = this.#length + 1;
    this.#parts.push(part);
    this.#length += part.length;
    return [position, part.length];
  }

  bytes(): Uint8Array {
    if (this.#parts.length === 1 && this.#parts[0]) return this.#parts[0];
    const bytes = new Uint8Array(this.#length);
    let offset = 0;
    for (const part of this.#parts) {
      bytes.set(part, offset);
      offset += part.length;
    }
    return bytes;
  }
}

/** Numbers, in the order of `:leases`, of those that are not held by this session under that epoch. */
export const refusedLeases = `(
    SELECT json_group_array(w.key) FROM json_each(:leases) w
    WHERE NOT EXISTS (
      SELECT 1 FROM leases l
      WHERE l.class = w.value ->> 0 AND l.id = w.value ->> 1 AND l.session = :session AND l.epoch = w.value ->> 2))`;

/** The same right after the only change of a commit: where that changed all its rows nobody was refused, and none is looked for. */
const refusedAfterPuts = `SELECT CASE WHEN changes() = :puts THEN '[]' ELSE ${refusedLeases} END AS refused`;
const refusedAfterAll = `SELECT ${refusedLeases} AS refused`;

export function refusedStatement(session: string, { leases, onlyPuts }: PackedWrites): SqlStatement {
  if (onlyPuts === undefined) return statement(refusedAfterAll, { session, leases });
  return statement(refusedAfterPuts, { session, leases, puts: BigInt(onlyPuts) });
}
