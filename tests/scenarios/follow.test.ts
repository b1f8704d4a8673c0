import { afterAll, afterEach, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { object } from "stateful-objects";
import { followLimits } from "../../infra/placement/follow.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RequestLoad } from "../support/request-load.ts";
import { until } from "../support/wait.ts";

const oneWayMs = 30;
const follow = { intervalMs: 100, limits: { ...followLimits, activeMinMs: 500 } };

const countsAt = { state: () => ({ n: 0 }) };
const room = object("room", countsAt).post("/", ({ state, host }) => ({ n: ++state.n, at: host.region }));
const pinned = object("pinned", { ...countsAt, placement: { regions: ["iad"] } }).post("/", ({ state }) => {
  return { n: ++state.n };
});
const settled = object("settled", { ...countsAt, placement: { follow: false } }).post("/", ({ state }) => {
  return { n: ++state.n };
});

/** Users are in Tokyo. The host in Amsterdam is as patient as by default, the other two are not. */
let cluster: Cluster;
/** Looks that the mover of each region's host has taken by itself. */
const looks = new Map<string, number>();

beforeAll(async () => {
  const config = { simulatedDelayMs: () => oneWayMs, follow };
  cluster = await startCluster({ classes: [room, pinned, settled], regions: ["iad", "nrt"], config });
  await cluster.add("ams", { follow: { ...follow, limits: followLimits } });
  await until("all know each other", () =>
    cluster.hosts.every(({ parts }) => parts.leases.hosts.length === cluster.hosts.length),
  );
  for (const { region, parts } of cluster.hosts) {
    const look = parts.mover.follow.bind(parts.mover);
    spyOn(parts.mover, "follow").mockImplementation(async () => {
      await look();
      looks.set(region, (looks.get(region) ?? 0) + 1);
    });
  }
});
afterAll(() => cluster?.stop());

let load = new RequestLoad();
afterEach(async () => {
  await load.stop();
  load = new RequestLoad();
});

/** Three more: the first may have begun before what is to be seen by it. */
async function looksOn(region: string): Promise<void> {
  const enough = (looks.get(region) ?? 0) + 3;
  await until(`the host in ${region} has looked`, () => (looks.get(region) ?? 0) >= enough);
}

async function post(region: string, key: string): Promise<unknown> {
  const answer = await fetch(cluster.url(region, `/${key}`), { method: "POST" });
  return answer.json();
}

async function explained(key: string, via = "nrt"): Promise<unknown> {
  return (await fetch(cluster.url(via, `/-/explain/${key}`))).json();
}

const livesAt = (key: string) =>
  cluster.hosts.filter(({ parts }) => parts.table.live(key)).map(({ region }) => region);

/** Users in Tokyo who ask for it without a pause. */
function loadFromTokyo(...keys: readonly string[]): void {
  for (const key of keys)
    for (let n = 0; n < 4; n++) load.add([cluster.url("nrt", `/${key}`)], { method: "POST" });
}

function said(what: "object.follows" | "object.moved", key: string) {
  return cluster.entries.filter(({ event, fields }) => event === what && fields.object === key);
}

describe("P13 among whole hosts", () => {
  test("an object whose events come from another region moves there by itself, under load, once", async () => {
    await post("iad", "room/moves");
    expect(livesAt("room/moves")).toEqual(["iad"]);
    loadFromTokyo("room/moves");
    await until("it lives in Tokyo", () => livesAt("room/moves").includes("nrt"));
    await load.goesOn(50);
    await looksOn("nrt");
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(await post("iad", "room/moves")).toEqual({ n: load.answered + 2, at: "nrt" });
    const [decision] = said("object.follows", "room/moves");
    expect(decision).toMatchObject({ hostId: cluster.host("iad").hostId, fields: { region: "nrt" } });
    expect(String(decision?.fields.why)).toMatch(
      /^moves: \d+ % of its events come from nrt; iad costs \d+ ms/,
    );
    const to = cluster.host("nrt").hostId;
    expect(said("object.moved", "room/moves").map(({ fields }) => [fields.to, fields.reason])).toEqual([
      [to, "follow"],
    ]);
    for (const edge of ["iad", "ams", "nrt"])
      expect(await explained("room/moves", edge)).toMatchObject({
        owner: { region: "nrt", reason: "move", movedFor: "follow" },
        traffic: { shares: [{ region: "nrt" }, { region: "iad" }] },
        follow: { moves: false, verdict: "near_enough" },
        nearer: [],
      });
  });

  test("one of a pinned class does not, nor one whose class has switched it off, and both say so", async () => {
    const keys = ["pinned/x", "settled/x", "room/control"];
    for (const key of keys) await post("iad", key);
    loadFromTokyo(...keys);
    await until("one that may has moved", () => livesAt("room/control").includes("nrt"));
    await looksOn("iad");
    expect([livesAt("pinned/x"), livesAt("settled/x")]).toEqual([["iad"], ["iad"]]);
    expect(await explained("pinned/x")).toMatchObject({
      owner: { region: "iad" },
      follow: { moves: false, verdict: "pinned" },
      nearer: [{ region: "nrt", refused: { reason: "outside_pinned_regions" } }],
    });
    expect(await explained("settled/x")).toMatchObject({
      owner: { region: "iad" },
      follow: { moves: false, verdict: "switched_off", best: { region: "nrt" } },
    });
    for (const [key, why] of [
      ["pinned/x", "stays: its class is pinned to where it is; "],
      ["settled/x", "stays: its class has switched following off (placement.follow); "],
    ] as const) {
      expect(await explained(key)).toMatchObject({ follow: { why: expect.stringContaining(why) } });
      expect(said("object.follows", key)).toEqual([]);
    }
  });

  test("one under the minimum age does not, and says when it may", async () => {
    await post("ams", "room/young");
    loadFromTokyo("room/young");
    await load.goesOn(2 * followLimits.eventsMin);
    await looksOn("ams");
    expect(livesAt("room/young")).toEqual(["ams"]);
    const told = await explained("room/young");
    expect(told).toMatchObject({
      owner: { region: "ams" },
      follow: { moves: false, verdict: "too_young", best: { region: "nrt" } },
    });
    expect(told).toMatchObject({
      follow: { why: expect.stringMatching(/; it may move in [45] min( \d+ s)?$/) },
    });
    expect(said("object.follows", "room/young")).toEqual([]);
  });

  test("one that would gain less than the margin does not, and says what it would have to", async () => {
    // 45 of 100 events come from where it is: at no time more than 55 % from Tokyo, which would save a tenth of 60 ms.
    for (let n = 0; n < 45; n++) await post("iad", "room/between");
    await Promise.all(Array.from({ length: 55 }, () => post("nrt", "room/between")));
    await until("it is old enough", async () => {
      const told = (await explained("room/between")) as { follow: { mayMoveInMs: number } }; // as just asked for
      return told.follow.mayMoveInMs === 0;
    });
    await looksOn("iad");
    expect(livesAt("room/between")).toEqual(["iad"]);
    expect(await explained("room/between")).toMatchObject({
      owner: { region: "iad" },
      traffic: { events: expect.closeTo(100, -1), shares: [{ region: "nrt" }, { region: "iad" }] },
      follow: {
        ...{
          moves: false,
          verdict: "near_enough",
          best: { region: "nrt" },
          marginMs: followLimits.savesMinMs,
        },
        why: expect.stringContaining("it would move to save 20 ms or more"),
      },
    });
    expect(said("object.follows", "room/between")).toEqual([]);
  });
});
