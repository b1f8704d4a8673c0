import { expect, test } from "bun:test";
import { object } from "../../infra/object/object.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, fetchFrom, ObjectHost, post } from "./object-host.ts";

const box = object("box", { state: () => ({ count: 0 }), onDirectoryLoss: "serve" })
  .post("/count", ({ state }) => ++state.count)
  .ws("/live", { message: (ws) => void ws.send(String(++ws.data.state.count)) });

const strict = object("strict").get("/", () => "ok");

async function serving() {
  const host = new ObjectHost(box, strict);
  const activation = await host.live("box");
  await host.live("strict");
  const { socket, carrier } = await connectTo(activation);
  host.leases.session.end();
  host.table.suspendAll(true);
  return { host, activation, socket, carrier };
}

test("L8 an object of a class that serves without the directory goes on, and says so", async () => {
  const { host, activation, socket, carrier } = await serving();
  const response = await fetchFrom(await host.live("box"), "/count", post);
  expect([await response.text(), response.headers.get("stateful-degraded")]).toEqual(["1", "directory"]);
  await socket.received("more");
  expect([carrier.sent, activation.isDegraded]).toEqual([["2"], true]);
  await expect(host.live("strict")).rejects.toMatchObject({ code: "session_over" });
});

test("L8 none starts meanwhile, whatever its class says", async () => {
  const { host } = await serving();
  await expect(host.live("box", "b")).rejects.toMatchObject({ code: "session_over" });
});

test("L8 the directory's first word ends it: adopted, it goes on unmarked", async () => {
  const { host } = await serving();
  await fetchFrom(await host.live("box"), "/count", post);
  host.leases.session = new FakeSession("session-2");
  await host.table.adoptAll();
  const response = await fetchFrom(await host.live("box"), "/count", post);
  expect([await response.text(), response.headers.get("stateful-degraded")]).toEqual(["2", null]);
});

test("L8 the directory's first word ends it: superseded, it stops", async () => {
  const { host, activation, carrier } = await serving();
  host.leases.session = new FakeSession("session-2");
  host.leases.elsewhere.set("box/a", "another");
  await host.table.adoptAll();
  expect([activation.isOver, host.table.live("box/a")]).toEqual([true, undefined]);
  expect(carrier.edge.told).toEqual(["close session_over"]);
});

test("L8 a session that the directory itself has ended is no reason to serve on", async () => {
  const host = new ObjectHost(box);
  const activation = await host.live("box");
  host.leases.session.end();
  host.table.suspendAll(false);
  expect([activation.isDegraded, host.table.live("box/a")]).toEqual([false, undefined]);
});

test("L8 it is for caches only", () => {
  expect(() => object("box", { onDirectoryLoss: "serve", durability: "storage" })).toThrow(
    "only where durability",
  );
});

/** A host whose `tally/a` has read what it has stored, and starts until a test lets it go on. */
async function startingTally() {
  const started = Promise.withResolvers<void>();
  const host = new ObjectHost(
    object("tally", {
      state: () => ({ count: 0 }),
      durability: "storage",
      onStart: ({ reason }) => (reason === "create" ? undefined : started.promise),
    })
      .get("/", ({ state }) => state)
      .post("/count", ({ state }) => ++state.count),
  );
  const tally = await host.live("tally");
  const backup = structuredClone(host.stores.rows);
  const counted = fetchFrom(tally, "/count", post);
  await host.clock.advance(10);
  await counted;
  const stopped = host.table.stop(tally, "idle");
  await host.clock.advance(10);
  await stopped;
  return { host, backup, started };
}

/** The session ends, and the next opens. */
async function nextSession(host: ObjectHost, id: string, hasForgotten: boolean): Promise<void> {
  host.leases.session.end();
  host.table.suspendAll();
  host.leases.session = new FakeSession(id);
  host.stores.session = id;
  await host.table.adoptAll(hasForgotten);
}

for (const [when, sessions] of [
  ["once", [true]],
  ["under the session before the last", [true, false]],
] as const)
  test(`L9 what has read its data and starts while the directory loses memory (${when}) starts again, from what is there then`, async () => {
    const { host, backup, started } = await startingTally();
    const start = host.live("tally").catch((error: unknown) => error);
    await host.clock.advance(10);
    host.stores.rows = backup;
    for (const [n, hasForgotten] of sessions.entries()) await nextSession(host, `later-${n}`, hasForgotten);
    started.resolve();
    await host.clock.advance(10);
    expect(await start).toMatchObject({ code: "session_over", retryable: true });
    expect(host.log.entries.map(({ event }) => event)).toContain("directory.forgot");
    const answer = fetchFrom(await host.live("tally"));
    await host.clock.advance(10);
    expect(await (await answer).json()).toEqual({ count: 0 });
  });

test("L1 L9 what starts while its session ends goes on under the next, where nothing was forgotten since", async () => {
  const { host, started } = await startingTally();
  await nextSession(host, "after-a-loss", true);
  const start = host.live("tally");
  await host.clock.advance(10);
  await nextSession(host, "the-next", false);
  started.resolve();
  await host.clock.advance(10);
  expect((await start).isLive).toBe(true);
});
