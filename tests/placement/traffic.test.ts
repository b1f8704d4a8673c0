import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  TrafficCounter,
  trafficHalfLifeMs,
  trafficRegionsMax,
  trafficStepMs,
} from "../../infra/placement/traffic.ts";

function counted(events: Readonly<Record<string, number>>, nowMs = 0): TrafficCounter {
  const counter = new TrafficCounter(nowMs);
  for (const [region, count] of Object.entries(events))
    for (let index = 0; index < count; index++) counter.count(region, nowMs);
  return counter;
}

describe("P12 where the traffic comes from", () => {
  test("P12 nothing yet", () => {
    expect(new TrafficCounter(5).sample(7)).toEqual({ events: 0, shares: [] });
  });

  test("P12 one region, and several: largest first, equals by name", () => {
    expect(counted({ iad: 3 }).sample(0)).toEqual({ events: 3, shares: [{ region: "iad", share: 1 }] });
    expect(counted({ nrt: 1, iad: 2, ams: 1 }).sample(0)).toEqual({
      events: 4,
      shares: [
        { region: "iad", share: 0.5 },
        { region: "ams", share: 0.25 },
        { region: "nrt", share: 0.25 },
      ],
    });
  });

  test("P12 half as much after a half-life; the shares of what is gone stay", () => {
    const counter = counted({ iad: 30, nrt: 10 });
    const { events, shares } = counter.sample(trafficHalfLifeMs);
    expect(events).toBeCloseTo(20, 9);
    expect(shares.map(({ share }) => share)).toEqual([0.75, 0.25]);
    expect(counter.sample(2 * trafficHalfLifeMs).events).toBeCloseTo(10, 9);
  });

  test("P12 what is new outweighs what is old", () => {
    const counter = counted({ iad: 100 });
    for (let index = 0; index < 100; index++) counter.count("nrt", 3 * trafficHalfLifeMs);
    const [most] = counter.sample(3 * trafficHalfLifeMs).shares;
    expect(most?.region).toBe("nrt");
    expect(most?.share).toBeCloseTo(100 / 112.5, 6);
  });

  test("P12 steady traffic comes to rest at rate × half-life ÷ ln 2", () => {
    const counter = new TrafficCounter(0);
    let nowMs = 0;
    for (; nowMs < 12 * trafficHalfLifeMs; nowMs += 1000) counter.count("iad", nowMs);
    const expected = trafficHalfLifeMs / 1000 / Math.LN2;
    expect(counter.sample(nowMs).events / expected).toBeWithin(0.98, 1.02);
  });

  test("P12 a region of long ago is forgotten, also the first; another takes its place", () => {
    const counter = counted({ iad: 50, nrt: 1 });
    const laterMs = 30 * trafficHalfLifeMs;
    expect(counter.sample(laterMs)).toEqual({ events: 0, shares: [] });
    counter.count("ams", laterMs);
    expect(counter.sample(laterMs).shares).toEqual([{ region: "ams", share: 1 }]);
    const moved = counted({ iad: 1, nrt: 1000 });
    expect(moved.sample(11 * trafficHalfLifeMs).shares).toEqual([{ region: "nrt", share: 1 }]);
    moved.count("nrt", 11 * trafficHalfLifeMs);
    moved.count("iad", 11 * trafficHalfLifeMs);
    expect(moved.sample(11 * trafficHalfLifeMs).shares.map(({ region }) => region)).toEqual(["nrt", "iad"]);
  });

  test("P12 regions without end: the number that is kept is bounded, and the large ones stay", () => {
    const counter = counted({ iad: 500, nrt: 300 });
    for (let index = 0; index < 5000; index++) counter.count(`r${index}`, 0);
    const { shares } = counter.sample(0);
    expect(shares.length).toBeLessThanOrEqual(trafficRegionsMax);
    expect(shares.slice(0, 2).map(({ region }) => region)).toEqual(["iad", "nrt"]);
  });

  test("P12 names of properties are regions like others", () => {
    const { shares } = counted({ constructor: 1, toString: 2 }).sample(0);
    expect(shares.map(({ region }) => region)).toEqual(["toString", "constructor"]);
  });

  test("P12 time that goes back, or is none, ages nothing and breaks nothing", () => {
    const counter = counted({ iad: 4 }, 1_000_000);
    counter.count("iad", 0);
    counter.count("iad", Number.NaN);
    expect(counter.sample(Number.NaN).events).toBe(6);
    expect(counter.sample(1_000_000 + trafficHalfLifeMs).events).toBeCloseTo(3, 9);
  });

  test("P12 what one host has counted goes on at the next, on another clock", () => {
    const sample = counted({ iad: 30, nrt: 10 }, 9e9).sample(9e9);
    const counter = TrafficCounter.of(sample, 5);
    expect(counter.sample(5)).toEqual(sample);
    counter.count("nrt", 5);
    expect(counter.sample(5).events).toBe(41);
    const sick = { events: Number.NaN, shares: [{ region: "iad", share: 1 }] };
    expect(TrafficCounter.of(sick, 0).sample(0)).toEqual({ events: 0, shares: [] });
  });

  test("P12 agrees with decay that is exact, for any events at any times", () => {
    const anyEvents = fc.array(fc.tuple(fc.constantFrom("iad", "nrt", "ams"), fc.nat(400_000)), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(anyEvents, (events) => {
        const counter = new TrafficCounter(0);
        const exact = new Map<string, number>();
        let nowMs = 0;
        for (const [region, waitMs] of events) {
          nowMs += waitMs;
          for (const [known, count] of exact) exact.set(known, count * 2 ** (-waitMs / trafficHalfLifeMs));
          exact.set(region, (exact.get(region) ?? 0) + 1);
          counter.count(region, nowMs);
        }
        const { events: total, shares } = counter.sample(nowMs);
        expect(shares.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
        const errorMax = 1 - 2 ** (-trafficStepMs / trafficHalfLifeMs);
        for (const [region, count] of exact) {
          const share = shares.find((each) => each.region === region)?.share ?? 0;
          // Forgotten below a thousandth, and up to a step too young.
          expect(Math.abs(share * total - count)).toBeLessThanOrEqual(count * errorMax + 2 ** -10 + 1e-9);
        }
      }),
    );
  });

  test("P12 an event costs next to nothing", () => {
    const counter = new TrafficCounter(0);
    const startedMs = performance.now();
    for (let index = 0; index < 1_000_000; index++) counter.count("iad", index / 1000);
    // Some twenty times what it takes: this guards the order of growth, not the machine.
    expect(performance.now() - startedMs).toBeLessThan(250);
  });
});
