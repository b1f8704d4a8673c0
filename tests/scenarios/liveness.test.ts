import { afterAll, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { RawClient } from "../support/raw-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

/** The shortest that Bun counts: multiples of four seconds, and a ping some time before each. */
const socketIdleTimeoutMs = 8000;

const porch = object("porch", {
  placement: { regions: ["iad"] },
  idleAfterMs: 1000,
  topics: { news: { subscribe: "anyone" } },
}).post("/say/:text", ({ topics, params }) => topics.publish("news", params.text));

let cluster: Cluster;
/** The tests wait at the same time, each with clients at an edge of its own. */
beforeAll(async () => {
  cluster = await startCluster({
    classes: [porch],
    regions: ["iad", "ams", "nrt", "fra"],
    config: { socketIdleTimeoutMs },
  });
});
afterAll(() => cluster.stop());

/** Bun's clock for this goes in steps of four seconds, and a loaded machine is late. */
const foundMs = socketIdleTimeoutMs + 12_000;

test.concurrent("E32 clients that have vanished without a word are found, and told to the object", async () => {
  const { sockets } = cluster.host("ams").parts;
  const clients: RawClient[] = [];
  for (const path of ["/porch/gone/-/topics/news", "/-/connect"]) {
    const client = await RawClient.connect(cluster.host("ams").port);
    client.upgrade(path);
    clients.push(client);
  }
  await until("they are held", () => sockets.size === 2);
  // They answer no ping: what a cable that was pulled looks like from here.
  await until("they are given up", () => sockets.size === 0, foundMs);
  for (const client of clients) client.close();
}, 60_000);

test.concurrent("E32 a client that has vanished is found also while its topic goes on: what is sent to it is no sign of its life", async () => {
  const { sockets } = cluster.host("nrt").parts;
  const client = await RawClient.connect(cluster.host("nrt").port);
  client.upgrade("/porch/loud/-/topics/news");
  await until("it is held", () => sockets.size === 1);
  const say = () => void fetch(cluster.url("iad", "/porch/loud/say/on"), { method: "POST" });
  const talking = setInterval(say, 500);
  try {
    await until("it is given up", () => sockets.size === 0, foundMs);
  } finally {
    clearInterval(talking);
    client.close();
  }
}, 60_000);

test.concurrent("E32 a client that lives is not taken for dead, though nobody says anything and its object sleeps", async () => {
  const plain = await SocketClient.open(cluster.socketUrl("fra", "/porch/quiet/-/topics/news"));
  const framed = await ConnectClient.open(cluster.socketUrl("fra", ""));
  framed.ask("porch/quiet", "news");
  await until("it is subscribed", () => framed.of("subscribed").length === 1);
  const sinceMs = performance.now();
  await until(
    "the limit has passed, and as long again as it may take to find out",
    () => performance.now() - sinceMs > 1.5 * socketIdleTimeoutMs,
    foundMs,
  );
  expect(cluster.host("iad").parts.table.live("porch/quiet")).toBeUndefined();
  expect([plain.closing, framed.socket.closing]).toEqual([undefined, undefined]);
  await fetch(cluster.url("iad", "/porch/quiet/say/hello"), { method: "POST" });
  expect(await plain.hears(1)).toEqual(["hello"]);
  await until("it hears that", () => framed.heard("porch/quiet", "news").length === 1);
  plain.close();
  framed.socket.close();
}, 60_000);
