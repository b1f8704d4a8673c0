import type { HostRecord } from "../lease/directory.ts";
import { estimatedRoundTripMs } from "./distance.ts";
import { measuredRoundTripMs } from "./nearness.ts";
import type { DistanceSource, PlacementQuestion, RankedHost } from "./placement.ts";
import type { RegionShare } from "./traffic.ts";

/**
 * How far an object's users would be from any host, as its present owner knows it. The owner has measured the ways that
 * begin at itself, and no others; between two foreign regions there is only the map. But two measured ways from
 * here bound the third: nobody is farther from a host than the way over us, nor nearer than the difference of the two. The
 * estimate is kept inside these bounds (P11), which matters where the map knows nothing (P4) or cables make a detour.
 */
export interface OwnerView extends Pick<PlacementQuestion, "hosts" | "roundTripMs"> {
  readonly owner: { readonly region: string };
  /** Where the object's events come from. Empty: it is taken to be all from the owner's region. */
  readonly traffic: readonly RegionShare[];
}

export type Distance = Pick<RankedHost, "distanceMs" | "distanceFrom">;

export interface RegionDistances {
  /** The round trip between an edge of a region and a host. */
  toHost(region: string, host: HostRecord): Distance;
  /** The same to the owner. */
  toOwner(region: string): Distance;
}

export function regionDistances(view: OwnerView): RegionDistances {
  const here = view.owner.region;
  const legs = measuredLegs(view);
  const toOwner = (region: string): Distance => {
    const legMs = region === here ? undefined : legs.get(region);
    if (legMs !== undefined) return { distanceMs: legMs, distanceFrom: "neighbour" };
    return { distanceMs: estimatedRoundTripMs(region, here), distanceFrom: "estimated" };
  };
  const toHost = (region: string, host: HostRecord): Distance => {
    if (host.region === here) return toOwner(region);
    if (region === here) {
      const measuredMs = measuredRoundTripMs(host, view);
      return measuredMs === undefined
        ? toOwner(host.region)
        : { distanceMs: measuredMs, distanceFrom: "measured" };
    }
    const estimateMs = estimatedRoundTripMs(region, host.region);
    const [legMs, legToHostMs] = [legs.get(region), legs.get(host.region)];
    if (region === host.region || legMs === undefined || legToHostMs === undefined) {
      return { distanceMs: estimateMs, distanceFrom: "estimated" };
    }
    const boundedMs = Math.min(legMs + legToHostMs, Math.max(Math.abs(legMs - legToHostMs), estimateMs));
    return { distanceMs: boundedMs, distanceFrom: "estimated" };
  };
  return { toHost, toOwner };
}

/** The smallest round trip that the owner has measured to each other region. */
function measuredLegs(view: OwnerView): ReadonlyMap<string, number> {
  const legs = new Map<string, number>();
  for (const host of view.hosts) {
    const measuredMs = host.region === view.owner.region ? undefined : measuredRoundTripMs(host, view);
    // 0 is the owner itself.
    if (measuredMs === undefined || measuredMs === 0) continue;
    legs.set(host.region, Math.min(legs.get(host.region) ?? Number.POSITIVE_INFINITY, measuredMs));
  }
  return legs;
}

export interface MeanDistances {
  toHost(host: HostRecord): Distance;
  readonly toOwner: Distance;
}

/**
 * What an event of the object costs where it is, and would at a host: Σ over regions (share of the traffic from there) ×
 * (round trip from there). The source is that of the weakest figure that went in.
 */
export function meanDistances(view: OwnerView): MeanDistances {
  const { toHost, toOwner } = regionDistances(view);
  const traffic = weighted(view);
  return {
    toHost: (host) => mean(traffic, (region) => toHost(region, host)),
    toOwner: mean(traffic, toOwner),
  };
}

function mean(traffic: readonly RegionShare[], distanceFromRegion: (region: string) => Distance): Distance {
  let distanceMs = 0;
  let weakest: DistanceSource = "measured";
  for (const { region, share } of traffic) {
    const distance = distanceFromRegion(region);
    distanceMs += share * distance.distanceMs;
    if (strength[distance.distanceFrom] < strength[weakest]) weakest = distance.distanceFrom;
  }
  return { distanceMs, distanceFrom: weakest };
}

const strength: Readonly<Record<DistanceSource, number>> = { measured: 2, neighbour: 1, estimated: 0 };

/** Shares that add up to 1; what cannot be a share is left out. */
function weighted({ traffic, owner }: OwnerView): readonly RegionShare[] {
  const usable = traffic.filter(({ share }) => Number.isFinite(share) && share > 0);
  const sum = usable.reduce((total, { share }) => total + share, 0);
  if (sum === 0 || !Number.isFinite(sum)) return [{ region: owner.region, share: 1 }];
  return usable.map(({ region, share }) => ({ region, share: share / sum }));
}
