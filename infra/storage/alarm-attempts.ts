import { type ErrorCode, StatefulError } from "../lib/errors.ts";
import type { AlarmEntry } from "./alarm-entry.ts";
import { nextDueMs } from "./alarm-schedule.ts";

/** After so many attempts that failed an alarm is parked; a recurring one goes on with its next time. */
export const alarmAttemptsMax = 8;
export const failureTextLengthMax = 500;

/**
 * How long after the beginning of an attempt that was cut off, or after the end of one that failed, the next one comes:
 * 1 s, 2 s, 4 s… up to 5 minutes, each times 0.75 to 1.25, so that what failed together does not come again together.
 */
export function alarmBackoffMs(attempt: number, random: () => number): number {
  const delayMs = Math.min(1000 * 2 ** (attempt - 1), 300_000);
  return Math.round(delayMs * (0.75 + random() / 2));
}

/** When the alarm comes again cannot be known. */
export class UnreadableScheduleError extends Error {
  override readonly name = "UnreadableScheduleError";
}

/** Why another attempt is of no use; undefined where it is of some. */
export function hopelessness(
  { schedule, dueAtMs, attempt, lastError }: AlarmEntry,
  nowMs: number,
): Error | undefined {
  try {
    nextDueMs(schedule, dueAtMs, nowMs);
  } catch (cause) {
    return new UnreadableScheduleError(failureText(cause), { cause });
  }
  if (attempt < alarmAttemptsMax) return undefined;
  const before = lastError === "" ? "" : ` The failure before: ${lastError}`;
  return new Error(`Attempt ${attempt} was cut off, and was the last.${before}`);
}

const lossesOfLease: readonly ErrorCode[] = [
  "activation_over",
  "session_over",
  "not_owner",
  "outcome_unknown",
  "fenced",
];

/** The activation is losing its lease, or has lost it: this says nothing about the handler. */
export function isLossOfLease(thrown: unknown): boolean {
  return thrown instanceof StatefulError && lossesOfLease.includes(thrown.code);
}

/** Of a failure, for its row: short, and text that any store takes. */
export function failureText(thrown: unknown): string {
  const message = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
  return message.slice(0, failureTextLengthMax).toWellFormed().replaceAll("\0", "\ufffd");
}
