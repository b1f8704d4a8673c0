import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { adminToken } from "../support/admin-token.ts";
import { moveObject } from "../support/move-object.ts";
import { EventClient } from "../support/event-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

const news = { subscribe: "anyone", history: { count: 20, ageMs: 60_000, bytes: 100_000 } } as const;

const wire = object("wire", {
  idleAfterMs: 1000,
  topics: {
    news,
    short: { subscribe: "anyone", history: { ...news.history, ageMs: 1500 } },
    live: { subscribe: "anyone" },
  },
})
  .get("/region", ({ host }) => host.region)
  .post("/publish/news/:count", ({ topics, params }) => {
    for (let n = 1; n <= Number(params.count); n++) topics.publish("news", `news ${n}`);
  })
  .post("/publish/short/1", ({ topics }) => topics.publish("short", "short 1"))
  .post("/say/:text", ({ topics, params }) => topics.publish("news", params.text));

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [wire], config: { adminToken } });
});
afterAll(() => cluster.stop());

/** A listener at an edge, from a position on; resolves when it is told where it stands. */
async function listen(region: string, id: string, since?: string, topic = "news"): Promise<EventClient> {
  const headers: Record<string, string> = since === undefined ? {} : { "last-event-id": since };
  const client = await EventClient.open(cluster.url(region, `/wire/${id}/-/topics/${topic}`), headers);
  await until("it is told where it stands", () => client.starts.length > 0);
  return client;
}

async function say(id: string, ...texts: string[]): Promise<void> {
  for (const text of texts) await fetch(cluster.url("ams", `/wire/${id}/say/${text}`), { method: "POST" });
}

const move = (id: string, region: string) => moveObject(cluster, `wire/${id}`, region);

/** All regions are equally near in one process: it starts anywhere, and is moved to where the test wants it. */
const startAt = (region: string, id: string) => move(id, region);

describe("T5 who comes back hears what was missed, in order, once", () => {
  test.each([
    ["iad", "iad"],
    ["iad", "nrt"],
    ["nrt", "ams"],
  ])("from %s to %s", async (first, second) => {
    const id = `back-${first}-${second}`;
    await startAt("iad", id);
    const before = await listen(first, id);
    await say(id, "one", "two");
    await until("it hears them", () => before.events.length === 2);
    before.close();
    await say(id, "three", "four");
    const after = await listen(second, id, before.lastEventId);
    expect(after.starts[0]).toMatchObject({ recovered: true, position: before.lastEventId });
    await say(id, "five");
    await until("it hears the rest", () => after.events.includes("five"));
    expect(after.events).toEqual(["three", "four", "five"]);
    after.close();
  });

  test("nothing was missed: that is said as well", async () => {
    await startAt("iad", "nothing");
    await say("nothing", "one");
    const fresh = await listen("nrt", "nothing");
    expect(fresh.starts).toEqual([{ position: expect.stringMatching(/^[\w-]+\.1$/) }]);
    const again = await listen("ams", "nothing", fresh.lastEventId);
    expect(again.starts).toEqual([{ recovered: true, position: fresh.lastEventId ?? "" }]);
    fresh.close();
    again.close();
  });

  test("more than is kept, or of a topic without a history: recovered is false, and nothing old comes", async () => {
    await startAt("iad", "much");
    const first = await listen("iad", "much");
    await fetch(cluster.url("iad", "/wire/much/publish/news/30"), { method: "POST" });
    const late = await listen("nrt", "much", first.starts[0]?.position);
    expect(late.starts[0]).toMatchObject({ recovered: false });
    const live = await listen("nrt", "much", "anything.1", "live");
    expect(live.starts).toEqual([{ recovered: false }]);
    await say("much", "new");
    await until("it hears what is new", () => late.events.length > 0);
    expect(late.events).toEqual(["new"]);
    for (const client of [first, late, live]) client.close();
  });

  test("a page that is opened for the first time may ask for what is kept", async () => {
    await startAt("iad", "oldest");
    await fetch(cluster.url("iad", "/wire/oldest/publish/news/25"), { method: "POST" });
    const page = await listen("nrt", "oldest", "oldest");
    await until("it has all", () => page.events.length >= 20);
    expect(page.events).toEqual(Array.from({ length: 20 }, (_, n) => `news ${n + 6}`));
    expect(page.starts[0]).not.toHaveProperty("recovered");
    page.close();
  });
});

describe("T5 a history lives on", () => {
  test("over moves, and while the object sleeps without a client", async () => {
    await startAt("iad", "moves");
    const before = await listen("ams", "moves");
    await say("moves", "one");
    await until("it hears", () => before.events.length === 1);
    before.close();
    await move("moves", "nrt");
    await say("moves", "two");
    const asleep = () => cluster.host("nrt").parts.table.live("wire/moves") === undefined;
    await until("it sleeps", asleep);
    await move("moves", "iad");
    const after = await listen("ams", "moves", before.lastEventId);
    expect(after.starts[0]?.recovered).toBe(true);
    await until("it hears", () => after.events.length === 1);
    expect(after.events).toEqual(["two"]);
    after.close();
  });

  test("and is let go with its last message, and the object with it", async () => {
    await startAt("iad", "gone");
    await fetch(cluster.url("iad", "/wire/gone/publish/short/1"), { method: "POST" });
    const { leases } = cluster.host("iad").parts;
    expect(await leases.find(objectRef("wire", "gone"))).toBeDefined();
    await until("nobody has it", async () => !(await leases.find(objectRef("wire", "gone"))), 10_000);
  });

  test("listeners that stay hear each message once while the object moves", async () => {
    await startAt("iad", "stay");
    const clients = await Promise.all(["iad", "ams", "nrt"].map((region) => listen(region, "stay")));
    const texts = Array.from({ length: 60 }, (_, n) => `m${n}`);
    const talking = say("stay", ...texts);
    for (const region of ["nrt", "ams", "iad"]) await move("stay", region);
    await talking;
    await until("all have heard all", () => clients.every(({ events }) => events.length >= texts.length));
    for (const client of clients) {
      expect(client.events).toEqual(texts);
      expect(client.starts).toHaveLength(1);
      client.close();
    }
  });
});

test("T5 a history that is lost with its owner is told to those who listen, and to those who come back", async () => {
  const lost = await cluster.add("lhr");
  await startAt("lhr", "lost");
  const stays = await listen("ams", "lost");
  const raw = await SocketClient.open(cluster.socketUrl("ams", "/wire/lost/-/topics/news"));
  await say("lost", "one");
  await until("they hear", () => stays.events.length === 1 && raw.heard.length === 1);
  await lost.stop();
  await until("it is told", () => stays.starts.length === 2, 10_000);
  expect(stays.starts[1]).toMatchObject({ recovered: false });
  expect((await raw.closed())[0]).toBe(1012);
  const back = await listen("nrt", "lost", stays.all.find(({ event }) => event === "")?.id);
  expect(back.starts[0]).toMatchObject({ recovered: false });
  await say("lost", "two");
  await until("they hear what is new", () => stays.events.length === 2 && back.events.length === 1);
  expect([stays.events, back.events]).toEqual([["one", "two"], ["two"]]);
  stays.close();
  back.close();
});
