import type { HostLoad } from "../lease/directory.ts";
import { StatefulError } from "../lib/errors.ts";

/** Live activations of one host, unless it is told otherwise: at about 1 KiB each beside the authors' state, 250 MiB. */
export const objectsMaxDefault = 250_000;
/** Of the machine's memory: above it nothing new is placed on a host, unless it is told otherwise. */
export const memoryShareDefault = 0.8;

/**
 * Shares of `memoryLimitBytes` between which `MemoryGuard` keeps the host. Past the high one it refuses placements and makes
 * room; it goes on with both until it is under the low one, so that a host which is nearly full does not swing to and fro. The
 * limit itself stays what it was: whatever the guard has come to, nothing is placed above it. Marks further apart mean fewer
 * and longer spells of refusing; a higher high mark means fuller hosts and less room for what grows between two looks.
 */
export const memoryMarks = { highShare: 0.85, lowShare: 0.7 } as const;

/** Why a host that is under its hard limits takes nothing new for now. */
export type PressureReason = "memory_limit" | "overloaded";

/** Throws `host_full` with the reason that placement shows. `pressure`: what the host's guard says. */
export function checkRoom(load: HostLoad, pressure?: PressureReason): void {
  if (load.objects >= load.objectsMax) {
    throw hostFull("object_limit", `This host runs ${load.objectsMax} objects, which is its limit.`);
  }
  if (load.memoryUsedBytes >= load.memoryLimitBytes) {
    throw hostFull("memory_limit", "This host uses more memory than it takes new objects with.");
  }
  if (pressure === "memory_limit") {
    throw hostFull(pressure, "This host makes room in its memory, and takes new objects once it has.");
  }
  if (pressure === "overloaded") {
    throw hostFull(pressure, "This host is late with all that it does, and takes nothing new meanwhile.");
  }
}

function hostFull(reason: "object_limit" | PressureReason, message: string): StatefulError {
  return new StatefulError("host_full", message, { details: { reason }, retryAfterMs: 1000 });
}
