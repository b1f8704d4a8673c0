import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { t } from "elysia";
import { object, type Topics, topic } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { EventClient } from "../support/event-client.ts";
import { RawClient } from "../support/raw-client.ts";
import { SocketClient, type SocketClientOptions } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

/** Where the topic's name is the client's, the compiler cannot know it. */
interface Named {
  readonly topics: Topics;
  readonly params: { readonly topic: string };
  readonly request: Request;
}

const feed = object("feed", {
  placement: { regions: ["iad"] },
  state: () => ({ members: ["ada"] }),
  limits: { messageBytesMax: 200_000 },
  topics: {
    news: { subscribe: "anyone" },
    wall: { subscribe: "anyone", publish: "clients" },
    typed: topic({
      schema: t.Object({ from: t.String(), text: t.String({ maxLength: 5 }) }),
      subscribe: "anyone",
      publish: "clients",
    }),
    "with space/and slash": { subscribe: "anyone" },
    inner: {},
    members: {
      publish: "clients",
      subscribe: async ({ request, state, topic, objectId }) =>
        topic === "members" && objectId !== "" && state.members.includes(request.headers.get("x-name") ?? ""),
    },
    failing: {
      subscribe: () => {
        throw new Error("the author's mistake");
      },
    },
  },
})
  .onBeforeHandle(({ headers, status, set }) => {
    set.headers["x-hook"] = "ran";
    return headers["x-banned"] === "yes" ? status(401, "banned") : undefined;
  })
  .get("/count/:topic", ({ topics, params }: Named) =>
    topics.subscriberCount(decodeURIComponent(params.topic)),
  )
  .post(
    "/publish/:topic",
    async ({ topics, params, request }: Named) => {
      topics.publish(decodeURIComponent(params.topic), await request.text());
    },
    { parse: "none" },
  )
  .post("/bytes", ({ topics }) => topics.publish("news", new TextEncoder().encode("from bytes")))
  .post("/value", ({ topics }) => topics.publish("news", { a: [1, null] }))
  .ws("/live", {
    open: (ws) => ws.subscribe("news"),
    message: (ws, text) => void ws.publish("news", text),
  });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [feed], regions: ["iad", "ams"] });
});
afterAll(() => cluster.stop());

const ways = [
  ["local", "iad"],
  ["remote", "ams"],
] as const;

async function count(id: string, topic = "news"): Promise<number> {
  return Number(
    await (await fetch(cluster.url("iad", `/feed/${id}/count/${encodeURIComponent(topic)}`))).text(),
  );
}

function publish(id: string, body: string, topic = "news"): Promise<Response> {
  return fetch(cluster.url("ams", `/feed/${id}/publish/${encodeURIComponent(topic)}`), {
    method: "POST",
    body,
  });
}

function socket(
  region: string,
  id: string,
  topic: string,
  options?: SocketClientOptions,
): Promise<SocketClient> {
  return SocketClient.open(
    cluster.socketUrl(region, `/feed/${id}/-/topics/${encodeURIComponent(topic)}`),
    options,
  );
}

function events(region: string, id: string, topic: string, headers = {}): Promise<EventClient> {
  return EventClient.open(cluster.url(region, `/feed/${id}/-/topics/${encodeURIComponent(topic)}`), headers);
}

describe.each([...ways])("%s", (way, region) => {
  test("a WebSocket and an event stream hear what is published, in order, each once", async () => {
    const id = `hear-${way}`;
    const [listener, stream] = [await socket(region, id, "news"), await events(region, id, "news")];
    expect(stream.response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    await until("both are subscribed", async () => (await count(id)) === 2);
    for (const text of ["one", "two\nlines", "", "three"]) await publish(id, text);
    await fetch(cluster.url("ams", `/feed/${id}/value`), { method: "POST" });
    await fetch(cluster.url("ams", `/feed/${id}/bytes`), { method: "POST" });
    const expected = ["one", "two\nlines", "", "three", '{"a":[1,null]}', "from bytes"];
    await until("the stream has heard all", () => stream.events.length >= expected.length);
    expect(stream.events).toEqual(expected);
    const heard = await listener.hears(expected.length);
    expect(heard.slice(0, -1)).toEqual(expected.slice(0, -1));
    expect(heard.at(-1)).toEqual(new TextEncoder().encode("from bytes"));
    listener.close();
    stream.close();
    await until("nobody is subscribed", async () => (await count(id)) === 0);
    await until("the edge holds nobody", () => cluster.host(region).parts.sockets.size === 0);
  });

  test("ws.publish of a handler reaches event streams at the sender's edge and elsewhere", async () => {
    const id = `mixed-${way}`;
    const sender = await SocketClient.open(cluster.socketUrl(region, `/feed/${id}/live`));
    const streams = [await events("iad", id, "news"), await events("ams", id, "news")];
    await until("all are subscribed", async () => (await count(id)) === 3);
    sender.send("hello");
    await until("the streams hear", () => streams.every((stream) => stream.events.length > 0));
    expect(streams.map((stream) => stream.events)).toEqual([["hello"], ["hello"]]);
    expect(sender.heard).toEqual([]);
    sender.close();
    for (const stream of streams) stream.close();
    await until("nobody is subscribed", async () => (await count(id)) === 0);
  });

  test("a topic's name may be anything that a path segment can carry", async () => {
    const topic = "with space/and slash";
    const listener = await socket(region, `names-${way}`, topic);
    await until("it is subscribed", async () => (await count(`names-${way}`, topic)) === 1);
    await publish(`names-${way}`, "found", topic);
    expect(await listener.hears(1)).toEqual(["found"]);
    listener.close();
  });

  test("T3 what clients send on the endpoint is published where the class says so", async () => {
    const clients = [await socket("iad", `wall-${way}`, "wall"), await socket(region, `wall-${way}`, "wall")];
    await until("both are subscribed", async () => (await count(`wall-${way}`, "wall")) === 2);
    clients[1]?.send("hello");
    for (const client of clients) expect(await client.hears(1)).toEqual(["hello"]);
    clients[1]?.send(new Uint8Array([1, 2]));
    for (const client of clients) expect((await client.hears(2))[1]).toEqual(new Uint8Array([1, 2]));
    for (const client of clients) client.close();
  });

  test("and closes with 4403 where it does not", async () => {
    const client = await socket(region, `server-${way}`, "news");
    client.send("mine");
    expect((await client.closed())[0]).toBe(4403);
    await until("it is unsubscribed", async () => (await count(`server-${way}`)) === 0);
  });

  test("O7 what does not match a topic's schema closes its sender with 1007, and nobody hears it", async () => {
    const id = `typed-${way}`;
    const [listener, sender] = [await socket("iad", id, "typed"), await socket(region, id, "typed")];
    await until("both are subscribed", async () => (await count(id, "typed")) === 2);
    sender.send(' {"from": "ann", "text": "hello"}');
    expect(await sender.hears(1)).toEqual(['{"from":"ann","text":"hello"}']);
    sender.send('{"from":"ann","text":"hello you"}');
    const [code, reason] = await sender.closed();
    expect(code).toBe(1007);
    expect(reason).toStartWith(
      'The topic "typed" does not take this message at /text: Expected string length',
    );
    expect(listener.heard).toEqual(['{"from":"ann","text":"hello"}']);
    listener.close();
  });

  test("O8 what is posted to a topic's address is heard like what is sent there", async () => {
    const id = `posted-${way}`;
    const [wall, typed] = [await socket("iad", id, "wall"), await events(region, id, "typed")];
    const posted = async (topic: string, type: string, body: BodyInit, headers = {}) => {
      const url = cluster.url(region, `/feed/${id}/-/topics/${topic}`);
      const init = { method: "POST", headers: { "content-type": type, ...headers }, body };
      const response = await fetch(url, init);
      return [response.status, await response.json(), response.headers.get("x-hook")];
    };
    await until(
      "both are subscribed",
      async () => (await count(id, "wall")) + (await count(id, "typed")) === 2,
    );
    const accepted = [202, {}, "ran"];
    expect(await posted("wall", "text/plain", "a text")).toEqual(accepted);
    expect(await posted("wall", "application/json", '{ "a": [1] }')).toEqual(accepted);
    expect(await posted("wall", "application/octet-stream", new Uint8Array([0, 255]))).toEqual(accepted);
    expect(await posted("typed", "application/json", '{"from":"bob","text":"hi"}')).toEqual(accepted);
    expect(await posted("members", "text/plain", "mine", { "x-name": "ada" })).toEqual(accepted);
    expect(await wall.hears(3)).toEqual(["a text", '{"a":[1]}', new Uint8Array([0, 255])]);
    await until("the stream hears", () => typed.events.length > 0);

    const refused = (status: number, code: string) => [status, expect.objectContaining({ code }), "ran"];
    expect(await posted("typed", "application/json", '{"from":"bob"}')).toEqual(
      refused(422, "invalid_input"),
    );
    expect(await posted("wall", "application/json", "{")).toEqual([400, expect.anything(), null]); // no hook has run
    expect(await posted("news", "text/plain", "mine")).toEqual(refused(403, "topic_closed"));
    expect(await posted("inner", "text/plain", "mine")).toEqual(refused(403, "topic_closed"));
    expect(await posted("members", "text/plain", "mine")).toEqual(refused(403, "topic_closed"));
    expect([typed.events, wall.heard.length]).toEqual([['{"from":"bob","text":"hi"}'], 3]);
    wall.close();
    typed.close();
  });

  test("O8 a posted message is held to the limit of a socket's, whether its length is told or not", async () => {
    const url = cluster.url(region, `/feed/long-${way}/-/topics/wall`);
    const post = (body: BodyInit) => fetch(url, { method: "POST", body });
    const text = "x".repeat(200_000);
    expect((await post(text)).status).toBe(202);
    const chunks = () => new Blob([text, "!"]).stream();
    for (const body of [`${text}!`, chunks()]) {
      const response = await post(body);
      expect([response.status, (await response.json()).code]).toEqual([413, "body_too_large"]);
    }
    expect((await post("still there")).status).toBe(202);
  });

  test.each(["inner", "undeclared", "members", "hasOwnProperty"])(
    "T3 the topic %p is closed to a stranger, 403",
    async (topic) => {
      const path = `/feed/closed-${way}/-/topics/${topic}`;
      const stream = await fetch(cluster.url(region, path), { headers: { accept: "text/event-stream" } });
      expect([stream.status, (await stream.json()).code]).toEqual([403, "topic_closed"]);
      const client = await RawClient.connect(cluster.host(region).port);
      client.upgrade(path);
      const { status, body } = await client.answer();
      expect([status, JSON.parse(body).code]).toEqual([403, "topic_closed"]);
      client.close();
      expect(await count(`closed-${way}`, topic)).toBe(0);
    },
  );

  test("a function decides for each request, with the object's state at hand", async () => {
    const [listener, stream] = [
      await socket(region, `asked-${way}`, "members", { headers: { "x-name": "ada" } }),
      await events(region, `asked-${way}`, "members", { "x-name": "ada" }),
    ];
    await until("both are subscribed", async () => (await count(`asked-${way}`, "members")) === 2);
    await publish(`asked-${way}`, "hello", "members");
    expect(await listener.hears(1)).toEqual(["hello"]);
    await until("the stream hears", () => stream.events[0] === "hello");
    listener.close();
    stream.close();
  });

  test("a function that throws is the author's failure, 500, and opens nothing", async () => {
    const url = cluster.url(region, `/feed/failing-${way}/-/topics/failing`);
    const response = await fetch(url, { headers: { accept: "text/event-stream" } });
    expect([response.status, (await response.json()).code]).toEqual([500, "handler_failed"]);
  });

  test("the class's own hooks stand before the endpoint, and their fields are on its answer", async () => {
    const path = `/feed/hooks-${way}/-/topics/news`;
    const banned = await fetch(cluster.url(region, path), {
      headers: { accept: "text/event-stream", "x-banned": "yes" },
    });
    expect([banned.status, await banned.text()]).toEqual([401, "banned"]);
    const client = await RawClient.connect(cluster.host(region).port);
    client.upgrade(path, ["X-Banned: yes"]);
    expect((await client.answer()).status).toBe(401);
    client.close();
    expect(await count(`hooks-${way}`)).toBe(0);
  });

  test("an event stream that nobody reads is broken off, and the others go on", async () => {
    const id = `slow-${way}`;
    const slow = await RawClient.connect(cluster.host(region).port);
    slow.head(`GET /feed/${id}/-/topics/news`, ["Accept: text/event-stream"]);
    const quick = await events(region, id, "news");
    await until("both are subscribed", async () => (await count(id)) === 2);
    slow.socket.pause();
    const messages = 150;
    const text = "x".repeat(100_000);
    for (let n = 0; n < messages; n++) await publish(id, `${n} ${text}`);
    await until("the slow one is gone", async () => (await count(id)) === 1);
    await until("the quick one has heard all", () => quick.text.includes(`data: ${messages - 1} `), 10_000);
    expect(quick.events.map((event) => Number(event.split(" ")[0]))).toEqual(
      Array.from({ length: messages }, (_, n) => n),
    );
    quick.close();
    slow.close();
    await until("nobody is subscribed", async () => (await count(id)) === 0);
  }, 20_000);

  test("a client that leaves before the first event leaves nothing behind", async () => {
    const id = `left-${way}`;
    for (let n = 0; n < 40; n++) {
      const client = await RawClient.connect(cluster.host(region).port);
      client.head(`GET /feed/${id}/-/topics/news`, ["Accept: text/event-stream"]);
      for (let turn = 0; turn < n % 10; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      client.close();
    }
    await until("nobody is subscribed", async () => (await count(id)) === 0);
    await until("the edge holds nobody", () => cluster.host(region).parts.sockets.size === 0);
    const activation = cluster.host("iad").parts.table.live(`feed/${id}`);
    await until(
      "the object has no socket",
      () => activation?.socketCount === 0 && activation.openEvents === 0,
    );
  });
});

test("E14 a host that stops ends its own event streams, and says so; those of other edges hear the next owner", async () => {
  const own = await events("iad", "end", "news");
  const other = await events("ams", "end", "news");
  await until("both are subscribed", async () => (await count("end")) === 2);
  await cluster.host("iad").stop();
  await until("its own has ended", () => own.isOver);
  expect(own.text).toContain('event: close\ndata: {"code":1012');
  await cluster.add("iad");
  await until("the other is subscribed again", async () => (await count("end")) === 1);
  await publish("end", "from the next owner");
  await until("it hears that", () => other.events.includes("from the next owner"));
  expect(other.isOver).toBe(false);
});
