import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object, type Topics } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

const history = { count: 20, ageMs: 60_000, bytes: 100_000 };
/** How often hooks have run for an upgrade, by the user that they saw. */
const hooks = new Map<string, number>();

/** Names come from URLs here, of which the compiler knows nothing. */
const ofAnyName = (topics: Topics) => topics;

const hall = object("hall", {
  idleAfterMs: 1000,
  limits: { messageBytesMax: 1000 },
  autoResponse: { request: "ping", response: "pong" },
  topics: {
    news: { subscribe: "anyone", history },
    live: { subscribe: "anyone" },
    wall: { subscribe: "anyone", publish: "clients" },
    "with space/and slash": { subscribe: "anyone" },
    inner: {},
    members: {
      subscribe: ({ request }) =>
        request.headers.get("authorization") === "Bearer ada" &&
        new URL(request.url).searchParams.get("room") === "a&b",
    },
  },
})
  .onBeforeHandle(({ headers, status }) => {
    const user = headers["x-user"];
    if (user !== undefined) hooks.set(user, (hooks.get(user) ?? 0) + 1);
    if (headers["x-banned"] === "text") return status(401, "banned");
    if (headers["x-banned"] === "json") return status(403, { banned: true });
    return undefined;
  })
  .get("/count/:topic", ({ topics, params }) =>
    ofAnyName(topics).subscriberCount(decodeURIComponent(params.topic)),
  )
  .get("/region", ({ host }) => host.region)
  .post("/say/:topic/:text", ({ topics, params }) =>
    ofAnyName(topics).publish(decodeURIComponent(params.topic), params.text),
  )
  .post("/value", ({ topics }) => topics.publish("live", { a: [1, null, "\u2028"] }))
  .post("/bytes", ({ topics }) => topics.publish("live", new Uint8Array([0, 1, 255])))
  .post("/kick", ({ sockets }) => {
    for (const socket of sockets.list()) socket.close(4007, "out");
  })
  .post("/whisper", ({ sockets }) => {
    for (const socket of sockets.list()) socket.send("psst");
  })
  .ws("/chat", { message: (ws, text) => void ws.publish("live", text) });

const adminToken = "a-token-that-only-tests-use";
let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [hall], regions: ["iad", "ams"], config: { adminToken } });
});
afterAll(() => cluster.stop());

const connect = (region: string, headers: Record<string, string> = {}) =>
  ConnectClient.open(cluster.socketUrl(region, ""), { headers });

function post(id: string, path: string): Promise<Response> {
  return fetch(cluster.url("ams", `/hall/${id}/${path}`), { method: "POST" });
}

const say = (id: string, text: string, topic = "live") =>
  post(id, `say/${encodeURIComponent(topic)}/${text}`);

async function count(id: string, topic = "live"): Promise<number> {
  const answer = await fetch(cluster.url("ams", `/hall/${id}/count/${encodeURIComponent(topic)}`));
  return Number(await answer.text());
}

async function move(id: string, region: string): Promise<void> {
  const answer = await fetch(cluster.url("ams", `/-/objects/hall/${id}/move`), {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}` },
    body: JSON.stringify({ region }),
  });
  expect([answer.status, await answer.json()]).toMatchObject([200, { to: { region } }]);
}

/** Where the object lives, by how its client is connected. */
const ways = [
  ["local", "iad"],
  ["remote", "ams"],
] as const;

describe.each([...ways])("%s", (way, region) => {
  const named = async (name: string) => {
    const id = `${name}-${way}`;
    await move(id, "iad");
    return { id, key: `hall/${id}` };
  };

  test("E27 many topics of many objects on one connection, each message with the name of its own", async () => {
    const client = await connect(region);
    const objects = await Promise.all(["many1", "many2", "many3"].map(named));
    for (const { key } of objects)
      for (const topic of ["live", "news"]) {
        const { object, topic: told, position } = await client.subscribe(key, topic);
        expect([object, told]).toEqual([key, topic]);
        expect(position === undefined).toBe(topic === "live");
      }
    expect(client.socket.heard[0]).toBe(
      JSON.stringify({ type: "welcome", host: cluster.host(region).hostId, region }),
    );
    for (const { id } of objects)
      for (const text of ["1", "2"])
        for (const topic of ["live", "news"]) await say(id, `${id}.${topic}.${text}`, topic);
    await until("all is heard", () => client.of("message").length === 12);
    for (const { id, key } of objects)
      for (const topic of ["live", "news"])
        expect(client.heard(key, topic)).toEqual([`${id}.${topic}.1`, `${id}.${topic}.2`]);
    client.close();
    for (const { id } of objects) await until("nobody listens", async () => (await count(id)) === 0);
    await until("the edge holds nobody", () => cluster.host(region).parts.sockets.size === 0);
  });

  test("values, texts and bytes come as what they are; raw listeners hear the same", async () => {
    const { id, key } = await named("forms");
    const client = await connect(region);
    const raw = await SocketClient.open(cluster.socketUrl(region, `/${key}/-/topics/live`));
    await client.subscribe(key, "live");
    await until("both listen", async () => (await count(id)) === 2);
    await post(id, "value");
    await say(id, "text");
    await post(id, "bytes");
    await until("all is heard", () => client.of("message").length === 3);
    const named3 = { type: "message", object: key, topic: "live" };
    expect(client.of("message")).toEqual([
      { ...named3, data: { a: [1, null, "\u2028"] } },
      { ...named3, text: "text" },
      { ...named3, bytes: "AAH/" },
    ]);
    expect(await raw.hears(3)).toEqual(['{"a":[1,null,"\u2028"]}', "text", new Uint8Array([0, 1, 255])]);
    raw.close();
    client.close();
  });

  test("T3 what clients publish is heard by all, themselves included, as what they published", async () => {
    const { id, key } = await named("wall");
    const [client, other] = [await connect(region), await connect("iad")];
    const { id: mine } = await client.subscribe(key, "wall");
    await other.subscribe(key, "wall");
    await until("both listen", async () => (await count(id, "wall")) === 2);
    client.say({ type: "publish", id: mine, data: { from: "ann", n: [1] } });
    client.say({ type: "publish", id: mine, text: "ping" });
    client.say({ type: "publish", id: mine, bytes: "AAH/" });
    for (const each of [client, other]) {
      await until("all is heard", () => each.of("message").length === 3);
      expect(each.of("message").map(({ data, text, bytes }) => data ?? text ?? bytes)).toEqual([
        { from: "ann", n: [1] },
        "ping",
        "AAH/",
      ]);
      each.close();
    }
  });

  test("what is published before the subscription has begun is published when it has", async () => {
    const { key } = await named("early");
    const client = await connect(region);
    const id = client.ask(key, "wall");
    client.say({ type: "publish", id, text: "first" });
    client.say({ type: "publish", id, text: "second" });
    await until("both are heard", () => client.of("message").length === 2);
    expect(client.heard(key, "wall")).toEqual(["first", "second"]);
    client.close();
  });

  test("E28 a publish that the topic does not take fails, and the subscription goes on", async () => {
    const { id, key } = await named("failed");
    const client = await connect(region);
    const { id: mine } = await client.subscribe(key, "live");
    client.say({ type: "publish", id: mine, text: "mine" });
    expect((await client.told("failed", mine)).error).toMatchObject({ code: "topic_closed", status: 403 });
    client.say({ type: "publish", id: 99, text: "to nobody" });
    expect((await client.told("failed", 99)).error).toMatchObject({ code: "not_found" });
    await say(id, "theirs");
    await until("it hears", () => client.heard(key, "live").length === 1);
    client.close();
  });

  test("a message over the class's limit ends the subscription with 1009, and no other", async () => {
    const { id, key } = await named("long");
    const client = await connect(region);
    const { id: wall } = await client.subscribe(key, "wall");
    await client.subscribe(key, "live");
    client.say({ type: "publish", id: wall, text: "x".repeat(1001) });
    expect(await client.told("unsubscribed", wall)).toMatchObject({ code: 1009, topic: "wall" });
    await say(id, "still here");
    await until("it hears", () => client.heard(key, "live").length === 1);
    client.close();
  });

  test.each([
    ["text", 401, { type: "about:blank", title: "Unauthorized", status: 401, detail: "banned" }],
    ["json", 403, { type: "about:blank", title: "Forbidden", status: 403, banned: true }],
  ])("E28 a hook that refuses with %s is what the client is told, %d", async (how, status, error) => {
    const { id, key } = await named(`banned-${how}`);
    const client = await connect(region, { "x-banned": how });
    const asked = client.ask(key, "live");
    expect(await client.told("refused", asked)).toEqual({ type: "refused", id: asked, status, error });
    client.say({ type: "hello", headers: { "x-banned": "no" } });
    client.say({ type: "subscribe", id: asked, object: key, topic: "live" });
    await client.told("subscribed", asked);
    expect(await count(id)).toBe(1);
    client.close();
  });

  test("E27 headers of hello and the query reach the class's hooks, and a closed topic is refused with 403", async () => {
    const { key } = await named("hello");
    const client = await connect(region, { "x-user": `own-${way}` });
    const without = client.ask(key, "members", { query: "room=a%26b" });
    expect(await client.told("refused", without)).toMatchObject({
      status: 403,
      error: { code: "topic_closed" },
    });
    client.say({ type: "hello", headers: { Authorization: "Bearer ada", "x-user": `hello-${way}` } });
    await client.subscribe(key, "members", { query: "room=a%26b" });
    expect([hooks.get(`own-${way}`), hooks.get(`hello-${way}`)]).toEqual([1, 1]);
    const { id: inner } = { id: client.ask(key, "inner") };
    expect((await client.told("refused", inner)).status).toBe(403);
    client.close();
  });

  test("E28 unsubscribe ends one subscription; its topic and its id are free again", async () => {
    const { id, key } = await named("leave");
    const client = await connect(region);
    const { id: mine } = await client.subscribe(key, "live");
    await client.subscribe(key, "news");
    client.say({ type: "unsubscribe", id: mine });
    expect(await client.told("unsubscribed", mine)).toEqual({
      ...{ type: "unsubscribed", id: mine, object: key, topic: "live", code: 1000, reason: "" },
    });
    await until("it has left", async () => (await count(id)) === 0);
    await say(id, "unheard");
    client.say({ type: "subscribe", id: mine, object: key, topic: "live" });
    await until("it is subscribed again", () => client.of("subscribed").length === 3);
    await say(id, "heard");
    await until("it hears", () => client.heard(key, "live").length > 0);
    expect(client.heard(key, "live")).toEqual(["heard"]);
    client.close();
  });

  test("E28 an owner's close ends a subscription and neither the others nor the connection", async () => {
    const [first, second] = [await named("kick1"), await named("kick2")];
    const client = await connect(region);
    const { id: out } = await client.subscribe(first.key, "live");
    await client.subscribe(second.key, "live");
    await post(first.id, "kick");
    expect(await client.told("unsubscribed", out)).toMatchObject({ code: 4007, reason: "out" });
    await post(second.id, "whisper");
    await say(second.id, "loud");
    await until("it hears", () => client.heard(second.key, "live").length === 2);
    expect(client.heard(second.key, "live")).toEqual(["psst", "loud"]);
    client.say({ type: "ping" });
    await until("pong", () => client.of("pong").length === 1);
    client.close();
  });
});
