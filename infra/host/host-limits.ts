import type { HostLoad } from "../lease/directory.ts";
import { StatefulError } from "../lib/errors.ts";

/** What one host takes on. Past a limit it refuses placements and says why; what runs goes on. */
export interface HostLimits {
  /** Live activations. Default 250,000: at about 1 KiB each beside the authors' state, 250 MiB. */
  readonly objectsMax: number;
  /** Resident memory above which nothing new is placed here. Default 80 % of the machine's. */
  readonly memoryLimitBytes: number;
}

export const objectsMaxDefault = 250_000;
export const memoryShareDefault = 0.8;

/** Throws `host_full` with the reason that placement shows. */
export function checkRoom(load: HostLoad): void {
  if (load.objects >= load.objectsMax) {
    throw hostFull("object_limit", `This host runs ${load.objectsMax} objects, which is its limit.`);
  }
  if (load.memoryUsedBytes >= load.memoryLimitBytes) {
    throw hostFull("memory_limit", "This host uses more memory than it takes new objects with.");
  }
}

function hostFull(reason: "object_limit" | "memory_limit", message: string): StatefulError {
  return new StatefulError("host_full", message, { details: { reason }, retryAfterMs: 1000 });
}
