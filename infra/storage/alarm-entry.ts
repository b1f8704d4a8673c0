import type { StoredAlarm } from "../lease/stored-objects.ts";
import { StatefulError } from "../lib/errors.ts";
import type { AlarmRecurrence } from "./alarm-schedule.ts";
import { overLimit } from "./storage-limits.ts";

/** Bytes of an alarm's name, in UTF-8. */
export const alarmNameBytesMax = 256;
export const alarmPayloadBytesMax = 16 * 1024;

export interface AlarmInfo {
  readonly name: string;
  /** When it fires next; while it fires, and where it is parked, when it was due. */
  readonly dueAt: Date;
  /** Attempts that have begun for this time of being due. */
  readonly attempt: number;
  readonly schedule: AlarmRecurrence | undefined;
  readonly payload: Uint8Array;
  readonly parked: boolean;
  readonly lastError: string | undefined;
}

/** An alarm as it was set once. Setting it again makes another entry, by which a firing knows that it is not meant any more. */
export interface AlarmEntry {
  readonly name: string;
  readonly schedule: string;
  readonly payload: Uint8Array;
  /** Of this occurrence, whatever its attempts. */
  dueAtMs: number;
  /** When the next attempt begins. */
  fireAtMs: number;
  attempt: number;
  isParked: boolean;
  lastError: string;
}

export function entryOf(name: string, row: StoredAlarm): AlarmEntry {
  const { dueAtMs, attempt, schedule, payload, parked, lastError } = row;
  return {
    name,
    schedule,
    payload,
    dueAtMs,
    fireAtMs: dueAtMs,
    attempt,
    isParked: parked,
    lastError,
  };
}

/** The row of an alarm that waits, or is parked. */
export function rowOf({
  fireAtMs,
  attempt,
  schedule,
  payload,
  isParked,
  lastError,
}: AlarmEntry): StoredAlarm {
  return { dueAtMs: fireAtMs, attempt, schedule, payload, parked: isParked, lastError };
}

const utf8 = new TextEncoder();

/** Throws `bad_request`. */
export function checkAlarmName(name: unknown): asserts name is string {
  const isName = typeof name === "string" && name !== "" && !name.includes("\0") && name.isWellFormed();
  if (isName && name.length <= alarmNameBytesMax && utf8.encode(name).length <= alarmNameBytesMax) return;
  const message = `An alarm's name is well-formed text of 1 to ${alarmNameBytesMax} bytes without U+0000.`;
  throw new StatefulError("bad_request", message);
}

/** Throws `storage_limit`. */
export function checkAlarmPayload(name: string, { length }: Uint8Array): void {
  if (length <= alarmPayloadBytesMax) return;
  const message = `The payload of alarm "${name}" takes ${length} bytes; the limit is ${alarmPayloadBytesMax}.`;
  throw overLimit(`${message} Keep it in storage, and a key in the alarm.`);
}
