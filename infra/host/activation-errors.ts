import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/** The handler ran, but nobody may hear of it: whether it had effects elsewhere is not known. */
export function outcomeUnknown(cause: StatefulError): StatefulError {
  if (cause.code === "memory_limit") return cause; // It says so itself, and may not be repeated either.
  const message = `The lease ended before the answer could leave: ${cause.message}`;
  return new StatefulError("outcome_unknown", message, { cause });
}

export function handleOver(ref: ObjectRef, cause: StatefulError): StatefulError {
  const message = `This activation of ${ref.key} has ended: ${cause.message}`;
  return new StatefulError("activation_over", message, { cause });
}

/** Whoever found the object here has come too late: the next who asks finds its next owner. */
export function noLongerHere(ref: ObjectRef, cause: StatefulError): StatefulError {
  const message = `${ref.key} has ended here; ask again for its owner.`;
  return new StatefulError("not_owner", message, { cause, retryAfterMs: 1000 });
}

/** What a client learns of a failure that is in the log. */
export function handlerFailed(errorId: string): StatefulError {
  const message = `The handler failed. The log has it under ${errorId}.`;
  return new StatefulError("handler_failed", message, { details: { errorId } });
}

export function startFailed(ref: ObjectRef, errorId: string, cause: unknown): StatefulError {
  const message = `onStart of ${ref.key} failed. The log has it under ${errorId}.`;
  return new StatefulError("start_failed", message, { cause, details: { errorId } });
}

/** Past a limit of the object. What was refused did not run, so it may come again. */
export function tooMany(ref: ObjectRef, what: string, max: number): StatefulError {
  return new StatefulError("queue_full", `${ref.key} has ${max} ${what}, which is its limit.`, {
    retryAfterMs: 1000,
  });
}

/** What the caller of a handler that ran is told when its answer must not leave. Never that it may simply be repeated. */
export function releaseFailure(thrown: unknown): unknown {
  return thrown instanceof StatefulError && thrown.retryable ? outcomeUnknown(thrown) : thrown;
}

/** Refused before it ran: more would only wait behind what is to be written. */
export function backlogged(ref: ObjectRef): StatefulError {
  const message = `${ref.key} has more to write than the directory takes at the moment.`;
  return new StatefulError("storage_backlog", message, { retryAfterMs: 1000 });
}

export function moveCalledOff(): StatefulError {
  return new StatefulError("not_owner", "The move was called off.");
}
