import { afterEach, expect, test } from "bun:test";
import { t } from "elysia";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { until } from "../support/wait.ts";

const room = object("room", { topics: { chat: { subscribe: "anyone" } } })
  .post(
    "/say",
    ({ body, topics }) => {
      topics.publish("chat", body.text);
      return { listeners: topics.subscriberCount("chat") };
    },
    { body: t.Object({ text: t.String() }) },
  )
  .ws("/live", { open: (ws) => ws.subscribe("chat"), message: () => undefined });

const regions = ["iad", "ams", "nrt"] as const;
const perRegion = 100;
const messages = 50;

let cluster: Cluster;
const open: WebSocket[] = [];
afterEach(async () => {
  for (const socket of open.splice(0)) socket.close();
  await cluster.stop();
});

interface Listener {
  readonly region: string;
  readonly heard: string[];
}

async function listen(region: string): Promise<Listener> {
  const socket = new WebSocket(cluster.socketUrl(region, "/room/lobby/live"));
  open.push(socket);
  const heard: string[] = [];
  socket.addEventListener("message", ({ data }) => heard.push(String(data)));
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("close", ({ code, reason }) => reject(new Error(`closed ${code} ${reason}`)));
  });
  return { region, heard };
}

async function say(region: string, text: string): Promise<{ listeners: number }> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(cluster.url(region, "/room/lobby/say"), {
    method: "POST",
    headers,
    body: JSON.stringify({ text }),
  });
  if (response.status !== 200)
    throw new Error(`${region} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

test("T1 T4 each message reaches each of 300 sockets in three regions once, in order, in one frame per edge", async () => {
  cluster = await startCluster({ classes: [room] });
  await say("ams", "first, so that ams owns the room");
  const listeners = await Promise.all(
    regions.flatMap((region) => Array.from({ length: perRegion }, () => listen(region))),
  );
  await until("all 300 are subscribed", async () => (await say("iad", "hello")).listeners === 300);
  for (const { heard } of listeners) heard.length = 0;
  await until(
    "the greetings are over",
    () => listeners.every(({ heard }) => heard.length === 0) || undefined,
  );

  const framesBefore = cluster.host("ams").parts.links.publishFramesSent;
  const published = Array.from({ length: messages }, (_, n) => `message ${n}`);
  for (const [n, text] of published.entries()) await say(regions[n % 3] ?? "iad", text);
  await until("everyone has heard the last message", () =>
    listeners.every(({ heard }) => heard.at(-1) === published.at(-1)),
  );

  for (const { heard } of listeners) expect(heard.filter((text) => text !== "hello")).toEqual(published);
  // Two other edges: two frames a message, whatever the number of their sockets.
  expect(cluster.host("ams").parts.links.publishFramesSent - framesBefore).toBe(messages * 2);
}, 30_000);

test("T1 an edge whose last subscriber has gone gets no more frames", async () => {
  cluster = await startCluster({ classes: [room] });
  await say("ams", "first, so that ams owns the room");
  await listen("nrt");
  await until("nrt is subscribed", async () => (await say("ams", "hello")).listeners === 1);
  for (const socket of open.splice(0)) socket.close();
  await until("nobody is subscribed", async () => (await say("ams", "hello")).listeners === 0);
  const framesBefore = cluster.host("ams").parts.links.publishFramesSent;
  await say("ams", "to nobody");
  expect(cluster.host("ams").parts.links.publishFramesSent).toBe(framesBefore);
});

test("E29 T1 1,000 who listen in frames hear one frame each, and their edge is sent one for each message", async () => {
  // A lease that outlasts a machine which is busy with so many clients.
  cluster = await startCluster({ classes: [room], config: { leaseTtlMs: 9000 } });
  await say("ams", "first, so that ams owns the room");
  const clients = await Promise.all(
    Array.from({ length: 1000 }, () => ConnectClient.open(cluster.socketUrl("nrt", ""))),
  );
  for (const client of clients) client.ask("room/lobby", "chat");
  const have = (frames: number) => () => clients.every(({ socket }) => socket.heard.length === frames);
  await until("all are subscribed", have(2), 30_000);
  const framesBefore = cluster.host("ams").parts.links.publishFramesSent;
  for (let n = 0; n < 10; n++) expect((await say("nrt", `${n}`)).listeners).toBe(1000);
  await until("all have heard all", have(2 + 10), 20_000);
  const last = JSON.stringify({ type: "message", object: "room/lobby", topic: "chat", text: "9" });
  for (const { socket } of clients) expect(socket.heard.at(-1)).toBe(last);
  expect(cluster.host("ams").parts.links.publishFramesSent - framesBefore).toBe(10);
  for (const client of clients) client.close();
  await until("the edge holds nobody", () => cluster.host("nrt").parts.sockets.size === 0);
}, 90_000);
