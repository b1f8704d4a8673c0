import type { Session } from "../lease/leases.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/**
 * The phases of an activation. It accepts events and releases effects only while its lease is valid, which it checks by
 * itself, before each, on the local clock (rule L3).
 *
 *   starting ──onStart──▶ live ──idle, reload, drain──▶ stopping ──onStop──▶ over
 *                          │ ▲
 *           session over   ▼ │ adopted by the next session (L1)
 *                       suspended ──somebody else has it──▶ over
 *
 * Once over, over for good, with the first cause. A suspended activation serves nobody; requests are refused, socket
 * messages wait, and it goes on only after the primary confirmed that nobody owned the object in between.
 */
export type Phase =
  | { readonly name: "starting"; readonly session: Session }
  | { readonly name: "live"; readonly session: Session; readonly epoch: number }
  | { readonly name: "suspended"; readonly session: Session; readonly epoch: number }
  | { readonly name: "stopping"; readonly session: Session; readonly epoch: number }
  | { readonly name: "over"; readonly cause: StatefulError };

/** Why no event may enter now; undefined where one may. */
export function whyNotAccepting(phase: Phase, ref: ObjectRef): StatefulError | undefined {
  if (phase.name !== "starting" && phase.name !== "stopping") return whyNotReleasing(phase, ref);
  return new StatefulError("not_owner", `${ref.key} is ${phase.name}.`, { retryAfterMs: 1000 });
}

/** Why no effect may leave now (L3); undefined where one may. Hooks of a start and of a stop may have effects. */
export function whyNotReleasing(phase: Phase, ref: ObjectRef): StatefulError | undefined {
  switch (phase.name) {
    case "starting":
    case "live":
    case "stopping":
      return phase.session.isValid() ? undefined : sessionOver(ref);
    case "suspended":
      return sessionOver(ref);
    case "over":
      return phase.cause;
  }
}

function sessionOver(ref: ObjectRef): StatefulError {
  const message = `${ref.key} cannot be served: this host waits to have its lease confirmed.`;
  return new StatefulError("session_over", message, { retryAfterMs: 1000 });
}
