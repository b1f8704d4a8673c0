import { afterAll, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import helpdesk from "../../objects/helpdesk.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

/** What objects have lived through, in order. */
const log: string[] = [];
/** What an object waits for that is about to sleep, by its id. */
const stops = new Map<string, Promise<void>>();

const sleepy = object("sleepy", {
  idleAfterMs: 1000,
  placement: { regions: ["iad"] },
  durability: "storage",
  state: () => ({ count: 0 }),
  wakeOnClose: true,
  onStart: ({ reason, sockets, objectId }) => void log.push(`${objectId} ${reason} ${sockets.count}`),
  onStop: async ({ reason, objectId }) => {
    log.push(`${objectId} ${reason}`);
    await stops.get(objectId);
  },
})
  .get("/", ({ state, sockets }) => ({ count: state.count, sockets: sockets.count }))
  .get("/tagged/:tag", ({ sockets, params }) =>
    sockets.list({ tag: params.tag }).map(({ attachment }) => attachment),
  )
  .post("/news", ({ topics }) => topics.publish("news", "extra"))
  .ws("/live", {
    open(ws) {
      ws.subscribe("news");
      ws.attachment = { since: "the beginning" };
      ws.tags = ["guest"];
      ws.send("welcome");
    },
    message(ws, text) {
      ws.data.state.count += 1;
      ws.send(`${text} ${ws.data.state.count} ${ws.data.reattached ? "again" : "first"}`);
    },
    close: (ws, code) => void log.push(`${ws.data.objectId} close ${code}`),
  });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [sleepy, helpdesk], directory: "sqld", regions: ["iad", "nrt"] });
});
afterAll(() => cluster.stop());

/** Clients at the owner's own edge and at another, and the object asleep beneath them. */
async function asleep(id: string) {
  const clients = await Promise.all(
    ["iad", "nrt"].map((region) => SocketClient.open(cluster.socketUrl(region, `/sleepy/${id}/live`))),
  );
  for (const client of clients) await client.hears(1);
  await untilAsleep(id);
  return clients;
}

function untilAsleep(id: string) {
  const { table } = cluster.host("iad").parts;
  const ref = objectRef("sleepy", id);
  const edge = cluster.host("nrt").parts.sockets;
  return until(
    `${id} sleeps, and its edges know`,
    () => table.sleeping(ref.key) !== undefined && edge.heldOf(ref).registration("own").isAsleep,
    10_000,
  );
}

test("H8 an object sleeps under its open sockets, and a message of any of them wakes it", async () => {
  const [near, far] = await asleep("a");
  near?.send("hello");
  expect((await near?.hears(2))?.at(-1)).toBe("hello 1 again");
  far?.send("hello");
  expect((await far?.hears(2))?.at(-1)).toBe("hello 2 again");
  expect(log.filter((line) => line.startsWith("a "))).toEqual(["a create 0", "a idle", "a wake 2"]);
  await untilAsleep("a");
  far?.send("once more");
  expect((await far?.hears(3))?.at(-1)).toBe("once more 3 again");
  expect([near?.closing, far?.closing]).toEqual([undefined, undefined]);
}, 30_000);

for (const [place, region] of [
  ["the owner's own edge", "iad"],
  ["another edge", "nrt"],
] as const)
  test(`H9 H10 what a client says at ${place} while its object is about to sleep wakes it again, hooks and all`, async () => {
    const id = `late-${region}`;
    const stop = Promise.withResolvers<void>();
    stops.set(id, stop.promise);
    const client = await SocketClient.open(cluster.socketUrl(region, `/sleepy/${id}/live`));
    await client.hears(1);
    await until("it stops", () => log.includes(`${id} idle`), 10_000);
    client.send("one");
    client.send("two");
    // Before it sleeps: its owner has them, and nobody told it that their hooks are to run again.
    const edges = () => cluster.host("iad").parts.table.edgesOf(`sleepy/${id}`);
    await until("they are there", () => edges()?.isWaiting === true, 10_000);
    stop.resolve();
    expect((await client.hears(3)).slice(1)).toEqual(["one 1 again", "two 2 again"]);
    expect(client.closing).toBeUndefined();
  }, 30_000);

test("H8 H9 a request wakes it: all its sockets are there, with attachment, tags and subscriptions", async () => {
  const clients = await asleep("b");
  expect(await (await fetch(cluster.url("nrt", "/sleepy/b"))).json()).toEqual({ count: 0, sockets: 2 });
  const tagged = await (await fetch(cluster.url("nrt", "/sleepy/b/tagged/guest"))).json();
  expect(tagged).toEqual([{ since: "the beginning" }, { since: "the beginning" }]);
  await fetch(cluster.url("iad", "/sleepy/b/news"), { method: "POST" });
  for (const client of clients) expect((await client.hears(2)).at(-1)).toBe("extra");
}, 30_000);

test("H8 a class that asks for it is woken by a close, wherever that happens, and only then", async () => {
  const [near, far] = await asleep("c");
  near?.close(4001);
  await until("the near one's close is heard", () => log.includes("c close 4001"));
  await untilAsleep("c");
  far?.close(4002);
  await until("the far one's close is heard", () => log.includes("c close 4002"));
}, 30_000);

test("H8 what an author writes as `helpdesk`: heartbeats are answered at the edge, agents hear callers", async () => {
  const open = (region: string, query: string) =>
    SocketClient.open(cluster.socketUrl(region, `/helpdesk/one/live?${query}`));
  const agent = await open("iad", "name=ada&agent=yes");
  const caller = await open("nrt", "name=bob");
  caller.send("ping");
  expect(await caller.hears(1)).toEqual(["pong"]);
  caller.send("help");
  expect(await agent.hears(1)).toEqual([JSON.stringify({ from: "bob", text: "help" })]);
  const desk = await (await fetch(cluster.url("nrt", "/helpdesk/one"))).json();
  expect(desk).toMatchObject({ agents: 1, callers: [{ name: "bob" }] });
}, 30_000);
