import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { objectRef } from "../../infra/lib/object-ref.ts";
import {
  type MoveCause,
  type MoveQuestion,
  moveTargets,
  noTargetInWords,
} from "../../infra/placement/move-targets.ts";
import type { RefusalReason } from "../../infra/placement/placement.ts";
import { anyHosts, anyTraffic, moveQuestion, sharesOf, someRegions } from "./moves.ts";
import { type HostSketch, host, hostIds, measured } from "./questions.ts";

const owner = host("owner", { version: "v9" });
const toRegion = (region: string): MoveCause => ({ kind: "operator", wish: { region } });
const toHost = (hostId: string): MoveCause => ({ kind: "operator", wish: { hostId } });

function reasons(question: MoveQuestion): Record<string, RefusalReason> {
  return Object.fromEntries(moveTargets(question).refused.map(({ hostId, reason }) => [hostId, reason]));
}

describe("P10 who may take over", () => {
  const cases: readonly (readonly [RefusalReason, HostSketch])[] = [
    ["class_missing", { classes: ["roomy"], draining: true }],
    ["outside_pinned_regions", { region: "nrt", version: "v1" }],
    ["older_version", { version: "v8", draining: true }],
    ["draining", { version: "v10", draining: true, load: { objects: 1000 } }],
    ["object_limit", { load: { objects: 1000 } }],
    ["memory_limit", { load: { memoryUsedBytes: 10, memoryLimitBytes: 10 } }],
  ];
  for (const [reason, sketch] of cases) {
    test(`P10 ${reason}`, () => {
      const other = host("other", { version: "v9", ...sketch });
      const policy = { strategy: "nearest", regions: ["iad", "ams"] } as const;
      const question = moveQuestion([owner, other, host("good", { version: "v10" })], owner, { policy });
      expect(hostIds(moveTargets(question).ranked)).toEqual(["good"]);
      expect(reasons(question)).toEqual({ other: reason, owner: "present_owner" });
    });
  }

  test("P10 never the owner, but another process of its machine", () => {
    const restarted = host("owner", { session: "next", version: "v10" });
    const { ranked } = moveTargets(moveQuestion([owner, restarted], { ...owner, draining: true }));
    expect(ranked.map((target) => target.host.session)).toEqual(["next"]);
  });

  test("P10 a move that can wait goes to no host that is nearly full, a drain does", () => {
    const nearlyFull = host("other", { version: "v9", load: { objects: 900 } });
    for (const kind of ["memory", "follow"] as const) {
      expect(reasons(moveQuestion([nearlyFull], owner, { cause: { kind } }))).toEqual({
        other: "little_room",
      });
    }
    for (const cause of [{ kind: "drain" } as const, toRegion("iad")]) {
      expect(hostIds(moveTargets(moveQuestion([nearlyFull], owner, { cause })).ranked)).toEqual(["other"]);
    }
  });

  test("P10 who was asked and did not take it is passed over", () => {
    const hosts = [host("a", { version: "v9" }), host("b", { version: "v9" })];
    const excluded = new Map([["session-of-a", "unreachable" as const]]);
    const question = moveQuestion(hosts, owner, { excluded });
    expect(hostIds(moveTargets(question).ranked)).toEqual(["b"]);
    expect(reasons(question)).toEqual({ a: "unreachable" });
  });

  test("P10 any question: every host once, the rules kept, the order of the hosts without effect", () => {
    const anyCause: fc.Arbitrary<MoveCause> = fc.oneof(
      fc.constantFrom<MoveCause>({ kind: "drain" }, { kind: "memory" }, { kind: "follow" }),
      fc.constantFrom(...someRegions).map(toRegion),
      fc.constantFrom("h0", "h1", "nobody").map(toHost),
    );
    const anyMove = fc.record({
      hosts: anyHosts,
      traffic: anyTraffic,
      cause: anyCause,
      regions: fc.uniqueArray(fc.constantFrom(...someRegions), { maxLength: 3 }),
      roundTrips: fc.array(fc.option(fc.double({ min: 0, max: 400, noNaN: true })), {
        minLength: 12,
        maxLength: 12,
      }),
    });
    fc.assert(
      fc.property(anyMove, ({ hosts, traffic, cause, regions, roundTrips }) => {
        const [first] = hosts;
        if (!first) return;
        const trips = new Map(hosts.map(({ hostId }, index) => [hostId, roundTrips[index] ?? undefined]));
        const question = moveQuestion(hosts, first, {
          traffic: traffic.shares,
          cause,
          policy: { strategy: "nearest", regions },
          roundTripMs: ({ hostId }) => trips.get(hostId),
        });
        const answer = moveTargets(question);
        const answered = [
          ...answer.ranked.map((target) => target.host.session),
          ...answer.refused.map(({ session }) => session),
        ];
        expect(answered.toSorted()).toEqual(hosts.map(({ session }) => session).toSorted());
        expect(moveTargets({ ...question, hosts: hosts.toReversed() })).toEqual(answer);
        const order = ["v1", "v9", "v10"];
        for (const target of answer.ranked) {
          expect(target.host.session).not.toBe(first.session);
          expect(target.host.draining).toBe(false);
          expect(target.host.classes).toContain("room");
          expect(target.host.load.objects).toBeLessThan(target.host.load.objectsMax);
          expect(order.indexOf(target.host.version)).toBeGreaterThanOrEqual(order.indexOf(first.version));
          if (regions.length > 0) expect(regions).toContain(target.host.region);
          if (cause.kind === "operator" && "region" in cause.wish)
            expect(target.host.region).toBe(cause.wish.region);
          expect(Number.isFinite(target.distanceMs)).toBe(true);
        }
      }),
    );
  });
});

describe("P10 the order", () => {
  const iad = host("iad", { version: "v9" });
  const ams = host("ams", { version: "v9", region: "ams" });
  const nrt = host("nrt", { version: "v9", region: "nrt" });

  test("P10 nearest to the traffic, not to the owner", () => {
    const to = (shares: Readonly<Record<string, number>>) =>
      hostIds(moveTargets(moveQuestion([iad, ams, nrt], owner, { traffic: sharesOf(shares) })).ranked);
    expect(to({ nrt: 1 })).toEqual(["nrt", "ams", "iad"]);
    expect(to({ fra: 1 })[0]).toBe("ams");
    expect(to({ nrt: 0.1, iad: 0.9 })[0]).toBe("iad");
    expect(to({ nrt: 30, ams: 1 })[0]).toBe("nrt");
  });

  test("P10 without traffic, or with shares that are none, nearest to the owner", () => {
    for (const traffic of [[], [{ region: "nrt", share: 0 }], [{ region: "nrt", share: Number.NaN }]]) {
      const { ranked } = moveTargets(moveQuestion([iad, ams, nrt], owner, { traffic }));
      expect(hostIds(ranked)).toEqual(["iad", "ams", "nrt"]);
    }
  });

  test("P10 of equally near hosts the newest version, so that a rolling deploy moves an object once", () => {
    const hosts = [
      iad,
      host("newer", { version: "v10" }),
      host("newest", { version: "v11" }),
      host("far", { version: "v12", region: "nrt" }),
    ];
    for (let index = 0; index < 50; index++) {
      const question = moveQuestion(hosts, owner, { object: objectRef("room", `r${index}`) });
      expect(hostIds(moveTargets(question).ranked)).toEqual(["newest", "newer", "iad", "far"]);
    }
  });
});

describe("P10 a wish", () => {
  const hosts = [
    owner,
    host("a", { version: "v9", region: "nrt" }),
    host("b", { version: "v9", region: "ams" }),
  ];

  test("P10 a region, or a host", () => {
    expect(hostIds(moveTargets(moveQuestion(hosts, owner, { cause: toRegion("nrt") })).ranked)).toEqual([
      "a",
    ]);
    expect(hostIds(moveTargets(moveQuestion(hosts, owner, { cause: toHost("b") })).ranked)).toEqual(["b"]);
    expect(reasons(moveQuestion(hosts, owner, { cause: toHost("b") }))).toEqual({
      a: "not_wished",
      owner: "present_owner",
    });
  });

  test("P10 that cannot be met says why", () => {
    const why = (cause: MoveCause, sketches: readonly HostSketch[] = []) => {
      const more = sketches.map((sketch, index) =>
        host(`m${index}`, { version: "v9", region: "syd", ...sketch }),
      );
      const listed = hosts.filter(({ hostId }) => hostId !== "owner");
      const question = moveQuestion([...listed, ...more], owner, { cause });
      const answer = moveTargets(question);
      expect(answer.ranked).toEqual([]);
      return noTargetInWords(question, answer);
    };
    expect(why(toRegion("syd"))).toBe('No host in the region "syd" is alive.');
    expect(why(toHost("x"))).toBe('No host called "x" is alive.');
    expect(why(toRegion("syd"), [{ draining: true }, { version: "v8" }])).toBe(
      "No host can take room/lobby over. m0 (syd): It is going away and takes nothing new. " +
        'm1 (syd): It runs version "v8", which is older than version "v9".',
    );
  });

  test("P10 to be where it is already", () => {
    const question = moveQuestion(hosts, owner, { cause: toHost("owner") });
    expect(noTargetInWords(question, moveTargets(question))).toBe(
      "No host can take room/lobby over. owner (iad): The object lives there already.",
    );
  });

  test("P10 where nobody is", () => {
    const question = moveQuestion([], owner);
    expect(noTargetInWords(question, moveTargets(question))).toBe("No host can take room/lobby over.");
  });
});

describe("P10 ten thousand objects leave one host", () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => `object-${index}`);
  const sized = (hostId: string, free: number, sketch: HostSketch = {}) =>
    host(hostId, {
      version: "v9",
      ...sketch,
      load: { objectsMax: free + 1000, objects: 1000, ...sketch.load },
    });

  function firstChoices(question: MoveQuestion): Map<string, number> {
    const counts = new Map<string, number>();
    for (const id of ids) {
      const hostId =
        moveTargets({ ...question, object: objectRef("room", id) }).ranked[0]?.host.hostId ?? "nobody";
      counts.set(hostId, (counts.get(hostId) ?? 0) + 1);
    }
    return counts;
  }

  test("P10 in proportion to the room that hosts have, by old figures even", () => {
    const counts = firstChoices(
      moveQuestion([sized("a", 20_000), sized("b", 10_000), sized("c", 2_000)], owner),
    );
    expect(counts.get("a")).toBeWithin(6_000, 6_500);
    expect(counts.get("b")).toBeWithin(2_900, 3_350);
    expect(counts.get("c")).toBeWithin(500, 750);
  });

  test("P10 memory counts as room too", () => {
    const gibibyte = 1024 ** 3;
    const load = (free: number) => ({ memoryLimitBytes: (free + 1) * gibibyte, memoryUsedBytes: gibibyte });
    const hosts = [sized("a", 1e6, { load: load(3) }), sized("b", 1e6, { load: load(1) })];
    const counts = firstChoices(moveQuestion(hosts, owner));
    expect(counts.get("a")).toBeWithin(7_200, 7_800);
    expect(counts.get("b")).toBeWithin(2_200, 2_800);
  });

  test("P10 counted as they go, they fill the near hosts and go on to the far ones, and none gets more than it takes", () => {
    const hosts = [sized("a", 3_000), sized("b", 1_000), sized("far", 90_000, { region: "nrt" })];
    const arriving = new Map<string, number>();
    const question = moveQuestion(hosts, owner, { arriving });
    let atHalf: readonly (number | undefined)[] = [];
    for (const [index, id] of ids.entries()) {
      const [target] = moveTargets({ ...question, object: objectRef("room", id) }).ranked;
      if (!target) throw new Error("nobody takes it");
      arriving.set(target.host.session, (arriving.get(target.host.session) ?? 0) + 1);
      if (index === 1999) atHalf = hosts.map(({ session }) => arriving.get(session));
    }
    expect(atHalf[0]).toBeWithin(1_400, 1_600);
    expect(atHalf[1]).toBeWithin(400, 600);
    expect(hosts.map(({ session }) => arriving.get(session))).toEqual([3_000, 1_000, 6_000]);
  });

  test("P10 a host whose room shrinks loses some of its objects, and the others keep theirs", () => {
    const choice = (id: string, room: number) =>
      moveTargets(
        moveQuestion([sized("a", 10_000), sized("b", 10_000), sized("c", room)], owner, {
          object: objectRef("room", id),
        }),
      ).ranked[0]?.host.hostId;
    for (const id of ids.slice(0, 1000)) {
      const before = choice(id, 10_000);
      if (before !== "c") expect(choice(id, 5_000)).toBe(before);
    }
  });

  test("P10 they are through in time, with many hosts of two versions", () => {
    const hosts = Array.from({ length: 200 }, (_, index) =>
      sized(`h${index}`, 1000, {
        region: someRegions[index % someRegions.length] ?? "iad",
        version: index % 2 ? "v9" : "v10",
      }),
    );
    const question = moveQuestion(hosts, owner, {
      traffic: sharesOf({ iad: 0.5, nrt: 0.3, ams: 0.2 }),
      roundTripMs: measured({ h1: 5, h2: 80 }),
    });
    moveTargets(question);
    const startedMs = performance.now();
    for (let index = 0; index < 100; index++) moveTargets(question);
    // Per object some twenty times what it takes: this guards the order of growth, not the machine.
    expect((performance.now() - startedMs) / 100).toBeLessThan(10);
  });
});
