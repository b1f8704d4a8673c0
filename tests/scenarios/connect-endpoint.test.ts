import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object, type Topics } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { adminToken } from "../support/admin-token.ts";
import { moveObject } from "../support/move-object.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { RawClient } from "../support/raw-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

const history = { count: 20, ageMs: 60_000, bytes: 100_000 };
/** How often hooks have run for an upgrade, by the user that they saw. */
const hooks = new Map<string, number>();

/** Names come from URLs here, of which the compiler knows nothing. */
const ofAnyName = (topics: Topics) => topics;

const hall = object("hall", {
  idleAfterMs: 1000,
  placement: { follow: false },
  limits: { messageBytesMax: 1000 },
  autoResponse: { request: "ping", response: "pong" },
  topics: {
    news: { subscribe: "anyone", history },
    live: { subscribe: "anyone" },
    wall: { subscribe: "anyone", publish: "clients" },
    posts: { subscribe: "anyone", publish: "clients", history },
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

const move = (id: string, region: string) => moveObject(cluster, `hall/${id}`, region);

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
      JSON.stringify({ type: "welcome", host: cluster.host(region).hostId, region, protocol: 1 }),
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

  test("E28 one that asks for it is told when it is published, and where", async () => {
    const { key } = await named("answered");
    const client = await connect(region);
    const { id: news } = await client.subscribe(key, "posts");
    client.say({ type: "publish", id: news, text: "unanswered" });
    client.say({ type: "publish", id: news, text: "first", ref: 1 });
    client.say({ type: "publish", id: news, bytes: "AAH/", ref: 2 });
    const { id: wall } = await client.subscribe(key, "wall");
    client.say({ type: "publish", id: wall, data: { a: 1 }, ref: 2 });
    expect(await client.told("published", wall)).toEqual({ type: "published", id: wall, ref: 2 });
    await until("all is heard", () => client.of("message").length === 4);
    const positions = client.of("message").map(({ position }) => position);
    const answers = client.of("published").filter(({ id }) => id === news);
    expect(answers.map(({ ref, position }) => [ref, position])).toEqual([
      [1, positions[1]],
      [2, positions[2]],
    ]);
    const posted = await fetch(cluster.url("ams", `/${key}/-/topics/posts`), {
      method: "POST",
      body: "more",
    });
    expect([posted.status, await posted.json()]).toEqual([202, { position: expect.any(String) }]);
    client.close();
  });

  test("E28 a message over the class's limit fails, and the subscription goes on", async () => {
    const { key } = await named("long");
    const client = await connect(region);
    const { id: wall } = await client.subscribe(key, "wall");
    client.say({ type: "publish", id: wall, text: "x".repeat(1001), ref: 1 });
    client.say({ type: "publish", id: wall, text: "x".repeat(1000), ref: 2 });
    expect(await client.told("failed", wall)).toMatchObject({ ref: 1, error: { code: "body_too_large" } });
    expect(await client.told("published", wall)).toMatchObject({ ref: 2 });
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

describe("E14 E27 over what becomes of hosts", () => {
  test.each([
    ["iad", "ams"],
    ["ams", "iad"],
    ["ams", "ams"],
  ])("who comes back from %s to %s hears what was missed, in order, once", async (first, second) => {
    const id = `back-${first}-${second}`;
    await move(id, "iad");
    const before = await connect(first);
    await before.subscribe(`hall/${id}`, "news");
    for (const text of ["one", "two"]) await say(id, text, "news");
    await until("it hears them", () => before.of("message").length === 2);
    const since = before.of("message")[1]?.position;
    before.close();
    for (const text of ["three", "four"]) await say(id, text, "news");
    const after = await connect(second);
    expect(await after.subscribe(`hall/${id}`, "news", { since })).toMatchObject({
      recovered: true,
      position: since,
    });
    await say(id, "five", "news");
    await until("it hears the rest", () => after.of("message").length === 3);
    expect(after.heard(`hall/${id}`, "news")).toEqual(["three", "four", "five"]);
    const late = await connect(second);
    expect(await late.subscribe(`hall/${id}`, "news", { since: "another.1" })).toMatchObject({
      recovered: false,
    });
    expect(await late.subscribe(`hall/${id}`, "live", { since: "another.1" })).toMatchObject({
      recovered: false,
    });
    for (const client of [after, late]) client.close();
  });

  test("a subscription goes on over moves of its object, without a word of them", async () => {
    const [id, key] = ["stays", "hall/stays"];
    await move(id, "iad");
    const clients = [await connect("iad"), await connect("ams")];
    for (const client of clients) for (const topic of ["news", "wall"]) await client.subscribe(key, topic);
    const texts = Array.from({ length: 30 }, (_, n) => `m${n}`);
    const talking = (async () => {
      for (const text of texts) await say(id, text, "news");
    })();
    for (const region of ["ams", "iad", "ams"]) await move(id, region);
    await talking;
    for (const client of clients) {
      await until("all is heard", () => client.heard(key, "news").length === texts.length);
      expect(client.heard(key, "news")).toEqual(texts);
      client.say({ type: "publish", id: 2, text: "from a client" });
    }
    for (const client of clients) {
      await until("they hear each other", () => client.heard(key, "wall").length === 2);
      expect(client.of("subscribed")).toHaveLength(2);
      client.close();
    }
  });

  test("an object sleeps under its subscriptions; their hooks run again when a client's publish wakes it", async () => {
    const [id, key] = ["sleeps", "hall/sleeps"];
    await move(id, "iad");
    const client = await connect("ams", { "x-user": "sleeper" });
    const { id: wall } = await client.subscribe(key, "wall");
    await client.subscribe(key, "news");
    await say(id, "before", "news");
    const { table } = cluster.host("iad").parts;
    await until("it sleeps", () => table.live(key) === undefined, 10_000);
    client.say({ type: "ping" });
    await until("pong", () => client.of("pong").length === 1);
    expect([table.live(key), hooks.get("sleeper")]).toEqual([undefined, 2]);
    client.say({ type: "publish", id: wall, data: ["awake"] });
    await until("it is heard", () => client.heard(key, "wall").length === 1);
    expect(client.heard(key, "wall")).toEqual([["awake"]]);
    expect(hooks.get("sleeper")).toBe(3);
    await say(id, "after", "news");
    await until("it is heard", () => client.heard(key, "news").length === 2);
    expect(client.of("subscribed")).toHaveLength(2);
    client.close();
  });

  test("an owner that is lost with its history: that is told, and what is new is heard", async () => {
    const [id, key] = ["lost", "hall/lost"];
    const lost = await cluster.add("lhr");
    await move(id, "lhr");
    const client = await connect("ams");
    const { id: news } = await client.subscribe(key, "news");
    await move("unharmed", "iad");
    await client.subscribe("hall/unharmed", "news");
    await say(id, "one", "news");
    await until("it hears", () => client.heard(key, "news").length === 1);
    const [{ position } = {}] = client.of("message");
    await lost.stop();
    const again = () => client.of("subscribed").filter(({ id }) => id === news)[1];
    const told = await until("it is told", again, 15_000);
    expect(told).toMatchObject({ object: key, topic: "news", recovered: false });
    expect(told.position).not.toBe(position ?? "");
    await say(id, "two", "news");
    await until("it hears what is new", () => client.heard(key, "news").length === 2);
    expect([client.of("unsubscribed"), client.of("subscribed").length]).toEqual([[], 3]);
    client.close();
  }, 30_000);

  test("an edge that stops closes its connections with 1012", async () => {
    const edge = await cluster.add("syd");
    const client = await connect("syd");
    await client.subscribe("hall/edge-stops", "live");
    await edge.stop();
    expect((await client.socket.closed())[0]).toBe(1012);
    await until("nobody listens", async () => (await count("edge-stops")) === 0);
  });

  test("a host that drains takes no new connections, and keeps the old ones until it goes", async () => {
    const edge = await cluster.add("fra", { lameDuckMs: 1000 });
    const client = await connect("fra");
    const draining = edge.drain();
    const refused = await RawClient.connect(edge.port);
    refused.upgrade("/-/connect");
    const { status, body } = await refused.answer();
    expect([status, JSON.parse(body).code]).toEqual([503, "host_draining"]);
    await client.subscribe("hall/while-draining", "live");
    await draining;
    expect((await client.socket.closed())[0]).toBe(1012);
  });
});

describe("E30 at the door", () => {
  test.each([
    ["GET", "/-/connect"],
    ["POST", "/-/connect?a=1"],
    ["HEAD", "/-/connect"],
  ])("%s %s without an upgrade is answered with 426", async (method, path) => {
    const response = await fetch(cluster.url("ams", path), { method });
    expect([response.status, response.headers.get("upgrade")]).toEqual([426, "websocket"]);
  });

  test("what is beside it is not it", async () => {
    for (const path of ["/-/connect/", "/-/connected", "/-/Connect"])
      expect((await fetch(cluster.url("ams", path))).status).toBe(404);
  });

  test("a host that is full refuses connections, and subscriptions on those that it has", async () => {
    const edge = await cluster.add("gru", { socketsMax: 2 });
    const client = await connect("gru");
    await client.subscribe("hall/full", "live");
    const more = client.ask("hall/full", "news");
    expect(await client.told("refused", more)).toMatchObject({ status: 503, error: { code: "host_full" } });
    const refused = await RawClient.connect(edge.port);
    refused.upgrade("/-/connect");
    expect(JSON.parse((await refused.answer()).body).code).toBe("host_full");
    client.close();
    await edge.stop();
  });

  test("a frame that is none closes with 1008, and the host goes on", async () => {
    const client = await connect("ams");
    await client.subscribe("hall/hostile", "live");
    client.socket.send("{");
    expect(await client.socket.closed()).toEqual([1008, expect.stringContaining("JSON")]);
    await until("nobody listens", async () => (await count("hostile")) === 0);
  });

  test("E27 a header cannot make a request a subscription", async () => {
    const client = await SocketClient.open(cluster.socketUrl("ams", "/hall/forged/-/topics/wall"), {
      headers: { "x-kind": "subscription", kind: "subscription" },
    });
    await until("it listens", async () => (await count("forged", "wall")) === 1);
    client.send("just text");
    expect(await client.hears(1)).toEqual(["just text"]);
    client.close();
  });
});
