import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { HostRecord } from "../../infra/lease/directory.ts";
import { estimatedRoundTripMs, unknownDistanceMs } from "../../infra/placement/distance.ts";
import { meanDistances, type OwnerView, regionDistances } from "../../infra/placement/region-distance.ts";
import { someRegions, sharesOf } from "./moves.ts";
import { host, measured } from "./questions.ts";

const iad = host("iad");
const nrt = host("nrt", { region: "nrt" });
const nrt2 = host("nrt2", { region: "nrt" });
const ams = host("ams", { region: "ams" });
const home = host("home", { region: "home" });
const hosts = [iad, nrt, nrt2, ams, home];

function view(
  roundTrips: Readonly<Record<string, number>> = {},
  traffic: Readonly<Record<string, number>> = {},
): OwnerView {
  return { owner: { region: "iad" }, hosts, traffic: sharesOf(traffic), roundTripMs: measured(roundTrips) };
}

describe("P11 how far users are from a host, as the owner knows it", () => {
  test("P11 the map, while nothing is measured", () => {
    const { toHost, toOwner } = regionDistances(view());
    expect(toHost("ams", nrt)).toEqual({
      distanceMs: estimatedRoundTripMs("ams", "nrt"),
      distanceFrom: "estimated",
    });
    expect(toHost("nrt", nrt)).toEqual({ distanceMs: 1, distanceFrom: "estimated" });
    expect(toOwner("iad")).toEqual({ distanceMs: 1, distanceFrom: "estimated" });
  });

  test("P11 the owner's own region: the link to that host, else to its neighbour", () => {
    const { toHost } = regionDistances(view({ nrt: 180, iad: 0 }));
    expect(toHost("iad", nrt)).toEqual({ distanceMs: 180, distanceFrom: "measured" });
    expect(toHost("iad", nrt2)).toEqual({ distanceMs: 180, distanceFrom: "neighbour" });
  });

  test("P11 to the owner's region the same way counts in the other direction", () => {
    const { toHost, toOwner } = regionDistances(view({ nrt: 180, nrt2: 175 }));
    expect(toOwner("nrt")).toEqual({ distanceMs: 175, distanceFrom: "neighbour" });
    expect(toHost("nrt", iad)).toEqual(toOwner("nrt"));
  });

  test("P11 between two others: the map, but no farther than over the owner and no nearer than the difference", () => {
    const between = (nrtMs: number, amsMs: number) =>
      regionDistances(view({ nrt: nrtMs, ams: amsMs })).toHost("ams", nrt).distanceMs;
    const byMap = estimatedRoundTripMs("ams", "nrt");
    expect(between(150, 80)).toBe(byMap);
    expect(between(20, 30)).toBe(50);
    expect(between(400, 80)).toBe(320);
    expect(regionDistances(view({ nrt: 400 })).toHost("ams", nrt).distanceMs).toBe(byMap);
  });

  test("P11 so regions that the map does not know are no farther than they can be", () => {
    expect(regionDistances(view()).toHost("nrt", home).distanceMs).toBe(unknownDistanceMs);
    expect(regionDistances(view({ home: 5, nrt: 30 })).toHost("nrt", home).distanceMs).toBe(35);
  });

  test("P11 figures that cannot be durations count as not measured", () => {
    for (const sick of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      expect(regionDistances(view({ nrt: sick, nrt2: sick })).toHost("iad", nrt)).toEqual({
        distanceMs: estimatedRoundTripMs("iad", "nrt"),
        distanceFrom: "estimated",
      });
    }
  });

  test("P11 within the bounds, whatever is measured", () => {
    const anyTrip = fc.double({ min: 0.1, max: 400, noNaN: true });
    fc.assert(
      fc.property(anyTrip, anyTrip, fc.constantFrom(...someRegions), (there, here, region) => {
        if (region === "iad" || region === "nrt") return;
        const other: HostRecord = host("other", { region });
        const seen = { ...view({ nrt: there, nrt2: there, other: here }), hosts: [nrt, nrt2, other] };
        const { distanceMs } = regionDistances(seen).toHost(region, nrt);
        expect(distanceMs).toBeGreaterThanOrEqual(Math.abs(there - here));
        expect(distanceMs).toBeLessThanOrEqual(there + here);
      }),
    );
  });
});

describe("P12 what an event costs", () => {
  test("P12 the mean over the traffic, here and there", () => {
    const { toHost, toOwner } = meanDistances(view({ nrt: 160, nrt2: 160 }, { iad: 0.25, nrt: 0.75 }));
    expect(toOwner).toEqual({ distanceMs: 0.25 * 1 + 0.75 * 160, distanceFrom: "estimated" });
    expect(toHost(nrt).distanceMs).toBe(0.25 * 160 + 0.75 * 1);
  });

  test("P12 shares that do not add up to one are weights", () => {
    const { toHost } = meanDistances(view({ nrt: 160 }, { iad: 3, nrt: 1, sick: Number.NaN, none: -1 }));
    expect(toHost(nrt).distanceMs).toBe(0.75 * 160 + 0.25 * 1);
  });

  test("P12 the source is that of the weakest figure", () => {
    expect(meanDistances(view({ nrt: 160 }, { iad: 1 })).toHost(nrt).distanceFrom).toBe("measured");
    expect(meanDistances(view({ nrt: 160 }, { iad: 1 })).toHost(nrt2).distanceFrom).toBe("neighbour");
    expect(meanDistances(view({ nrt: 160 }, { iad: 9, ams: 1 })).toHost(nrt).distanceFrom).toBe("estimated");
  });
});
