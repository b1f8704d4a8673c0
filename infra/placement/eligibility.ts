import type { HostRecord } from "../lease/directory.ts";
import type { PlacementQuestion, RefusalReason, RefusedHost } from "./placement.ts";

/**
 * Why this host may not take the object, or undefined where it may (P1, P2). Of several reasons the one that lasts
 * longest is given: code and regions change with a deployment, limits with the next idle stop.
 */
export function refusalReason(host: HostRecord, question: PlacementQuestion): RefusalReason | undefined {
  const { objects, objectsMax, memoryUsedBytes, memoryLimitBytes } = host.load;
  if (!host.classes.includes(question.object.className)) return "class_missing";
  if (!isInsideRegions(host, question.policy)) return "outside_pinned_regions";
  if (host.draining) return "draining";
  if (objects >= objectsMax) return "object_limit";
  if (memoryUsedBytes >= memoryLimitBytes) return "memory_limit";
  return undefined;
}

function isInsideRegions(host: HostRecord, policy: PlacementQuestion["policy"]): boolean {
  if (policy.regions.length === 0) return policy.strategy !== "pinned";
  return policy.regions.includes(host.region);
}

/** A refusal as data: all that others need to know of a host that did not get the object. */
export function refusal(host: HostRecord, reason: RefusalReason): RefusedHost {
  return { session: host.session, hostId: host.hostId, region: host.region, reason };
}
