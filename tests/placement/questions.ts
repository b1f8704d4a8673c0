import fc from "fast-check";
import type { HostLoad, HostRecord } from "../../infra/lease/directory.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { PlacementQuestion } from "../../infra/placement/placement.ts";
import { currentRegions } from "../../infra/placement/regions.ts";

export interface HostSketch extends Partial<Omit<HostRecord, "load">> {
  readonly load?: Partial<HostLoad>;
}

const emptyLoad: HostLoad = { objects: 0, objectsMax: 1000, memoryUsedBytes: 0, memoryLimitBytes: 1024 ** 3 };

/** A host that may take a `room`, but for what the sketch says. */
export function host(hostId: string, sketch: HostSketch = {}): HostRecord {
  return {
    session: `session-of-${hostId}`,
    hostId,
    region: "iad",
    privateUrl: `http://${hostId}.private:7000`,
    publicUrl: `http://${hostId}.public`,
    classes: ["room"],
    version: "1",
    draining: false,
    ...sketch,
    load: { ...emptyLoad, ...sketch.load },
  };
}

/** A question about `room/lobby` from `iad`, by the nearest strategy, with nothing measured, but for what the sketch says. */
export function question(
  hosts: readonly HostRecord[],
  sketch: Partial<PlacementQuestion> = {},
): PlacementQuestion {
  return {
    object: objectRef("room", "lobby"),
    policy: { strategy: "nearest", regions: [] },
    callerRegion: "iad",
    hosts,
    roundTripMs: () => undefined,
    ...sketch,
  };
}

/** Round trips by host id. */
export function measured(roundTrips: Readonly<Record<string, number>>): PlacementQuestion["roundTripMs"] {
  return ({ hostId }) => roundTrips[hostId];
}

export function hostIds(hosts: readonly { readonly host: HostRecord }[]): string[] {
  return hosts.map((ranked) => ranked.host.hostId);
}

const anyRegion = fc.constantFrom(...currentRegions.slice(0, 5).map(({ code }) => code), "home", "nowhere");

const anyHost = fc
  .record({
    region: anyRegion,
    classes: fc.subarray(["room", "counter", "channel"]),
    draining: fc.boolean(),
    load: fc.record({
      objects: fc.nat(12),
      objectsMax: fc.constant(10),
      memoryUsedBytes: fc.nat(12),
      memoryLimitBytes: fc.constant(10),
    }),
    roundTripMs: fc.option(fc.oneof(fc.double({ min: 0, max: 400, noNaN: true }), fc.constant(Number.NaN)), {
      nil: undefined,
    }),
  })
  .map(({ roundTripMs, ...sketch }) => ({ sketch, roundTripMs }));

/** Any question at all, sick figures included. */
export const anyQuestion: fc.Arbitrary<PlacementQuestion> = fc
  .record({
    hosts: fc.array(anyHost, { maxLength: 12 }),
    strategy: fc.constantFrom("nearest", "pinned", "least-loaded"),
    regions: fc.uniqueArray(anyRegion, { maxLength: 3 }),
    callerRegion: anyRegion,
    id: fc.stringMatching(/^[a-z0-9]{1,8}$/),
  })
  .map(({ hosts, strategy, regions, callerRegion, id }) => {
    const records = hosts.map(({ sketch }, index) => host(`h${index}`, sketch));
    const roundTrips = new Map(hosts.map(({ roundTripMs }, index) => [`h${index}`, roundTripMs]));
    return question(records, {
      object: objectRef("room", id),
      policy: { strategy, regions },
      callerRegion,
      roundTripMs: ({ hostId }) => roundTrips.get(hostId),
    });
  });
