import { afterEach, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { PrivateNetwork } from "../support/link-proxy.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

/** Says of itself where it lives, and does with bodies, streams, sockets and topics what objects do. */
const place = object("place", {
  state: () => ({ count: 0 }),
  topics: { news: { subscribe: "anyone" } },
  limits: { bodyBytesMax: 64 * 1024 * 1024 },
})
  .get("/", ({ state }) => ({ count: ++state.count }))
  .post("/up", async ({ request }) => sumOf(new Uint8Array(await request.arrayBuffer())), { parse: "none" })
  .get("/down", () => {
    let chunk = 0;
    return new ReadableStream({
      pull(controller) {
        if (chunk === chunks) controller.close();
        else controller.enqueue(new Uint8Array(chunkBytes).fill(chunk++));
      },
    });
  })
  .post("/tell", async ({ topics, request }) => topics.publish("news", await request.text()), {
    parse: "none",
  })
  .ws("/live", { message: (ws, message) => void ws.send(`${message}!`) });

const chunks = 100;
const chunkBytes = 64 * 1024;

function sumOf(bytes: Uint8Array): { readonly length: number; readonly hash: string } {
  return { length: bytes.length, hash: Bun.hash(bytes).toString(16) };
}

let cluster: Cluster;
let network: PrivateNetwork;
afterEach(async () => {
  await cluster.stop();
  await network.stop();
});

/** One host in each region, linked only over the private network. `iad` owns `place/a`, and `ams` has asked it before. */
async function start(regions: readonly string[]): Promise<void> {
  network = new PrivateNetwork();
  cluster = await startCluster({ classes: [place], regions: [], config: { heartbeatMs: 300 } });
  for (const hostId of regions) {
    const front = await network.front(hostId);
    const { port } = await cluster.add(hostId, { hostId, privateUrl: front.url });
    front.leadsTo(port);
  }
  await cluster.acquaint();
  expect(await count("iad")).toBe(1);
  expect(await count("ams")).toBe(2);
}

const ask = (region: string, path: string, init?: RequestInit) =>
  fetch(cluster.url(region, `/place/a${path}`), init);

async function count(region: string): Promise<number> {
  const response = await ask(region, "/");
  expect(response.status).toBe(200);
  return (await response.json()).count;
}

/** Through whom the open link from one host to the other leads. */
function via(from: string, to: string): string | undefined {
  const { leases, links } = cluster.host(from).parts;
  const host = leases.hosts.find(({ hostId }) => hostId === to);
  return host && links.pathTo(host).via;
}

const starts = () => cluster.entries.filter(({ event }) => event === "object.started").length;

test("K15: two hosts that cannot reach each other serve each other's clients through a third, and nobody takes over", async () => {
  await start(["iad", "ams", "nrt"]);
  network.cut("iad", "ams");

  expect(await until("the cut is noticed and gone round", async () => served(await ask("ams", "/")))).toBe(3);
  expect([via("ams", "iad"), via("iad", "ams"), via("ams", "nrt")]).toEqual(["nrt", "nrt", undefined]);

  const body = crypto.getRandomValues(new Uint8Array(64 * 1024));
  const large = new Uint8Array(20 * 1024 * 1024).map((_, at) => body[at % body.length] ?? 0);
  const upload = await ask("ams", "/up", { method: "POST", body: large });
  expect(await upload.json()).toEqual(sumOf(large));

  const download = new Uint8Array(await (await ask("ams", "/down")).arrayBuffer());
  const expected = new Uint8Array(chunks * chunkBytes).map((_, at) => Math.floor(at / chunkBytes));
  expect(sumOf(download)).toEqual(sumOf(expected));

  const socket = await SocketClient.open(cluster.socketUrl("ams", "/place/a/live"));
  const reader = await SocketClient.open(cluster.socketUrl("ams", "/place/a/-/topics/news"));
  const messages = Array.from({ length: 200 }, (_, n) => `message ${n}`);
  for (const message of messages) socket.send(message);
  for (const region of ["ams", "iad", "nrt"])
    expect((await ask(region, "/tell", { method: "POST", body: `from ${region}` })).status).toBe(200);
  expect(await socket.hears(200)).toEqual(messages.map((message) => `${message}!`));
  expect(await reader.hears(3)).toEqual(["from ams", "from iad", "from nrt"]);

  // The other way round: the host that was led there is an edge as well.
  expect((await fetch(cluster.url("ams", "/place/b"))).status).toBe(200);
  expect((await (await fetch(cluster.url("iad", "/place/b"))).json()).count).toBe(2);

  expect(await count("iad")).toBe(4);
  expect(starts()).toBe(2);
  expect(via("ams", "iad")).toBe("nrt");
  const noted = cluster.entries.filter(({ event }) => event === "link.relayed");
  expect(noted.map(({ hostId, fields }) => [hostId, fields.host, fields.through]).sort()).toEqual([
    ["ams", "iad", "nrt"],
    ["iad", "ams", "nrt"],
  ]);
  socket.close();
  reader.close();
}, 30_000);

test("K17: once the cut heals the direct way is taken again, and no client's socket is closed for it", async () => {
  await start(["iad", "ams", "nrt"]);
  network.cut("iad", "ams");
  await until("the cut is noticed and gone round", async () => served(await ask("ams", "/")));
  const socket = await SocketClient.open(cluster.socketUrl("ams", "/place/a/live"));
  network.heal("iad", "ams");
  const probes = () => cluster.entries.filter(({ event }) => event === "link.dial_failed").length;
  const before = probes();
  await until("the direct way was tried while the socket is there", () => probes() > before, 10_000);
  socket.send("still here");
  expect(await socket.hears(1)).toEqual(["still here!"]);
  expect(via("ams", "iad")).toBe("nrt");

  socket.close();
  await until(
    "it is direct",
    () => via("ams", "iad") === undefined && via("iad", "ams") === undefined,
    15_000,
  );
  expect(await count("ams")).toBe(4);
  expect(starts()).toBe(1);
  expect(cluster.host("nrt").parts.links.pool.relayed.links).toBe(0);
  const noted = cluster.entries.filter(({ event }) => event === "link.direct");
  expect(noted.map(({ hostId, fields }) => [hostId, fields.host]).sort()).toEqual([
    ["ams", "iad"],
    ["iad", "ams"],
  ]);
}, 40_000);

test("K15: with no third host the client is told to come again, and the owner stays the owner", async () => {
  await start(["iad", "ams"]);
  network.cut("iad", "ams");
  const refused = await until("the cut is noticed", async () => {
    const response = await ask("ams", "/");
    return response.status === 503 && response;
  });
  expect((await refused.json()).code).toBe("owner_unreachable");
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(await count("iad")).toBe(3);
  expect(starts()).toBe(1);

  const front = await network.front("nrt");
  const third = await cluster.add("nrt", { hostId: "nrt", privateUrl: front.url });
  front.leadsTo(third.port);
  expect(await until("the third host is asked", async () => served(await ask("ams", "/")), 10_000)).toBe(4);
  expect(via("ams", "iad")).toBe("nrt");
  expect(starts()).toBe(1);
}, 30_000);

async function served(response: Response): Promise<number | false> {
  return response.status === 200 && (await response.json()).count;
}
