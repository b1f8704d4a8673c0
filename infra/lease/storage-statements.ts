import type { ObjectRef } from "../lib/object-ref.ts";
import { nameOf, topicName } from "./object-name.ts";
import { directoryTime } from "./primary-time.ts";
import { type SqlStatement, statement } from "./sql-connection.ts";
import {
  loadLimits,
  type MessagePlace,
  readBytesMax,
  readMessagesMax,
  type StoredKey,
  type StoredRange,
} from "./stored-objects.ts";

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

/** As of now: nothing is written here, so `directory.now` may be old. Asked once per statement, however often it is named. */
const now = `(SELECT now FROM ${directoryTime()})`;
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

/** The name of a topic is never empty, so behind nothing are all. */
const messagesBehind = `
  SELECT topic, place, history, form, published_at,
    CASE WHEN before < ${readBytesMax} THEN (SELECT value FROM messages WHERE rowid = found) END AS value
  FROM (
    SELECT *, sum(bytes) OVER (ORDER BY topic, place ROWS UNBOUNDED PRECEDING) - bytes AS before
    FROM (
      SELECT topic, place, history, form, published_at, rowid AS found, length(value) AS bytes FROM messages
      WHERE class = :class AND id = :id AND (topic, place) > (:topic, :place)
      ORDER BY topic, place LIMIT ${readMessagesMax + 1}))
  ORDER BY topic, place`;

/** One row more than a page has, which tells whether there are more. */
export function messagesStatement(object: ObjectRef, after: MessagePlace | undefined): SqlStatement {
  const [className, id] = nameOf(object);
  const { topic, place } = after ?? { topic: "", place: 0 };
  return statement(messagesBehind, { class: className, id, topic: topicName(topic), place: BigInt(place) });
}
