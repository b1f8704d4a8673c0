import type { HostRecord } from "../lease/directory.ts";
import { estimatedRoundTripMs } from "./distance.ts";
import type { PlacementQuestion, RankedHost } from "./placement.ts";

/** Hosts whose distances differ by less than this, or by less than the tenth part, count as equally near (P6). */
export const equallyNearMs = 2;
export const equallyNearShare = 0.1;

/** Each host with its distance from the caller, and where that figure comes from (P3, P4). */
export function withDistances(hosts: readonly HostRecord[], question: PlacementQuestion): RankedHost[] {
  const nearestMeasuredMs = new Map<string, number>();
  for (const host of question.hosts) {
    const measuredMs = measuredRoundTripMs(host, question);
    // 0 is the edge itself, which says nothing about the way to others.
    if (measuredMs === undefined || measuredMs === 0) continue;
    const knownMs = nearestMeasuredMs.get(host.region) ?? Number.POSITIVE_INFINITY;
    nearestMeasuredMs.set(host.region, Math.min(knownMs, measuredMs));
  }
  return hosts.map((host): RankedHost => {
    const measuredMs = measuredRoundTripMs(host, question);
    if (measuredMs !== undefined) return { host, distanceMs: measuredMs, distanceFrom: "measured" };
    const neighbourMs = nearestMeasuredMs.get(host.region);
    if (neighbourMs !== undefined) return { host, distanceMs: neighbourMs, distanceFrom: "neighbour" };
    const distanceMs = estimatedRoundTripMs(question.callerRegion, host.region);
    return { host, distanceMs, distanceFrom: "estimated" };
  });
}

/** What has been measured, if it can be a duration. */
export function measuredRoundTripMs(
  host: HostRecord,
  question: Pick<PlacementQuestion, "roundTripMs">,
): number | undefined {
  const measuredMs = question.roundTripMs(host);
  // A figure that cannot be a duration would leave the sort without an order.
  return measuredMs !== undefined && Number.isFinite(measuredMs) && measuredMs >= 0 ? measuredMs : undefined;
}

/**
 * Nearest first, in groups of hosts that are equally near. Two measurements are never equal, so without groups the host
 * with the luckiest microseconds would get every object of its region. A group reaches from its nearest host as far as
 * `equallyNearMs` and `equallyNearShare` say; the next host opens the next group.
 */
export function equallyNear(hosts: readonly RankedHost[]): RankedHost[][] {
  const groups: RankedHost[][] = [];
  let reachMs = Number.NEGATIVE_INFINITY;
  for (const host of hosts.toSorted((a, b) => a.distanceMs - b.distanceMs)) {
    const group = groups.at(-1);
    if (group !== undefined && host.distanceMs <= reachMs) {
      group.push(host);
    } else {
      reachMs = host.distanceMs + Math.max(equallyNearMs, host.distanceMs * equallyNearShare);
      groups.push([host]);
    }
  }
  return groups;
}
