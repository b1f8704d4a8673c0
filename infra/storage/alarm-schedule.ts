import { Cron } from "croner";
import { StatefulError } from "../lib/errors.ts";

/**
 * When an alarm is due, as its author says it:
 *
 * - `Date`, or a number of milliseconds since the epoch: once, then. What is past already is due at once.
 * - `{ afterMs }`: once, that long from now.
 * - `{ every, startAt? }`: again and again, at `startAt + k * every`; without `startAt` for the first time in `every`
 *   milliseconds. At least `everyMsMin`. The grid is fixed when the alarm is set: late or long handlers do not shift it.
 * - `{ cron, timeZone? }`: at the times that the pattern names in the time zone, "UTC" by default. Five fields (minute, hour,
 *   day of month, month, day of week), six with seconds in front, seven with years behind; also `@daily` and its like. Where
 *   clocks go forward, a pattern with one fixed time of day ("30 2 * * *") that falls into the gap is due at the end of the
 *   gap, and any other skips it. Where they go back, the former is due once and any other twice. Days of month and of week
 *   that are both restricted are an "or", as in every cron; `+` before the latter makes it an "and".
 *
 * Times are whole milliseconds between 1970 and the end of 9999; fractions are dropped.
 */
export type AlarmWhen =
  | Date
  | number
  | { readonly afterMs: number }
  | { readonly every: number; readonly startAt?: Date | number }
  | { readonly cron: string; readonly timeZone?: string };

/** How an alarm recurs, as it is shown. */
export type AlarmRecurrence =
  | { readonly every: number }
  | { readonly cron: string; readonly timeZone: string };

export interface AlarmPlan {
  readonly dueAtMs: number;
  /** What `nextDueMs` reads: "" for once, else compact JSON: `{"every":60000,"from":…}`, `{"cron":"0 8 * * *","timeZone":"UTC"}`. */
  readonly schedule: string;
}

export const everyMsMin = 1_000;
export const cronLengthMax = 256;
const latestMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

const waysToSay =
  "Give a Date, milliseconds since the epoch, { afterMs }, { every, startAt? } or { cron, timeZone? }.";

/** Throws `bad_request` for what is no time, and for what would never be due. `when` is checked, whatever its type says. */
export function planAlarm(when: unknown, nowMs: number): AlarmPlan {
  if (when instanceof Date || typeof when === "number") {
    return { dueAtMs: checkedTime(when, "The time of an alarm"), schedule: "" };
  }
  if (typeof when !== "object" || when === null) throw bad(`${shown(when)} is no time. ${waysToSay}`);
  checkMembers(when);
  if ("afterMs" in when) return planAfter(when.afterMs, nowMs);
  if ("every" in when) return planEvery(when.every, "startAt" in when ? when.startAt : undefined, nowMs);
  if ("cron" in when) return planCron(when.cron, "timeZone" in when ? when.timeZone : undefined, nowMs);
  throw bad(`${shown(when)} is no time. ${waysToSay}`);
}

/**
 * When an alarm is due again: the first time of its schedule that is behind both the one it was due at and now, so that what
 * was missed meanwhile is one occurrence. Undefined for once, and where the schedule has come to its end. Throws `internal`
 * for a text that `planAlarm` did not write.
 */
export function nextDueMs(schedule: string, dueAtMs: number, nowMs: number): number | undefined {
  if (schedule === "") return undefined;
  const stored = parsed(schedule);
  if (stored === undefined) throw unreadable(schedule);
  const afterMs = Math.max(dueAtMs, nowMs);
  if ("cron" in stored) {
    try {
      return nextCronMs(stored.cron, stored.timeZone, afterMs);
    } catch (cause) {
      throw unreadable(schedule, cause);
    }
  }
  const { every, from } = stored;
  const nextMs = afterMs < from ? from : from + (Math.floor((afterMs - from) / every) + 1) * every;
  return nextMs > latestMs ? undefined : nextMs;
}

/** How a stored schedule recurs. Undefined for once, and for what cannot be read. */
export function recurrenceOf(schedule: string): AlarmRecurrence | undefined {
  const stored = parsed(schedule);
  return stored !== undefined && "every" in stored ? { every: stored.every } : stored;
}

function planAfter(afterMs: unknown, nowMs: number): AlarmPlan {
  if (typeof afterMs !== "number" || !(afterMs >= 0))
    throw bad(`An alarm's afterMs must be 0 or more milliseconds; ${shown(afterMs)} is not.`);
  const dueAtMs = checkedTime(nowMs + Math.floor(afterMs), `afterMs ${afterMs}: the time of an alarm`);
  return { dueAtMs, schedule: "" };
}

function planEvery(given: unknown, startAt: unknown, nowMs: number): AlarmPlan {
  const every = typeof given === "number" ? Math.floor(given) : Number.NaN;
  if (!(every >= everyMsMin))
    throw bad(`An alarm's every must be ${everyMsMin} or more milliseconds; ${shown(given)} is not.`);
  const from = startAt === undefined ? Math.floor(nowMs) : checkedTime(startAt, "startAt of an alarm");
  const firstMs = startAt === undefined ? from + every : from;
  const missed = Math.max(0, Math.ceil((nowMs - firstMs) / every));
  const dueAtMs = checkedTime(firstMs + missed * every, `every ${shown(given)}: the time of an alarm`);
  return { dueAtMs, schedule: JSON.stringify({ every, from }) };
}

function planCron(given: unknown, zone: unknown, nowMs: number): AlarmPlan {
  if (typeof given !== "string" || given.length > cronLengthMax)
    throw bad(`A cron pattern is text of ${cronLengthMax} characters at most; ${shown(given)} is not.`);
  const cron = given.trim().replace(/\s+/g, " ");
  // The library takes ISO dates for patterns, too.
  if (cron.includes(":")) throw bad(`${shown(given)} is no cron pattern. Give a Date for a single time.`);
  const timeZone = checkedTimeZone(zone);
  const dueAtMs = checkedNextCronMs(cron, timeZone, nowMs);
  if (dueAtMs === undefined) {
    throw bad(
      `The cron pattern ${shown(given)} never occurs again in ${timeZone}. Correct its day, month or year.`,
    );
  }
  return { dueAtMs, schedule: JSON.stringify({ cron, timeZone }) };
}

function checkedNextCronMs(cron: string, timeZone: string, nowMs: number): number | undefined {
  try {
    return nextCronMs(cron, timeZone, nowMs);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${shown(cron)} is no cron pattern: ${reason} Write it like "0 8 * * *".`;
    throw new StatefulError("bad_request", message, { cause });
  }
}

/** Strictly after; whole seconds. */
function nextCronMs(cron: string, timeZone: string, afterMs: number): number | undefined {
  const pattern = new Cron(cron, { paused: true, timezone: timeZone });
  return pattern.nextRun(new Date(afterMs))?.getTime();
}

function checkedTimeZone(zone: unknown): string {
  if (zone === undefined) return "UTC";
  const message = `${shown(zone)} is no time zone. Give a name of the IANA database, like "Europe/Berlin".`;
  if (typeof zone !== "string" || zone === "") throw bad(message);
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return zone;
  } catch (cause) {
    throw new StatefulError("bad_request", message, { cause });
  }
}

function checkedTime(time: unknown, what: string): number {
  const ms = time instanceof Date ? time.getTime() : time;
  if (typeof ms !== "number" || !(ms >= 0 && ms <= latestMs)) {
    throw bad(`${what} must be a Date or milliseconds, from 1970 to the end of 9999; ${shown(time)} is not.`);
  }
  return Math.floor(ms);
}

const members = ["afterMs", "every", "startAt", "cron", "timeZone"];
const companions: Readonly<Record<string, string>> = { startAt: "every", timeZone: "cron" };

/** What is misspelt must not be ignored: `timezone` would be UTC. */
function checkMembers(when: object): void {
  const given = Object.keys(when);
  const unknown = given.find((member) => !members.includes(member));
  if (unknown !== undefined) throw bad(`${shown(when)}: "${unknown}" is unknown. ${waysToSay}`);
  const kinds = given.filter((member) => companions[member] === undefined);
  const isAlone = given.every((member) => kinds.includes(companions[member] ?? member));
  if (kinds.length !== 1 || !isAlone) throw bad(`${shown(when)} does not say one time. ${waysToSay}`);
}

type StoredSchedule =
  | { readonly every: number; readonly from: number }
  | { readonly cron: string; readonly timeZone: string };

function parsed(schedule: string): StoredSchedule | undefined {
  const value = jsonOf(schedule);
  if (typeof value !== "object" || value === null) return undefined;
  if ("every" in value && "from" in value) {
    const { every, from } = value;
    const isGrid = typeof every === "number" && every >= everyMsMin && typeof from === "number";
    return isGrid ? { every, from } : undefined;
  }
  if (!("cron" in value && "timeZone" in value)) return undefined;
  const { cron, timeZone } = value;
  return typeof cron === "string" && typeof timeZone === "string" ? { cron, timeZone } : undefined;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreadable(schedule: string, cause?: unknown): StatefulError {
  const message = `The stored schedule ${shown(schedule)} cannot be read. Set the alarm again.`;
  return new StatefulError("internal", message, { cause });
}

function bad(message: string): StatefulError {
  return new StatefulError("bad_request", message);
}

/** A value as an error names it, whatever it is. */
function shown(value: unknown): string {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "an invalid Date" : value.toISOString();
  if (typeof value !== "string" && (typeof value !== "object" || value === null)) return String(value);
  try {
    const text = JSON.stringify(value) ?? typeof value;
    return text.length > 100 ? `${text.slice(0, 100)}…` : text;
  } catch {
    return `an ${typeof value}`;
  }
}
