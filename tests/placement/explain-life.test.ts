import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { explain } from "../../infra/placement/explain.ts";
import { explainLife, followInWords } from "../../infra/placement/explain-life.ts";
import { durationInWords, millisecondsInWords } from "../../infra/placement/figures.ts";
import { type FollowQuestion, shouldFollow } from "../../infra/placement/follow.ts";
import { place } from "../../infra/placement/place.ts";
import { anyHosts, anyTraffic, followQuestion, sharesOf } from "./moves.ts";
import { host, measured, question } from "./questions.ts";

const iad = host("iad");
const nrt = host("nrt", { region: "nrt" });
const ams = host("ams", { region: "ams" });
const roundTripMs = measured({ nrt: 170.004, ams: 80 });
const traffic = { events: 1234.567, shares: sharesOf({ nrt: 0.82, iad: 0.1, ams: 0.08 }) };

function asked(sketch: Partial<FollowQuestion> = {}): FollowQuestion {
  return followQuestion([iad, nrt, ams], iad, {}, { traffic, roundTripMs, ...sketch });
}

function words(sketch: Partial<FollowQuestion> = {}): string {
  return explainLife(asked(sketch)).follow.why;
}

test("P16 the whole of it, as the owner tells it", () => {
  expect(explainLife(asked({ activeForMs: 100_000 }))).toEqual({
    traffic: {
      events: 1234.57,
      shares: [
        { region: "nrt", share: 0.82 },
        { region: "iad", share: 0.1 },
        { region: "ams", share: 0.08 },
      ],
    },
    follow: {
      moves: false,
      verdict: "too_young",
      why:
        "stays: 82 % of its events come from nrt; iad costs 146 ms a round trip on average, nrt 28 ms; " +
        "it may move in 3 min 20 s",
      presentCostMs: 145.9,
      best: { hostId: "nrt", region: "nrt", costMs: 28.31 },
      savesMs: 117.59,
      marginMs: 43.77,
      mayMoveInMs: 200_000,
    },
    nearer: [
      { region: "nrt", hostId: "nrt", costMs: 28.31, savesMs: 117.59, refused: null },
      { region: "ams", hostId: "ams", costMs: 115.63, savesMs: 30.28, refused: null },
    ],
  });
});

describe("P16 the decision in words", () => {
  const start = "82 % of its events come from nrt";
  const costs = "iad costs 146 ms a round trip on average, nrt 28 ms";

  test("P16 each verdict", () => {
    expect(words()).toBe(`moves: ${start}; ${costs}`);
    const followed = { shares: traffic.shares, regions: ["iad", "nrt", "ams"] };
    expect(words({ followed })).toBe(
      `stays: ${start}; ${costs}; it has moved for this traffic before, and moves again when that changes or a new region comes up`,
    );
    expect(words({ policy: { strategy: "pinned", regions: ["iad"] } })).toBe(
      `stays: its class is pinned to where it is; ${start}`,
    );
    expect(words({ policy: { strategy: "nearest", regions: [], follow: false } })).toBe(
      `stays: its class has switched following off (placement.follow); ${start}`,
    );
    expect(words({ traffic: { ...traffic, events: 3.9 } })).toBe(
      `stays: 3 events lately are too few to follow, 20 are needed; ${start}`,
    );
    expect(words({ traffic: { events: 0, shares: [] } })).toBe(
      "stays: 0 events lately are too few to follow, 20 are needed",
    );
    expect(words({ hosts: [iad] })).toBe(`stays: no other host may take it; ${start}`);
    expect(words({ traffic: { events: 50, shares: sharesOf({ iad: 1 }) } })).toBe(
      "stays: 100 % of its events come from iad; iad costs 1 ms a round trip on average, ams 80 ms; it would move to save 20 ms or more",
    );
  });

  test("P16 the best other host in the same region has its name, not the region's", () => {
    const question = followQuestion([iad, host("iad-2")], iad, { nrt: 1 }, { roundTripMs });
    expect(followInWords("iad", shouldFollow(question))).toContain("on average, iad-2 there ");
  });

  test("P16 durations and figures", () => {
    const durations = [0, 1, 59_000, 59_001, 200_000, 3_599_001, 3_600_000, 7_500_000];
    expect(durations.map(durationInWords)).toEqual([
      "0 s",
      "1 s",
      "59 s",
      "1 min",
      "3 min 20 s",
      "1 h",
      "1 h",
      "2 h 5 min",
    ]);
    expect([0.04, 9.94, 9.96, 140.4, -3.14].map(millisecondsInWords)).toEqual([
      "0 ms",
      "9.9 ms",
      "10 ms",
      "140 ms",
      "-3.1 ms",
    ]);
  });
});

describe("P16 what would be nearer", () => {
  test("P16 is named with the reason where it does not take the object: the one that passes soonest, for each region", () => {
    const sick = [
      host("a", { region: "nrt", classes: [] }),
      host("b", { region: "nrt", draining: true }),
      host("c", { region: "nrt", version: "0" }),
      host("d", { region: "hkg", load: { objects: 950 } }),
    ];
    const { nearer, follow } = explainLife(asked({ hosts: [iad, ...sick], roundTripMs: () => undefined }));
    expect(follow.verdict).toBe("nowhere_else");
    expect(nearer.map(({ region, hostId, refused }) => [region, hostId, refused])).toEqual([
      ["nrt", "b", { reason: "draining", why: "It is going away and takes nothing new." }],
      [
        "hkg",
        "d",
        { reason: "little_room", why: "It is 90 % full or more, and takes no moves that can wait." },
      ],
    ]);
  });

  test("P16 nothing, where it is where its users are", () => {
    expect(explainLife(asked({ traffic: { events: 50, shares: sharesOf({ iad: 1 }) } })).nearer).toEqual([]);
  });

  test("P16 outside of the class's regions too, so that one sees what pinning costs", () => {
    const policy = { strategy: "pinned", regions: ["iad"] } as const;
    expect(explainLife(asked({ policy })).nearer.map(({ refused }) => refused?.reason)).toEqual([
      "outside_pinned_regions",
      "outside_pinned_regions",
    ]);
  });
});

describe("P16 as a part of the explanation", () => {
  const placed = question([iad, nrt, ams]);
  const owner = { hostId: "iad", region: "iad", epoch: 7 };

  test("P16 joins what the edge knows, and is missing where the owner was not asked", () => {
    const life = explainLife(asked());
    expect(explain(placed, place(placed), owner, life)).toMatchObject(life);
    const alone = explain(placed, place(placed), owner);
    for (const field of ["traffic", "follow", "nearer"]) expect(alone).not.toHaveProperty(field);
    expect(alone.owner).toEqual(owner);
    expect(Object.keys(alone.owner ?? {})).toEqual(["hostId", "region", "epoch"]);
  });

  test("P16 why it is where it is", () => {
    const why = (reason: string, movedFor?: "drain" | "memory" | "follow" | "operator") =>
      explain(placed, place(placed), { ...owner, reason, movedFor, sinceMs: Date.UTC(2026, 7, 1) }).owner;
    expect(why("move", "follow")).toEqual({
      ...owner,
      since: "2026-08-01T00:00:00.000Z",
      reason: "move",
      movedFor: "follow",
      why: "It was moved here to be nearer to its users.",
    });
    expect(why("move")?.why).toBe("It was moved here.");
    expect(why("move", "operator")?.why).toBe("It was moved here by hand.");
    expect(why("wake")?.why).toBe("It woke up here.");
    expect(why("reload")?.why).toBe("It started here (reload).");
  });

  test("P16 a time that is none is left out", () => {
    for (const sinceMs of [Number.NaN, 9e15, undefined])
      expect(explain(placed, place(placed), { ...owner, sinceMs }).owner).toEqual(owner);
  });

  test("P8 P16 plain JSON without sessions and addresses, whatever is asked", () => {
    const anyLife = fc.record({ hosts: anyHosts, traffic: anyTraffic, activeForMs: fc.nat(600_000) });
    fc.assert(
      fc.property(anyLife, ({ hosts, traffic, activeForMs }) => {
        const [first = iad] = hosts;
        const life = explainLife(followQuestion(hosts, first, {}, { traffic, activeForMs }));
        const asks = question(hosts);
        const spied = {
          hostId: first.hostId,
          region: first.region,
          epoch: 1,
          sinceMs: 0,
          reason: "wake",
          session: first.session,
        };
        const explained = explain(asks, place(asks), spied, life);
        const text = JSON.stringify(explained);
        expect(JSON.parse(text)).toEqual(explained);
        for (const { session, privateUrl, publicUrl } of hosts) {
          expect(text).not.toContain(session);
          expect(text).not.toContain(privateUrl);
          expect(text).not.toContain(publicUrl);
        }
        for (const { savesMs } of life.nearer) expect(savesMs).toBeGreaterThanOrEqual(2);
      }),
    );
  });
});
