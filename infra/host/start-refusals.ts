import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Activation } from "./activation.ts";

/** Why an object does not start here, each in the words that a caller reads. */
export function checkCloneable(activation: Activation): void {
  try {
    structuredClone(activation.lastState);
  } catch (cause) {
    const { className } = activation.ref;
    const message = `The state of class "${className}" cannot be cloned, so it could neither be saved nor moved: ${String(cause)}`;
    throw new StatefulError("start_failed", message, { cause });
  }
}

export function classMissing(ref: ObjectRef): StatefulError {
  const message = `This host does not run the class "${ref.className}".`;
  return new StatefulError("unknown_class", message, { details: { reason: "class_missing" } });
}

/** An edge that does not run the class cannot know its regions, so the host that was asked has the last word. */
export function outsideRegions(ref: ObjectRef, regions: readonly string[]): StatefulError {
  const message = `${ref.key} lives in ${regions.join(", ")} only.`;
  return new StatefulError("no_eligible_host", message, { details: { reason: "outside_pinned_regions" } });
}

export function waitsForDirectory(ref: ObjectRef): StatefulError {
  const message = `${ref.key} cannot be served: this host waits to have its lease confirmed.`;
  return new StatefulError("session_over", message, { retryAfterMs: 1000 });
}

export function callCycle(ref: ObjectRef, chain: readonly string[]): StatefulError {
  const path = [...chain, ref.key].join(" → ");
  return new StatefulError("call_cycle", `The call comes back to an object that waits for it: ${path}.`);
}

export function tooManyWait(ref: ObjectRef, waiting: number): StatefulError {
  const message = `${ref.key} is about to start, and ${waiting} wait for it already, which is its limit.`;
  return new StatefulError("queue_full", message, { retryAfterMs: 1000 });
}

export function dataTooNew(ref: ObjectRef, stored: number, known: number): StatefulError {
  const message = `${ref.key} is of version ${stored}, and this host's class knows ${known}.`;
  return new StatefulError("move_failed", message);
}
