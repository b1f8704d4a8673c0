import type { HostLoad } from "../lease/directory.ts";
import type { PlacementStrategy, RankedHost } from "./placement.ts";
import { nearest } from "./strategy-nearest.ts";

/**
 * Load figures are up to one renewal interval old. Hosts in the same step count as equally loaded and share what comes,
 * so that one that was emptiest by a hair does not get everything until the next renewal.
 */
export const loadStep = 0.05;

/** Emptiest host in the nearest region, then the emptiest in the next (P7). */
export const leastLoaded: PlacementStrategy = (eligible, object) => {
  const byRegion = Map.groupBy(nearest(eligible, object), (ranked) => ranked.host.region);
  // The sort is stable: equally loaded hosts keep the order that `nearest` gave them.
  return [...byRegion.values()].flatMap((hosts) => hosts.toSorted((a, b) => loadSteps(a) - loadSteps(b)));
};

function loadSteps({ host }: RankedHost): number {
  return Math.floor(loadShare(host.load) / loadStep);
}

/** How full a host is, from 0 to 1, by whichever limit it will meet first. */
export function loadShare(load: HostLoad): number {
  return Math.max(load.objects / load.objectsMax, load.memoryUsedBytes / load.memoryLimitBytes);
}
