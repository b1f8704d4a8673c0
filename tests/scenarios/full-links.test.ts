import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { fromEdge, fromOwner } from "../../infra/edge/forward-protocol.ts";
import { toEdge } from "../../infra/edge/socket-protocol.ts";
import { LinkChannel } from "../../infra/link/link-channel.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

/** A link that is full refuses a message now and then. Here a test says which: `LinkChannel.send` answers false for it. */
const send = LinkChannel.prototype.send;
function refuse(isRefused: (kind: number) => boolean): void {
  LinkChannel.prototype.send = function (this: LinkChannel, kind, payload) {
    return isRefused(kind) ? false : send.call(this, kind, payload);
  };
}

let runs = 0;
const full = object("full", { placement: { regions: ["iad"] } })
  .all("/", () => ({ runs: ++runs }))
  .post("/up", async ({ request }) => (await request.arrayBuffer()).byteLength, { parse: "none" })
  .get("/down", () => new Response(new Uint8Array(1_000_000)))
  .ws("/live", { message: (ws, message) => void ws.send(message) });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [full], regions: ["iad", "ams"] });
});
afterEach(() => {
  LinkChannel.prototype.send = send;
});
afterAll(() => cluster.stop());

const activation = () => cluster.host("iad").parts.table.live("full/a");
const ask = (path: string, init?: RequestInit) => fetch(cluster.url("ams", `/full/a${path}`), init);
const quiet = () => until("no event is open", () => activation()?.openEvents === 0);

test("E9 bodies whose chunks are refused at first arrive whole, both ways", async () => {
  let sent = 0;
  const bodies: readonly number[] = [fromEdge.body, fromEdge.bodyEnd, fromOwner.body, fromOwner.bodyEnd];
  refuse((kind) => bodies.includes(kind) && sent++ % 2 === 0);
  const upload = await until("it is up", () =>
    ask("/up", { method: "POST", body: new Uint8Array(1_000_000) }),
  );
  expect(await upload.text()).toBe("1000000");
  const download = await ask("/down");
  expect((await download.arrayBuffer()).byteLength).toBe(1_000_000);
  expect(sent).toBeGreaterThan(30);
  await quiet();
});

test.each([
  ["GET", 503, "owner_unreachable"],
  ["POST", 502, "outcome_unknown"],
])(
  "E9 an accept that is refused ends the request (%s) before its handler runs",
  async (method, status, code) => {
    await ask("/");
    runs = 0;
    refuse((kind) => kind === fromOwner.accept);
    const response = await until("it is answered", () => ask("/", { method }));
    expect([response.status, (await response.json()).code]).toEqual([status, code]);
    await quiet();
    expect(runs).toBe(0);
  },
);

test("E9 an answer that is refused ends the request", async () => {
  refuse((kind) => kind === fromOwner.whole);
  const response = await until("it is answered", () => ask("/"));
  expect([response.status, (await response.json()).code]).toEqual([502, "outcome_unknown"]);
  await quiet();
});

test("E9 an upgrade whose answer is refused leaves no socket with the object, nor at the edge", async () => {
  await ask("/");
  refuse((kind) => kind === fromOwner.upgraded);
  const client = await RawClient.connect(cluster.host("ams").port);
  client.upgrade("/full/a/live");
  expect((await client.answer()).status).toBe(502);
  client.close();
  await quiet();
  await until("the object has no socket", () => activation()?.socketCount === 0);
  await until("the edge has none", () => cluster.host("ams").parts.sockets.size === 0);
});

test("reports of handled messages that are refused are made up for, so that a socket never seems stuck", async () => {
  const client = await SocketClient.open(cluster.socketUrl("ams", "/full/a/live"));
  let reports = 0;
  refuse((kind) => kind === toEdge.handled && reports++ % 2 === 0);
  // Far more than may be under way at once.
  for (let n = 1; n <= 10_000; n++) {
    client.send("x");
    if (n % 100 === 0) await client.hears(n);
  }
  expect([client.heard.length, client.closing]).toEqual([10_000, undefined]);
  client.close();
});
