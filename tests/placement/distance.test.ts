import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  estimatedRoundTripMs,
  greatCircleKm,
  sameRegionMs,
  unknownDistanceMs,
} from "../../infra/placement/distance.ts";
import { currentRegions, region, retiredRegions } from "../../infra/placement/regions.ts";

const allRegions = [...currentRegions, ...retiredRegions];
const anyRegion = fc.constantFrom(...allRegions);

describe("the table of regions", () => {
  test("has every code once, three letters each, on the globe", () => {
    expect(currentRegions.length).toBe(18);
    expect(new Set(allRegions.map(({ code }) => code)).size).toBe(allRegions.length);
    for (const { code, city, latitude, longitude } of allRegions) {
      expect(code).toMatch(/^[a-z]{3}$/);
      expect(city).not.toBe("");
      expect(Math.abs(latitude)).toBeLessThanOrEqual(90);
      expect(Math.abs(longitude)).toBeLessThanOrEqual(180);
    }
  });

  test("knows no region by the name of a property", () => {
    expect(region("__proto__")).toBeUndefined();
    expect(region("constructor")).toBeUndefined();
    expect(region("ams")?.city).toBe("Amsterdam, Netherlands");
  });
});

describe("great circle", () => {
  test("agrees with published distances to one per cent", () => {
    const published = [
      ["ams", "iad", 6210],
      ["iad", "nrt", 10900],
      ["lhr", "syd", 17000],
      ["gru", "jnb", 7440],
    ] as const;
    for (const [from, to, km] of published) {
      const [a, b] = [region(from), region(to)];
      if (!a || !b) throw new Error(`${from} or ${to} is not in the table`);
      expect(Math.abs(greatCircleKm(a, b) - km) / km).toBeLessThan(0.01);
    }
  });

  test("is a distance: zero to itself, the same both ways, never longer by a detour", () => {
    fc.assert(
      fc.property(anyRegion, anyRegion, anyRegion, (a, b, c) => {
        expect(greatCircleKm(a, a)).toBe(0);
        expect(greatCircleKm(a, b)).toBeCloseTo(greatCircleKm(b, a), 6);
        expect(greatCircleKm(a, c)).toBeLessThanOrEqual(greatCircleKm(a, b) + greatCircleKm(b, c) + 1e-6);
      }),
    );
  });

  test("crosses the date line and reaches the antipode", () => {
    const west = { latitude: 0, longitude: 179 };
    const east = { latitude: 0, longitude: -179 };
    expect(greatCircleKm(west, east)).toBeCloseTo(222.4, 0);
    const antipode = greatCircleKm({ latitude: 40, longitude: 10 }, { latitude: -40, longitude: -170 });
    expect(antipode).toBeCloseTo(Math.PI * 6371, 0);
  });
});

describe("estimated round trip", () => {
  test("is near to what is measured between well-connected regions", () => {
    expect(estimatedRoundTripMs("iad", "ams")).toBeWithin(80, 95);
    expect(estimatedRoundTripMs("iad", "nrt")).toBeWithin(145, 170);
    expect(estimatedRoundTripMs("lhr", "ams")).toBeWithin(4, 9);
  });

  test("has a floor within a region", () => {
    expect(estimatedRoundTripMs("ams", "ams")).toBe(sameRegionMs);
  });

  test("P4 an unknown region is farther than any known one, but near to itself", () => {
    expect(estimatedRoundTripMs("home", "ams")).toBe(unknownDistanceMs);
    expect(estimatedRoundTripMs("ams", "home")).toBe(unknownDistanceMs);
    expect(estimatedRoundTripMs("home", "home")).toBe(sameRegionMs);
    fc.assert(
      fc.property(anyRegion, anyRegion, (a, b) => {
        expect(estimatedRoundTripMs(a.code, b.code)).toBeLessThan(unknownDistanceMs);
      }),
    );
  });
});
