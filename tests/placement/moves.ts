import fc from "fast-check";
import type { HostRecord } from "../../infra/lease/directory.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { FollowQuestion } from "../../infra/placement/follow.ts";
import type { MoveQuestion } from "../../infra/placement/move-targets.ts";
import type { PlacementPolicy } from "../../infra/placement/placement.ts";
import { currentRegions } from "../../infra/placement/regions.ts";
import type { RegionShare, TrafficSample } from "../../infra/placement/traffic.ts";
import { host } from "./questions.ts";

const anywhere: PlacementPolicy = { strategy: "nearest", regions: [] };

/** `room/lobby` is to leave a host that drains, all its traffic coming from there, but for what the sketch says. */
export function moveQuestion(
  hosts: readonly HostRecord[],
  owner: HostRecord,
  sketch: Partial<MoveQuestion> = {},
): MoveQuestion {
  return {
    object: objectRef("room", "lobby"),
    policy: anywhere,
    hosts,
    owner,
    traffic: [],
    cause: { kind: "drain" },
    roundTripMs: () => undefined,
    ...sketch,
  };
}

/** Whether `room/lobby`, which has been where it is for an hour, should follow a thousand events, but for the sketch. */
export function followQuestion(
  hosts: readonly HostRecord[],
  owner: HostRecord,
  shares: Readonly<Record<string, number>>,
  sketch: Partial<FollowQuestion> = {},
): FollowQuestion {
  return {
    object: objectRef("room", "lobby"),
    policy: anywhere,
    hosts,
    owner,
    traffic: { events: 1000, shares: sharesOf(shares) },
    activeForMs: 3_600_000,
    roundTripMs: () => undefined,
    ...sketch,
  };
}

export function sharesOf(shares: Readonly<Record<string, number>>): RegionShare[] {
  return Object.entries(shares).map(([region, share]) => ({ region, share }));
}

export const someRegions = [...currentRegions.map(({ code }) => code), "home", "nowhere"];

/** Traffic from one to five regions, of any proportions. */
export const anyTraffic: fc.Arbitrary<TrafficSample> = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...someRegions), fc.integer({ min: 1, max: 100 })), {
    minLength: 1,
    maxLength: 5,
    selector: ([region]) => region,
  })
  .map((weights) => {
    const sum = weights.reduce((total, [, weight]) => total + weight, 0);
    return { events: 1000, shares: weights.map(([region, weight]) => ({ region, share: weight / sum })) };
  });

/** Hosts of any region, load and version, most of which may take a `room`. */
export const anyHosts: fc.Arbitrary<HostRecord[]> = fc
  .array(
    fc.record({
      region: fc.constantFrom(...someRegions),
      version: fc.constantFrom("v1", "v1", "v9", "v10"),
      classes: fc.constantFrom(["room"], ["room"], ["room"], ["counter"]),
      draining: fc.constantFrom(false, false, false, true),
      load: fc.record({ objects: fc.nat(1050), memoryUsedBytes: fc.nat(1024 ** 3) }),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((sketches) => sketches.map((sketch, index) => host(`h${index}`, sketch)));
