import type { HostRecord } from "../lease/directory.ts";
import { commonVersion, firstVersionOnly } from "../lib/version-range.ts";
import type { PlacementQuestion, RefusalReason, RefusedHost } from "./placement.ts";
import { compareText } from "./rendezvous.ts";

type Asked = Pick<PlacementQuestion, "object" | "policy" | "linkVersions">;

/**
 * Why this host may not take the object, or undefined where it may (P1, P2). Of several reasons the one that lasts
 * longest is given: code and regions change with a deployment, limits with the next idle stop.
 */
export function refusalReason(host: HostRecord, asked: Asked): RefusalReason | undefined {
  return lastingReason(host, asked) ?? passingReason(host);
}

/** What the host will say for as long as it runs. */
export function lastingReason(host: HostRecord, asked: Asked): RefusalReason | undefined {
  const { object, policy, linkVersions } = asked;
  if (!host.classes.includes(object.className)) return "class_missing";
  if (!isInsideRegions(host, policy)) return "outside_pinned_regions";
  const theirs = host.linkVersions ?? firstVersionOnly;
  if (linkVersions && commonVersion(theirs, linkVersions) === undefined) return "other_protocol";
  return undefined;
}

/** What it says now, whatever the object. */
export function passingReason({
  draining,
  load,
}: Pick<HostRecord, "draining" | "load">): RefusalReason | undefined {
  if (draining) return "draining";
  if (load.objects >= load.objectsMax) return "object_limit";
  if (load.memoryUsedBytes >= load.memoryLimitBytes) return "memory_limit";
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

/** By host, so that the answer does not depend on the order in which the hosts came (P5). */
export function inOrder(refused: readonly RefusedHost[]): RefusedHost[] {
  return refused.toSorted((a, b) => compareText(a.hostId, b.hostId) || compareText(a.session, b.session));
}
