import { describe, expect, test } from "bun:test";
import type { HostRecord } from "../../infra/lease/directory.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { place } from "../../infra/placement/place.ts";
import type { PlacementQuestion } from "../../infra/placement/placement.ts";
import { host, hostIds, measured, question } from "./questions.ts";

function firstChoice(
  id: string,
  hosts: readonly HostRecord[],
  sketch: Partial<PlacementQuestion> = {},
): string {
  const asked = question(hosts, { ...sketch, object: objectRef("room", id) });
  return place(asked).ranked[0]?.host.hostId ?? "nobody";
}

describe("P3 which distance counts", () => {
  const threeRegions = [
    host("iad", { region: "iad" }),
    host("ams", { region: "ams" }),
    host("nrt", { region: "nrt" }),
  ];

  test("P3 the great circle, until there is anything better", () => {
    const { ranked } = place(question(threeRegions, { callerRegion: "ams" }));
    expect(hostIds(ranked)).toEqual(["ams", "iad", "nrt"]);
    expect(ranked.map(({ distanceFrom }) => distanceFrom)).toEqual(["estimated", "estimated", "estimated"]);
  });

  test("P3 a measured round trip overrules the map", () => {
    const roundTripMs = measured({ iad: 240, ams: 0, nrt: 90 });
    const { ranked } = place(question(threeRegions, { callerRegion: "ams", roundTripMs }));
    expect(hostIds(ranked)).toEqual(["ams", "nrt", "iad"]);
    expect(ranked.map(({ distanceMs }) => distanceMs)).toEqual([0, 90, 240]);
  });

  test("P3 a host without a link is as far as its nearest measured neighbour", () => {
    const hosts = [
      host("nrt-1", { region: "nrt" }),
      host("nrt-2", { region: "nrt" }),
      host("nrt-3", { region: "nrt" }),
    ];
    const { ranked } = place(question(hosts, { roundTripMs: measured({ "nrt-1": 171, "nrt-2": 170 }) }));
    const third = ranked.find((each) => each.host.hostId === "nrt-3");
    expect(third).toMatchObject({ distanceMs: 170, distanceFrom: "neighbour" });
  });

  test("P3 a neighbour counts although it may not take the object itself", () => {
    const hosts = [host("nrt-1", { region: "nrt", draining: true }), host("nrt-2", { region: "nrt" })];
    const { ranked } = place(question(hosts, { roundTripMs: measured({ "nrt-1": 170 }) }));
    expect(ranked[0]).toMatchObject({ distanceMs: 170, distanceFrom: "neighbour" });
  });

  test("P3 the edge's own 0 says nothing about its neighbours", () => {
    const { ranked } = place(question([host("self"), host("other")], { roundTripMs: measured({ self: 0 }) }));
    const other = ranked.find((each) => each.host.hostId === "other");
    expect(other).toMatchObject({ distanceMs: 1, distanceFrom: "estimated" });
  });

  test("P3 what cannot be a duration counts as not measured", () => {
    for (const sick of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      const { ranked } = place(question([host("a")], { roundTripMs: () => sick }));
      expect(ranked[0]).toMatchObject({ distanceMs: 1, distanceFrom: "estimated" });
    }
  });
});

describe("P4 regions nobody knows", () => {
  test("P4 a host there comes last, and first for callers of that region", () => {
    const hosts = [host("far", { region: "syd" }), host("home", { region: "home" })];
    expect(hostIds(place(question(hosts)).ranked)).toEqual(["far", "home"]);
    expect(hostIds(place(question(hosts, { callerRegion: "home" })).ranked)).toEqual(["home", "far"]);
  });
});

describe("P6 equals share", () => {
  const five = ["a", "b", "c", "d", "e"].map((name) => host(name));
  const ids = Array.from({ length: 10_000 }, (_, index) => `object-${index}`);

  test("P6 ten thousand objects spread over five hosts, each within a tenth of its share", () => {
    const roundTripMs = measured({ a: 0, b: 0.31, c: 0.35, d: 0.4, e: 1.9 });
    const counts = Map.groupBy(ids, (id) => firstChoice(id, five, { roundTripMs }));
    expect([...counts.keys()].toSorted()).toEqual(["a", "b", "c", "d", "e"]);
    for (const { length } of counts.values()) expect(length).toBeWithin(1_800, 2_200);
  });

  test("P6 all edges of a region name the same first host, whatever each has measured", () => {
    for (const id of ids.slice(0, 200)) {
      const atA = firstChoice(id, five, { roundTripMs: measured({ a: 0, b: 0.9, c: 0.3 }) });
      const atB = firstChoice(id, five, { roundTripMs: measured({ b: 0, a: 0.2, e: 1.1 }) });
      expect(atB).toBe(atA);
    }
  });

  test("P6 a host that comes takes only what becomes its own", () => {
    const six = [...five, host("f")];
    const changed = ids.filter((id) => firstChoice(id, six) !== firstChoice(id, five));
    for (const id of changed) expect(firstChoice(id, six)).toBe("f");
    expect(changed.length).toBeWithin(1_400, 1_900);
  });

  test("P6 a host with a sick link is not an equal of its neighbours", () => {
    const roundTripMs = measured({ a: 0.3, b: 0.3, c: 400 });
    const { ranked } = place(question([host("a"), host("b"), host("c")], { roundTripMs }));
    expect(ranked[2]?.host.hostId).toBe("c");
  });

  test("P6 far away, a tenth is as good as the same", () => {
    const hosts = [host("near", { region: "x" }), host("as-near", { region: "y" })];
    const spreads = (roundTrips: Record<string, number>) =>
      new Set(ids.slice(0, 100).map((id) => firstChoice(id, hosts, { roundTripMs: measured(roundTrips) })));
    expect([...spreads({ near: 150, "as-near": 164 })].toSorted()).toEqual(["as-near", "near"]);
    expect([...spreads({ near: 150, "as-near": 166 })]).toEqual(["near"]);
  });
});
