import { afterAll, beforeAll, expect, setSystemTime, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartEvent } from "../../infra/object/handles.ts";
import { classDefinition } from "../../infra/object/object.ts";
import channel from "../../objects/channel.ts";
import counter from "../../objects/counter.ts";
import rateLimiter from "../../objects/rate-limiter.ts";
import room from "../../objects/room.ts";
import { FakeHost } from "./fake-scope.ts";

test("a counter counts, by one or by what is asked, and tells who watches", async () => {
  const host = new FakeHost(counter);
  await host.post("/increment");
  expect(await (await host.post("/increment", { by: 4 })).json()).toEqual({ count: 5 });
  expect(await (await host.get("/")).json()).toEqual({ count: 5 });
  expect((await host.post("/increment", { by: "four" })).status).toBe(422);
  expect(host.scope.published).toEqual([
    { topic: "count", message: 1 },
    { topic: "count", message: 5 },
  ]);
  const socket = await host.connect("/live");
  expect([socket.subscriptions, socket.sent]).toEqual([["count"], ["5"]]);
});

test("a room says a message once, however often its sender sends it", async () => {
  const host = new FakeHost(room);
  const hi = { id: "1", from: "ada", text: "hi" };
  for (const message of [hi, hi, { from: "ada", text: "without an id" }])
    await host.post("/messages", message);
  expect(host.scope.published).toMatchObject([
    { topic: "chat", message: hi },
    { topic: "chat", message: { from: "ada", text: "without an id" } },
  ]);
  for (let n = 2; n <= 250; n++) await host.post("/messages", { id: `${n}`, from: "ada", text: "hi" });
  expect(host.scope.state).toHaveProperty("ids.length", 200);
});

test("what is said on a socket of a room is published to all, the sender included", async () => {
  const host = new FakeHost(room);
  const socket = await host.connect("/live");
  expect(socket.subscriptions).toEqual(["chat"]);
  await socket.receive('{"from":"ada","text":"hi"}');
  await socket.receive('{"from":"ada","text":""}');
  expect(host.scope.published).toMatchObject([{ topic: "chat", message: { from: "ada", text: "hi" } }]);
  expect(socket.sent).toHaveLength(1); // that the empty text does not match
});

test("the page of a room may reach its own host and nothing else, and only what it brings itself runs in it", async () => {
  const host = new FakeHost(room);
  const [one, other] = [await host.get("/chat"), await host.get("/chat")];
  const policy = one.headers.get("content-security-policy") ?? "";
  const [, nonce = ""] = /'nonce-([\w-]{36})'/.exec(policy) ?? [];
  expect(policy).toStartWith("default-src 'none'; ");
  expect(policy).not.toMatch(/unsafe|\*|https?:/);
  expect(other.headers.get("content-security-policy")).not.toContain(nonce);
  const page = await one.text();
  expect(page.match(/<(?:script|style)/g)).toHaveLength(page.split(`nonce="${nonce}"`).length - 1);
  expect(page).not.toMatch(/{nonce}|https?:|innerHTML/);
});

test("a rate limiter gives ten tokens at once and one a second after that", async () => {
  const start = new Date("2030-01-01T00:00:00Z");
  setSystemTime(start);
  try {
    const host = new FakeHost(rateLimiter);
    expect(await (await host.post("/take", { tokens: 9 })).json()).toEqual({ tokens: 1 });
    expect((await host.post("/take")).status).toBe(200);
    const refused = await host.post("/take", { tokens: 3 });
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "3"]);
    expect(await refused.json()).toEqual({ retryAfterSeconds: 3 });

    setSystemTime(new Date(start.getTime() + 3000));
    expect((await host.post("/take", { tokens: 3 })).status).toBe(200);
    setSystemTime(start); // a clock that was set back gives nothing and takes nothing
    expect(await (await host.get("/")).json()).toEqual({ tokens: 0 });
    setSystemTime(new Date(start.getTime() + 3_600_000));
    expect(await (await host.get("/")).json()).toEqual({ tokens: 10 });
  } finally {
    setSystemTime();
  }
});

// -- channel: with a database of its own

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateful-channel-"));
  process.env.CHANNEL_DATABASE_URL = `sqlite://${join(folder, "channels.db")}`;
});
afterAll(async () => {
  delete process.env.CHANNEL_DATABASE_URL;
  await rm(folder, { recursive: true });
});

async function startedChannel(streamer: string): Promise<FakeHost> {
  const definition = classDefinition(channel);
  const host = new FakeHost(channel, { id: streamer, resources: { db: definition?.resources.db?.() } });
  await definition?.onStart?.(new StartEvent(host.scope, { reason: "create", gapMs: undefined }));
  return host;
}

test("a channel knows what the database says of its streamer", async () => {
  const host = await startedChannel("ada");
  const answer = await (await host.get("/")).json();
  expect(answer).toMatchObject({ streamer: "ada", title: "Weaving numbers" });
  expect(answer.followers).toBeGreaterThan(10_000);
  expect(structuredClone(host.scope.state)).toEqual({ channel: answer });
  expect((await host.connect("/live")).sent).toEqual([JSON.stringify(answer)]);
});

test("a change to a channel is in the database, in memory and published", async () => {
  const host = await startedChannel("grace");
  const changed = await (await host.post("/", { title: "New title" })).json();
  expect(changed).toMatchObject({ streamer: "grace", title: "New title" });
  expect(host.scope.published).toEqual([{ topic: "channel", message: changed }]);
  expect(await (await host.get("/")).json()).toEqual(changed);
  expect(await (await (await startedChannel("grace")).get("/")).json()).toEqual(changed);
});

test("a streamer whom the database does not know is a 404 until the API server adds them", async () => {
  const host = await startedChannel("barbara");
  expect((await host.get("/")).status).toBe(404);
  expect((await host.connect("/live")).sent).toEqual([]);
  await host.post("/", { title: "First stream" });
  expect(await (await host.get("/")).json()).toEqual({
    streamer: "barbara",
    title: "First stream",
    followers: 0,
  });
});

test("only who has the token may write a channel, where there is a token", async () => {
  process.env.CHANNEL_API_TOKEN = "secret";
  try {
    const host = await startedChannel("linus");
    const write = (authorization: string) =>
      host.request("/", {
        method: "POST",
        headers: { authorization, "content-type": "application/json" },
        body: '{"title":"Rebase"}',
      });
    expect((await write("Bearer guess")).status).toBe(401);
    expect((await write("Bearer secret")).status).toBe(200);
  } finally {
    delete process.env.CHANNEL_API_TOKEN;
  }
});
