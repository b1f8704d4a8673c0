import { afterAll, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { RawClient, rawRequest } from "../support/raw-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";
import { adminToken } from "../support/admin-token.ts";

const addressHeader = "x-client-address";
let release = Promise.withResolvers<void>();
let waitingHandlers = 0;

const booth = object("booth", { topics: { news: { subscribe: "anyone" } } })
  .get("/quick", () => "quick")
  .get("/slow", async () => {
    waitingHandlers += 1;
    await release.promise;
    return "slow";
  })
  .get("/who", ({ sockets }) => sockets.list().map(({ remoteAddress }) => remoteAddress))
  .ws("/live", { message: (ws, text) => void ws.send(text) });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [booth],
    regions: ["iad"],
    config: { addressSocketsMax: 3, addressRequestsMax: 8, clientAddressHeader: addressHeader, adminToken },
  });
});
afterAll(() => cluster.stop());

const from = (address: string) => [`${addressHeader}: ${address}`];
const as = (address: string) => ({ headers: { [addressHeader]: address } });

async function upgrade(path: string, fields: readonly string[]) {
  const client = await RawClient.connect(cluster.host("iad").port);
  client.upgrade(path, fields);
  return { client, answer: await client.answer() };
}

async function figure(name: string): Promise<number> {
  const headers = { authorization: `Bearer ${adminToken}` };
  const text = await (await fetch(cluster.url("iad", "/-/metrics"), { headers })).text();
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}

test("E33 an address has its sockets, streams and connections together, and a place again when one goes", async () => {
  const { port } = cluster.host("iad");
  const address = "2001:db8:7::";
  const socket = await SocketClient.open(cluster.socketUrl("iad", "/booth/a/live"), as(`${address}1`));
  const connection = await ConnectClient.open(cluster.socketUrl("iad", ""), as(`${address}2`));
  const stream = await RawClient.connect(port);
  stream.head("GET /booth/a/-/topics/news", ["Accept: text/event-stream", ...from(`${address}3`)]);
  await until("the stream has begun", () => stream.received.includes(": connected"));
  // Subscriptions on a connection are the connection's.
  for (const id of ["a", "b", "c", "d"]) await connection.subscribe(`booth/${id}`, "news");

  for (const path of ["/booth/a/live", "/-/connect"]) {
    const { client, answer } = await upgrade(path, from(`${address}4`));
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([429, "address_limit"]);
    expect(answer.fields).toContainEqual(["retry-after", "1"]);
    client.close();
  }
  const sse = ["Accept: text/event-stream", ...from(`${address}4`)];
  expect((await rawRequest(port, "GET /booth/a/-/topics/news", sse)).status).toBe(429);

  const other = await SocketClient.open(cluster.socketUrl("iad", "/booth/a/live"), as("2001:db8:8::1"));
  expect(await figure("stateful_client_addresses")).toBe(2);
  expect(await figure("stateful_address_refusals_total")).toBe(3);

  stream.close();
  const again = await until("the place of the stream is free", async () => {
    const { client, answer } = await upgrade("/booth/a/live", from(`${address}4`));
    if (answer.status === 101) return client;
    client.close();
    return undefined;
  });
  again.close();
  for (const client of [socket, connection, other]) client.close();
  await until("nobody is counted any more", async () => (await figure("stateful_client_addresses")) === 0);
});

test("E33 requests that wait for their answers are limited, and an address that waits for none is not", async () => {
  release = Promise.withResolvers();
  const ask = (path: string, address: string) => fetch(cluster.url("iad", path), as(address));
  const waiting = Array.from({ length: 8 }, () => ask("/booth/b/slow", "203.0.113.1"));
  await until("the address has all that it may have", () => waitingHandlers === waiting.length);
  const refused = await ask("/booth/b/quick", "203.0.113.1");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
  expect((await refused.json()).code).toBe("address_limit");
  for (let count = 0; count < 20; count += 1)
    expect(await (await ask("/booth/b/quick", "203.0.113.2")).text()).toBe("quick");
  release.resolve();
  expect(await Promise.all(waiting.map(async (each) => (await each).text()))).toEqual(Array(8).fill("slow"));
  expect((await ask("/booth/b/quick", "203.0.113.1")).status).toBe(200);
});

test("E33 clients without the proxy's header, from addresses that are private, are not counted", async () => {
  const clients = await Promise.all(
    Array.from({ length: 6 }, () => SocketClient.open(cluster.socketUrl("iad", "/booth/c/live"))),
  );
  for (const client of clients) client.close();
});

test("E33 a client that writes a list into the proxy's header is known by what the proxy put behind it", async () => {
  const client = await SocketClient.open(
    cluster.socketUrl("iad", "/booth/d/live"),
    as("127.0.0.1, 203.0.113.9"),
  );
  const answer = await fetch(cluster.url("iad", "/booth/d/who"));
  expect(await answer.json()).toEqual(["203.0.113.9"]);
  client.close();
});
