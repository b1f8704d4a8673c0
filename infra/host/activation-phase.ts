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
 *   live ──a planned move──▶ moving ──the lease names the target──▶ over
 *     ▲                        │
 *     └─────called off─────────┘
 *
 * A stop that the end of the session overtakes is remembered: once `onStop` has begun there is no way back to live, and
 * adoption only finishes the stop. Before that nothing has happened to the object, and it lives on.
 *
 * While it moves no new event enters; those that are inside go on to their end. A session that ends meanwhile suspends it like
 * any other: whoever adopts it finds out whether it had moved.
 *
 * Once over, over for good, with the first cause. A suspended activation serves nobody; requests are refused, socket
 * messages wait, and it goes on only after the primary confirmed that nobody owned the object in between.
 */
export type Phase =
  | { readonly name: "starting"; readonly session: Session }
  | { readonly name: "live"; readonly session: Session; readonly epoch: number }
  | SuspendedPhase
  | {
      readonly name: "moving";
      readonly session: Session;
      readonly epoch: number;
      /** What it is has been packed: what happens from here on does not travel, so nobody is told of it. */
      readonly isPacked: boolean;
    }
  | {
      readonly name: "stopping";
      readonly session: Session;
      readonly epoch: number;
      readonly onStop: "waiting" | "running";
    }
  | { readonly name: "over"; readonly cause: StatefulError };

interface SuspendedPhase {
  readonly name: "suspended";
  readonly session: Session;
  readonly epoch: number;
  readonly onStop: "waiting" | "running" | "done";
  /** L8: it goes on although nobody confirms that it may. */
  readonly isServing: boolean;
}

/** Its session is over: what was live, moving or stopping waits for the next. `serves`: without ceasing to serve (L8). */
export function suspended(phase: Phase, serves: boolean): Phase {
  if (phase.name !== "live" && phase.name !== "moving" && phase.name !== "stopping") return phase;
  const { session, epoch } = phase;
  const onStop = phase.name === "stopping" ? phase.onStop : "waiting";
  return { name: "suspended", session, epoch, onStop, isServing: serves && phase.name === "live" };
}

/** Adopted by the next session. `onStop: "done"` stays as it is: all that is left is to end it. */
export function adopted(phase: SuspendedPhase, session: Session, epoch: number): Phase {
  switch (phase.onStop) {
    case "waiting":
      return { name: "live", session, epoch };
    case "running":
      return { name: "stopping", session, epoch, onStop: "running" };
    case "done":
      return { ...phase, session, epoch };
  }
}

/** Why no event may enter now; undefined where one may. */
export function whyNotAccepting(phase: Phase, ref: ObjectRef): StatefulError | undefined {
  if (phase.name !== "moving") return whyNotGoingOn(phase, ref);
  return new StatefulError("not_owner", `${ref.key} is moving.`, { retryAfterMs: 1000 });
}

/** Why an event that has entered, and has waited since, may not go on; undefined where it may. */
export function whyNotGoingOn(phase: Phase, ref: ObjectRef): StatefulError | undefined {
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
    case "moving":
      if (!phase.session.isValid()) return sessionOver(ref);
      return phase.isPacked ? new StatefulError("not_owner", `${ref.key} is moving.`) : undefined;
    case "suspended":
      return phase.isServing ? undefined : sessionOver(ref);
    case "over":
      return phase.cause;
  }
}

function sessionOver(ref: ObjectRef): StatefulError {
  const message = `${ref.key} cannot be served: this host waits to have its lease confirmed.`;
  return new StatefulError("session_over", message, { retryAfterMs: 1000 });
}
