import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { refusalReason } from "../../infra/placement/eligibility.ts";
import { place } from "../../infra/placement/place.ts";
import type { RefusalReason } from "../../infra/placement/placement.ts";
import { anyQuestion, type HostSketch, host, hostIds, measured, question } from "./questions.ts";

test("P1 a host without the class is never ranked, whatever the strategy", () => {
  fc.assert(
    fc.property(anyQuestion, (asked) => {
      for (const { host } of place(asked).ranked) expect(host.classes).toContain("room");
    }),
  );
});

test("P1 with only such hosts nobody is ranked and each is refused for it", () => {
  const answer = place(question([host("a", { classes: ["counter"] }), host("b", { classes: [] })]));
  expect(answer.ranked).toEqual([]);
  expect(answer.refused.map(({ reason }) => reason)).toEqual(["class_missing", "class_missing"]);
});

describe("P2 each reason to refuse", () => {
  const cases: readonly (readonly [RefusalReason, HostSketch])[] = [
    ["class_missing", { classes: ["roomy"] }],
    ["outside_pinned_regions", { region: "nrt" }],
    ["draining", { draining: true }],
    ["object_limit", { load: { objects: 1000, objectsMax: 1000 } }],
    ["memory_limit", { load: { memoryUsedBytes: 10, memoryLimitBytes: 10 } }],
  ];
  for (const [reason, sketch] of cases) {
    test(`P2 ${reason}`, () => {
      const asked = question([host("healthy"), host("sick", sketch)], {
        policy: { strategy: "nearest", regions: ["iad", "ams"] },
      });
      const answer = place(asked);
      expect(hostIds(answer.ranked)).toEqual(["healthy"]);
      expect(answer.refused).toEqual([
        { session: "session-of-sick", hostId: "sick", region: sketch.region ?? "iad", reason },
      ]);
    });
  }
});

test("P2 one below each limit is still eligible", () => {
  const nearlyFull = host("a", {
    load: { objects: 999, objectsMax: 1000, memoryUsedBytes: 9, memoryLimitBytes: 10 },
  });
  expect(hostIds(place(question([nearlyFull])).ranked)).toEqual(["a"]);
});

test("P2 the regions of a class hold for every strategy", () => {
  fc.assert(
    fc.property(anyQuestion, (asked) => {
      const { regions } = asked.policy;
      for (const { host } of place(asked).ranked) {
        if (regions.length > 0) expect(regions).toContain(host.region);
      }
    }),
  );
});

test("P2 pinned without regions makes no host eligible", () => {
  const answer = place(question([host("a")], { policy: { strategy: "pinned", regions: [] } }));
  expect(answer.ranked).toEqual([]);
  expect(answer.refused[0]?.reason).toBe("outside_pinned_regions");
});

test("P2 pinned goes to the nearest of its regions, though others are nearer to the caller", () => {
  const hosts = [
    host("iad", { region: "iad" }),
    host("ams", { region: "ams" }),
    host("nrt", { region: "nrt" }),
  ];
  const policy = { strategy: "pinned", regions: ["nrt", "ams"] } as const;
  expect(hostIds(place(question(hosts, { policy, callerRegion: "iad" })).ranked)).toEqual(["ams", "nrt"]);
  expect(hostIds(place(question(hosts, { policy, callerRegion: "syd" })).ranked)).toEqual(["nrt", "ams"]);
});

test("P2 who is refused is exactly who has a reason", () => {
  fc.assert(
    fc.property(anyQuestion, (asked) => {
      const refused = place(asked).refused.map(({ hostId }) => hostId);
      const expected = asked.hosts.filter((host) => refusalReason(host, asked) !== undefined);
      expect(refused.toSorted()).toEqual(expected.map(({ hostId }) => hostId).toSorted());
    }),
  );
});

test("P5 ranked and refused together are the hosts, each once", () => {
  fc.assert(
    fc.property(anyQuestion, (asked) => {
      const { ranked, refused } = place(asked);
      const answered = [...ranked.map(({ host }) => host.session), ...refused.map(({ session }) => session)];
      expect(answered.toSorted()).toEqual(asked.hosts.map(({ session }) => session).toSorted());
    }),
  );
});

test("P5 the order in which the hosts are listed changes nothing", () => {
  const shuffled = anyQuestion.chain((asked) =>
    fc
      .shuffledSubarray([...asked.hosts], { minLength: asked.hosts.length })
      .map((hosts) => ({ asked, again: { ...asked, hosts } })),
  );
  fc.assert(
    fc.property(shuffled, ({ asked, again }) => {
      expect(place(again)).toEqual(place(asked));
    }),
  );
});

test("P5 two sessions of one host are two candidates", () => {
  const hosts = [host("a", { session: "old" }), host("a", { session: "new" })];
  const sessions = (listed: typeof hosts) =>
    place(question(listed)).ranked.map((ranked) => ranked.host.session);
  expect(sessions(hosts)).toEqual(["new", "old"]);
  expect(sessions(hosts.toReversed())).toEqual(["new", "old"]);
});

test("P7 least loaded: the emptiest of the nearest region, then the next region", () => {
  const hosts = [
    host("iad-full", { load: { objects: 900 } }),
    host("iad-empty", { load: { objects: 100 } }),
    host("iad-memory", { load: { memoryUsedBytes: 0.5 * 1024 ** 3 } }),
    host("ams-empty", { region: "ams" }),
  ];
  const policy = { strategy: "least-loaded", regions: [] } as const;
  const { ranked } = place(question(hosts, { policy }));
  expect(hostIds(ranked)).toEqual(["iad-empty", "iad-memory", "iad-full", "ams-empty"]);
});

test("P7 least loaded: hosts within one step share, as equals do", () => {
  const hosts = [host("a", { load: { objects: 101 } }), host("b", { load: { objects: 149 } })];
  const policy = { strategy: "least-loaded", regions: [] } as const;
  const nearest = place(question(hosts)).ranked;
  expect(place(question(hosts, { policy })).ranked).toEqual(nearest);
});

describe("P9 the newest version that can", () => {
  const image = (ulid: string) => `registry.fly.io/app:deployment-${ulid}@sha256:0a`;
  const [before, after] = [image("01J10AAAAAAAAAAAAAAAAAAAAA"), image("01J9AAAAAAAAAAAAAAAAAAAAAA")] as const;

  test("P9 a start goes to the newest that is up, near or far", () => {
    const hosts = [host("near", { version: before }), host("far", { version: after, region: "nrt" })];
    const answer = place(question(hosts));
    expect(hostIds(answer.ranked)).toEqual(["far"]);
    expect(answer.refused).toEqual([
      { session: "session-of-near", hostId: "near", region: "iad", reason: "older_version" },
    ]);
  });

  const sick: readonly HostSketch[] = [
    { draining: true },
    { classes: [] },
    { region: "nrt" },
    { load: { objects: 1000 } },
    { load: { memoryUsedBytes: 10, memoryLimitBytes: 10 } },
  ];
  for (const sketch of sick) {
    test(`P9 a newest version that may not take it hides no older one: ${JSON.stringify(sketch)}`, () => {
      const hosts = [
        host("old", { version: "v1" }),
        host("older", { version: "v0" }),
        host("new", { version: "v2", ...sketch }),
      ];
      const policy = { strategy: "nearest", regions: ["iad"] } as const;
      const { ranked, refused } = place(question(hosts, { policy }));
      expect(hostIds(ranked)).toEqual(["old"]);
      expect(refused.find(({ hostId }) => hostId === "new")?.reason).not.toBe("older_version");
      expect(refused.find(({ hostId }) => hostId === "older")?.reason).toBe("older_version");
    });
  }

  test("P9 nor does one that was asked and did not take it", () => {
    const hosts = [host("old", { version: "v1" }), host("new", { version: "v2" })];
    const excluded = new Map([["session-of-new", "unreachable" as const]]);
    const { ranked, refused } = place(question(hosts, { excluded }));
    expect(hostIds(ranked)).toEqual(["old"]);
    expect(refused.map(({ hostId, reason }) => [hostId, reason])).toEqual([["new", "unreachable"]]);
  });

  test("P9 hosts that say nothing of their version are all alike", () => {
    const hosts = [host("a", { version: "dev" }), host("b", { version: "dev" })];
    expect(place(question(hosts)).refused).toEqual([]);
  });

  test("P9 what is ranked has one version, and nothing that is refused for its age may be newer", () => {
    fc.assert(
      fc.property(anyQuestion, fc.array(fc.constantFrom("v1", "v9", "v10")), (asked, versions) => {
        const hosts = asked.hosts.map((each, index) => ({ ...each, version: versions[index] ?? "v9" }));
        const { ranked, refused } = place({ ...asked, hosts });
        const order = ["v1", "v9", "v10"];
        const [newest, ...others] = new Set(ranked.map(({ host }) => order.indexOf(host.version)));
        expect(others).toEqual([]);
        const older = refused.filter(({ reason }) => reason === "older_version");
        expect(older.length > 0 && newest === undefined).toBe(false);
        for (const { session } of older) {
          const version = hosts.find((each) => each.session === session)?.version ?? "";
          expect(order.indexOf(version)).toBeLessThan(newest ?? -1);
        }
      }),
    );
  });
});

test("nobody is there: the answer is empty, not an error", () => {
  expect(place(question([]))).toEqual({ ranked: [], refused: [] });
});

test("the answer is fast enough to fail fast: 500 hosts in a few milliseconds", () => {
  const hosts = Array.from({ length: 500 }, (_, index) => host(`h${index}`));
  place(question(hosts));
  const started = performance.now();
  place(question(hosts, { roundTripMs: measured({ h1: 1 }) }));
  // Some hundred times what it takes: this guards the order of growth, not the machine.
  expect(performance.now() - started).toBeLessThan(250);
});
