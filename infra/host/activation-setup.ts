import type { Session } from "../lease/leases.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import type { CallsFrom } from "./object-calls.ts";

/** What an activation is made from. */
export interface ActivationSetup {
  readonly ref: ObjectRef;
  readonly runtime: ClassRuntime;
  readonly session: Session;
  readonly epoch: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Calls to other objects, on behalf of an event with that chain of callers. */
  callsFrom: CallsFrom;
  /** State of a class whose file was replaced in dev; undefined otherwise. */
  readonly carriedState?: object;
}
