import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/** Why what an object has written is not stored, or why that is not known: in the words that a caller reads. */
export function fenced(ref: ObjectRef): StatefulError {
  return new StatefulError(
    "fenced",
    `What ${ref.key} wrote was refused: its lease is another by now. It is not stored.`,
  );
}

export function notKnown(ref: ObjectRef, cause: StatefulError): StatefulError {
  const message = `The database would not store what ${ref.key} wrote. Whether an earlier attempt did is not known.`;
  return new StatefulError("outcome_unknown", message, { cause });
}

export function undone(ref: ObjectRef): StatefulError {
  const message = `A transaction of ${ref.key} was rolled back while this ran, and the state with it: what it changed may be undone.`;
  return new StatefulError("outcome_unknown", message);
}

/** What ended the activation says nothing of the writes that others wait for: they may be on their way. */
export function endedWaiting(ref: ObjectRef, cause: StatefulError): StatefulError {
  if (cause.code === "outcome_unknown") return cause;
  const message = `${ref.key} ended before it was known whether what this wrote is stored: ${cause.message}`;
  return new StatefulError("outcome_unknown", message, { cause });
}

export function tooLate(ref: ObjectRef): StatefulError {
  return new StatefulError(
    "outcome_unknown",
    `The directory has not said in time whether what ${ref.key} wrote is stored.`,
  );
}

export function cannotSave(ref: ObjectRef, thrown: unknown): StatefulError {
  const error = asStatefulError(thrown, "handler_failed");
  return new StatefulError(error.code, `The state of ${ref.key} cannot be saved: ${messageOf(thrown)}`, {
    cause: thrown,
  });
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
