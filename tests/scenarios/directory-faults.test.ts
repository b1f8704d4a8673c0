import { afterEach, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { TcpProxy } from "../support/proxy.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";

const counter = object("counter", { state: () => ({ count: 0 }), topics: { count: { subscribe: "anyone" } } })
  .get("/", ({ state, host }) => ({ count: state.count, host: host.id }))
  .post("/increment", ({ state, host, topics }) => {
    state.count += 1;
    topics.publish("count", state.count);
    return { count: state.count, host: host.id };
  })
  .ws("/live", {
    open: (ws) => ws.subscribe("count"),
    message(ws) {
      ws.send(ws.data.state.count);
    },
  });

/** Goes on without the directory. */
const cache = object("cache", { state: () => ({ count: 0 }), onDirectoryLoss: "serve" })
  .post("/increment", ({ state, host }) => ({ count: ++state.count, host: host.id }))
  .ws("/live", { message: (ws) => void ws.send(++ws.data.state.count) });

const ttlMs = 3_000;
let cluster: Cluster;
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await cluster.stop();
  for (const close of closing.splice(0).reverse()) await close();
});

/** Hosts whose way to the primary goes through a proxy, which a test can hold. */
async function startBehindProxy(regions: readonly string[]): Promise<{ sqld: Sqld; proxy: TcpProxy }> {
  const sqld = await Sqld.start();
  closing.push(() => sqld.stop());
  const proxy = await TcpProxy.start(sqld.port);
  closing.push(() => proxy.stop());
  cluster = await startCluster({
    classes: [counter, cache],
    regions,
    directory: { url: `http://127.0.0.1:${proxy.port}` },
    config: { leaseTtlMs: ttlMs },
  });
  return { sqld, proxy };
}

async function increment(
  region: string,
  id: string,
): Promise<{ status: number; count?: number; host?: string; code?: string }> {
  const response = await fetch(cluster.url(region, `/counter/${id}/increment`), { method: "POST" });
  return { status: response.status, ...(await response.json()) };
}

function sessionOf(region: string): string {
  return cluster.host(region).parts.leases.session.id;
}

test("L3 L10 a primary that accepts and never answers: the loop goes on, and the host fences itself in time", async () => {
  const { proxy } = await startBehindProxy(["iad"]);
  expect(await increment("iad", "a")).toMatchObject({ status: 200, count: 1 });
  const { session } = cluster.host("iad").parts.leases;

  let longestPauseMs = 0;
  let lastTickMs = performance.now();
  const heldAtMs = performance.now();
  // From before the last renewal that was answered: never longer than the lease, whenever the answers stopped.
  const mayBeValid = () => performance.now() - heldAtMs < ttlMs;
  let hasOverstayed = false;
  const ticking = setInterval(() => {
    longestPauseMs = Math.max(longestPauseMs, performance.now() - lastTickMs);
    lastTickMs = performance.now();
    if (!mayBeValid() && session.isValid()) hasOverstayed = true;
  }, 5);
  proxy.requests("hold");
  await until("the host stops serving", async () => {
    const mayBeServed = mayBeValid();
    const { status, code } = await increment("iad", "a");
    if (!mayBeServed) expect(status).not.toBe(200);
    return code === "session_over";
  });
  await until("its time is over", () => !mayBeValid());
  clearInterval(ticking);

  expect(session.isValid()).toBe(false);
  expect(hasOverstayed).toBe(false);
  expect(longestPauseMs).toBeLessThan(ttlMs / 3);
  expect(await increment("iad", "fresh")).toMatchObject({ status: 503 });
}, 60_000);

test("L1 a primary that was away too long costs no memory state, no socket and no message order", async () => {
  const { proxy } = await startBehindProxy(["iad", "ams"]);
  expect(await increment("iad", "a")).toMatchObject({ status: 200, count: 1 });
  const heard: string[] = [];
  const closes: number[] = [];
  for (const region of ["iad", "ams"]) {
    const socket = new WebSocket(cluster.socketUrl(region, "/counter/a/live"));
    socket.addEventListener("message", ({ data }) => heard.push(`${region} ${data}`));
    socket.addEventListener("close", ({ code }) => closes.push(code));
    closing.push(async () => socket.close());
    await new Promise((resolve) => socket.addEventListener("open", resolve));
  }
  await until(
    "both are subscribed",
    async () => (await increment("iad", "a")).count && new Set(heard.map((h) => h.slice(0, 3))).size === 2,
  );
  const before = { iad: sessionOf("iad"), ams: sessionOf("ams") };

  proxy.requests("drop");
  let count = 0;
  let unknown = 0;
  await until("the host stops serving", async () => {
    const answer = await increment("iad", "a");
    count = answer.count ?? count;
    // The lease ran out while its handler ran: it may have counted.
    if (answer.code === "outcome_unknown") unknown += 1;
    return answer.code === "session_over";
  });
  const sessions = ["iad", "ams"].map((region) => cluster.host(region).parts.leases.session);
  await until("both sessions have run out", () => sessions.every((session) => !session.isValid()));
  proxy.requests("flow");
  await until(
    "both hosts have new sessions",
    () => sessionOf("iad") !== before.iad && sessionOf("ams") !== before.ams,
  );
  const after = await until("the object is served again", async () => {
    const answer = await increment("ams", "a");
    return answer.status === 200 && answer;
  });

  expect(after.host).toBe(cluster.host("iad").hostId);
  expect(after.count).toBeGreaterThan(count);
  expect(after.count).toBeLessThanOrEqual(count + 1 + unknown);
  expect(cluster.entries.filter(({ event }) => event === "object.started")).toHaveLength(1);
  await until(
    "both sockets hear it",
    () => heard.filter((text) => text.endsWith(` ${after.count}`)).length === 2,
  );
  expect(closes).toEqual([]);
}, 60_000);

test("L1 an object that another host took meanwhile is not adopted: its old copy ends, and its sockets hear the new one", async () => {
  const { sqld, proxy } = await startBehindProxy(["iad"]);
  expect(await increment("iad", "a")).toMatchObject({ status: 200, count: 1 });
  const socket = new WebSocket(cluster.socketUrl("iad", "/counter/a/live"));
  const closes: number[] = [];
  const heard: string[] = [];
  socket.addEventListener("close", ({ code }) => void closes.push(code));
  socket.addEventListener("message", ({ data }) => void heard.push(String(data)));
  await new Promise((resolve) => socket.addEventListener("open", resolve));

  proxy.requests("drop");
  const other = await cluster.add("ams", {
    directory: { url: sqld.httpUrl, authToken: undefined, replicaUrl: undefined },
  });
  const taken = await until("the other host may take the object", async () => {
    const answer = await increment("ams", "a");
    return answer.host === other.hostId && answer;
  });
  expect(taken).toMatchObject({ status: 200, count: 1 });
  expect(await increment("iad", "a")).not.toMatchObject({ status: 200 });

  proxy.requests("flow");
  const forwarded = await until("the first host forwards", async () => {
    const answer = await increment("iad", "a");
    return answer.status === 200 && answer;
  });
  expect(forwarded).toMatchObject({ count: 2, host: other.hostId });
  await until("the socket is attached to the new owner", async () => {
    const { count } = await increment("ams", "a");
    return until("it hears", () => heard.includes(String(count)), 500).catch(() => false);
  });
  expect(closes).toEqual([]);
}, 60_000);

test("L2 a host that is gone for good is followed by another after its lease, and not before", async () => {
  const { proxy, sqld } = await startBehindProxy(["iad"]);
  expect(await increment("iad", "a")).toMatchObject({ status: 200, count: 1 });
  const other = await cluster.add("ams", {
    directory: { url: sqld.httpUrl, authToken: undefined, replicaUrl: undefined },
  });
  expect(await increment("ams", "a")).toMatchObject({
    status: 200,
    count: 2,
    host: cluster.host("iad").hostId,
  });

  const { session } = cluster.host("iad").parts.leases;
  proxy.requests("drop");
  const taken = await until("the other host takes the object", async () => {
    const wasValid = session.isValid();
    const answer = await increment("ams", "a");
    if (answer.host === other.hostId) return answer;
    // Whoever asks after the old owner's time gets no answer from it.
    if (!wasValid) expect(answer.status).not.toBe(200);
    return false;
  });
  expect(session.isValid()).toBe(false);
  expect(taken).toMatchObject({ count: 1, host: other.hostId });
}, 60_000);

test("L8 a class that serves without the directory goes on at its owner, from every region, marked; and is adopted after", async () => {
  const { proxy } = await startBehindProxy(["iad", "ams"]);
  const call = (region: string, path: string) => fetch(cluster.url(region, path), { method: "POST" });
  expect((await call("iad", "/cache/a/increment")).headers.get("stateful-degraded")).toBeNull();
  const { host } = await (await call("ams", "/cache/a/increment")).json();
  const socket = new WebSocket(cluster.socketUrl("ams", "/cache/a/live"));
  const heard: string[] = [];
  socket.addEventListener("message", ({ data }) => void heard.push(String(data)));
  await new Promise((resolve) => socket.addEventListener("open", resolve));

  proxy.requests("drop");
  const degraded = await until("the owner serves without a lease", async () => {
    const response = await call("ams", "/cache/a/increment");
    return response.headers.get("stateful-degraded") === "directory" && response;
  });
  expect([degraded.status, (await degraded.json()).host]).toEqual([200, host]);
  socket.send("more");
  await until("a socket at the other edge is answered as well", () => heard.length > 0);
  expect((await call("ams", "/cache/never-seen/increment")).status).toBe(503);
  expect((await call("ams", "/counter/a/increment")).status).toBe(503);

  proxy.requests("flow");
  const after = await until("the directory's first word ends it", async () => {
    const response = await call("ams", "/cache/a/increment");
    return response.ok && response.headers.get("stateful-degraded") === null && response;
  });
  expect((await after.json()).count).toBeGreaterThan(Number(heard.at(-1)));
}, 60_000);
