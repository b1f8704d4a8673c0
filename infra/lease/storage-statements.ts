import type { ObjectRef } from "../lib/object-ref.ts";
import { type SqlArgs, type SqlStatement, statement } from "./sql-connection.ts";
import {
  loadLimits,
  type ObjectWrites,
  readBytesMax,
  type StoredAlarm,
  type StoredKey,
  type StoredRange,
} from "./stored-objects.ts";

/**
 * Storage as SQL. However many objects write, a commit has one statement for each kind of change: the changes travel as one
 * JSON array that `json_each` reads, and their values as one blob that `substr` cuts (to NULL where that blob is empty).
 * What a transaction costs is its statements, not its rows.
 *
 * Every row carries the lease it was written under, and joins that lease's row (L4): an object that was fenced writes
 * nothing, and its neighbours do not notice. `mine`, the condition on the session, is the caller's.
 */
interface WriteKind {
  readonly name: "clears" | "deletes" | "puts" | "alarmDeletes" | "alarmPuts";
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
  for (const { object, epoch, clears, values, alarms } of writes) {
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
  }
  const [puts, ...more] = kinds.get("puts") ?? [];
  // Rows tell of a refused object only where each has some.
  const isOnly = kinds.size === 1 && more.length === 0 && writes.every(({ values }) => values.size > 0);
  return { changes: kinds, leases: `[${leases.join(",")}]`, onlyPuts: isOnly ? puts?.count : undefined };
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

/**
 * What objects find when they start, in the transaction that took their leases. A value that is too large by itself, or
 * that comes after all the others together have become too large, is left out; keys count as well, and those that come
 * after that are left out, too, but for the records. A row without a key says so.
 *
 * Here and below, sums are made of lengths, which SQLite reads from a row's header, and values are fetched by rowid once
 * it is known that they go along: otherwise each would be copied into a sorter.
 */
const loadValues = `
  WITH found AS MATERIALIZED (
    SELECT asked, key, place, fits, sum(length(CAST(key AS BLOB)) + ${loadLimits.rowBytes} + CASE WHEN fits THEN bytes ELSE 0 END)
      OVER (ORDER BY asked, key ROWS UNBOUNDED PRECEDING) <= ${loadLimits.bytesMax} AS has_room
    FROM (
      SELECT a.key AS asked, s.key AS key, s.rowid AS place, length(s.value) AS bytes, length(s.value) <=
        CASE s.key WHEN '' THEN ${loadLimits.recordBytesMax} ELSE ${loadLimits.valueBytesMax} END AS fits
      FROM json_each(:load) a
      CROSS JOIN leases l ON l.class = a.value ->> 0 AND l.id = a.value ->> 1 AND l.session = :session
      CROSS JOIN storage s ON s.rowid IN (
        SELECT rowid FROM storage WHERE class = l.class AND id = l.id ORDER BY key LIMIT ${loadLimits.keysMax + 1})))
  SELECT asked, key, CASE WHEN fits AND has_room THEN (SELECT value FROM storage WHERE rowid = place) END AS value
  FROM found WHERE has_room OR key = ''
  UNION ALL
  SELECT DISTINCT asked, NULL, NULL FROM found WHERE NOT has_room AND key <> ''
  ORDER BY asked, key`;

const loadedAlarm = "m.name, m.due_at, m.attempt, m.schedule, m.payload, m.parked, m.last_error";

/** The same for alarms, with a limit of their own. A row without a name says that some are left out. */
const loadAlarms = `
  SELECT asked, ${loadedAlarm}
  FROM (
    SELECT asked, CASE WHEN sum(bytes) OVER (ORDER BY asked, name ROWS UNBOUNDED PRECEDING) <= ${loadLimits.bytesMax}
      THEN place END AS place
    FROM (
      SELECT a.key AS asked, m.name AS name, m.rowid AS place, length(m.payload) + ${loadLimits.alarmRowBytes} AS bytes
      FROM json_each(:load) a
      CROSS JOIN leases l ON l.class = a.value ->> 0 AND l.id = a.value ->> 1 AND l.session = :session
      CROSS JOIN alarms m ON m.class = l.class AND m.id = l.id))
  LEFT JOIN alarms m ON m.rowid = place`;

const everyAlarmOf = `SELECT ${loadedAlarm} FROM alarms m WHERE m.class = :class AND m.id = :id`;

export function alarmsOfStatement(object: ObjectRef): SqlStatement {
  const [className, id] = nameOf(object);
  return statement(everyAlarmOf, { class: className, id });
}

export function loadStatements(session: string, objects: readonly ObjectRef[]): readonly SqlStatement[] {
  if (objects.length === 0) return [];
  const args = { session, load: JSON.stringify(objects.map(nameOf)) };
  return [statement(loadValues, args), statement(loadAlarms, args)];
}

const readValues = `
  SELECT asked, before < ${readBytesMax} AS has_room,
    CASE WHEN before < ${readBytesMax} THEN (SELECT value FROM storage WHERE rowid = place) END AS value
  FROM (
    SELECT asked, place, sum(bytes) OVER (ORDER BY asked ROWS UNBOUNDED PRECEDING) - bytes AS before
    FROM (
      SELECT a.key AS asked, s.rowid AS place, length(s.value) AS bytes
      FROM json_each(:asked) a
      CROSS JOIN storage s ON s.class = a.value ->> 0 AND s.id = a.value ->> 1 AND s.key = a.value ->> 2))`;

export function readStatement(keys: readonly StoredKey[]): SqlStatement {
  const asked = keys.map(({ object, key }) => [...nameOf(object), key]);
  return statement(readValues, { asked: JSON.stringify(asked) });
}

/** Without the bounds that are not asked for: each would keep the index from beginning, or ending, at the other. */
const listOf = ({ start, end, reverse }: StoredRange, order = reverse ? "DESC" : "ASC") => `
  SELECT key, CASE WHEN before < ${readBytesMax} THEN (SELECT value FROM storage WHERE rowid = place) END AS value
  FROM (
    SELECT key, place, sum(bytes) OVER (ORDER BY key ${order} ROWS UNBOUNDED PRECEDING) - bytes AS before
    FROM (
      SELECT key, rowid AS place, length(value) AS bytes FROM storage
      WHERE class = :class AND id = :id AND ${start === "" ? "key > ''" : "key >= :start"}
        ${end === undefined ? "" : "AND key < :end"}
      ORDER BY key ${order} LIMIT :limit))
  ORDER BY key ${order}`;

/** One row more than asked for, which tells whether the range goes on. */
export function listStatement(range: StoredRange): SqlStatement {
  const [className, id] = nameOf(range.object);
  const { start, end, limit } = range;
  const args = { class: className, id, start, end: end ?? null, limit: BigInt(limit + 1) };
  return statement(listOf(range), args);
}

/** By the clock of the database as it is now: nothing is written here, so `directory.now` may be old. */
const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const dueAlarms = `
  SELECT class, id FROM (
    SELECT m.class AS class, m.id AS id, m.due_at AS due_at FROM alarms m
    WHERE m.parked = 0 AND m.due_at <= ${now}
      AND (:classes IS NULL OR m.class IN (SELECT value FROM json_each(:classes)))
      AND (m.due_at <= ${now} - :ownerGraceMs OR NOT EXISTS (
      SELECT 1 FROM leases l JOIN sessions s ON s.session = l.session
      WHERE l.class = m.class AND l.id = m.id AND s.ended = 0 AND s.expires_at > ${now}))
    ORDER BY m.due_at LIMIT :limit)
  GROUP BY class, id ORDER BY min(due_at)`;

export function dueAlarmsStatement(
  limit: number,
  ownerGraceMs: number,
  classes: readonly string[] | undefined,
): SqlStatement {
  const args = { limit: BigInt(limit), ownerGraceMs: BigInt(ownerGraceMs) };
  return statement(dueAlarms, { ...args, classes: classes === undefined ? null : JSON.stringify(classes) });
}

const alarmReports = (where: string) => `
  SELECT class, id, name, due_at, attempt, schedule, parked, last_error FROM alarms ${where}
  ORDER BY parked DESC, due_at, class, id, name LIMIT :limit`;
const allAlarms = alarmReports("");
const alarmsOfObject = alarmReports("WHERE class = :class AND id = :id");

export function alarmsStatement(limit: number, object: ObjectRef | undefined): SqlStatement {
  if (object === undefined) return statement(allAlarms, { limit: BigInt(limit) });
  const [className, id] = nameOf(object);
  return statement(alarmsOfObject, { class: className, id, limit: BigInt(limit) });
}

/** The id as the key spells it, percent-encoded: ASCII, so that no id meets what SQL text does to NUL or to Unicode. */
export function nameOf(object: ObjectRef): readonly [className: string, id: string] {
  return [object.className, object.key.slice(object.className.length + 1)];
}
