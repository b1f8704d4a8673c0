import { expect, test } from "bun:test";
import { Drain } from "../../apps/server/drain.ts";
import { Activation } from "../../infra/host/activation.ts";
import { object } from "../../infra/object/object.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

const ref = objectRef("room", "a");

function rooms(options: object = {}) {
  let made = 0;
  return () => {
    const at = made++ === 0 ? "source" : "target";
    return [
      object("room", { state: () => ({ count: 0 }), ...options })
        .get("/", ({ state }) => ({ at, count: state.count }))
        .post("/count", ({ state }) => ++state.count)
        .ws("/live", {
          message: (ws, text) => void ws.send(`${at} ${++ws.data.state.count} ${text}`),
        }),
    ];
  };
}

async function settled(hosts: TwoHosts): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) {
    await hosts.source.clock.advance(1);
    await hosts.target.clock.advance(1);
  }
}
async function count(host: ObjectHost): Promise<unknown> {
  const response = fetchFrom(await host.live("room"), "/count", post);
  await host.clock.advance(10);
  return (await response).json();
}

test("L7 an object that is woken and moved in the same turn lives on one host only", async () => {
  const hosts = new TwoHosts(rooms({ idleAfterMs: 1000 }));
  await connectTo(await hosts.source.live("room"), new FakeCarrier(new FakeEdge()));
  await hosts.source.clock.advance(5000);
  expect(hosts.source.table.asleep).toBe(1);
  const woken = hosts.source.table.activate(ref, "mine").catch((error: unknown) => error);
  const moved = hosts.move("room").catch((error: unknown) => error);
  await settled(hosts);
  await Promise.all([woken, moved]);
  const here = hosts.source.table.live("room/a") !== undefined;
  const there = hosts.target.table.asleep + hosts.target.table.size;
  expect(Number(here) + there).toBe(1);
});

test("L7 a target does not ask for the lease of what it has let be moved to it", async () => {
  const hosts = new TwoHosts(rooms());
  const started = hosts.target.table.activate(ref, "free").catch((error: unknown) => error);
  let isRefused = false;
  try {
    hosts.target.table.arrivals.offered({
      ...{ ref, epoch: 1, toSession: "session-target", dataVersion: 1, codeVersion: "test", edges: [] },
    });
  } catch {
    isRefused = true;
  }
  await settled(hosts);
  // One or the other: not both an arrival and a lease that is asked for.
  expect({ isRefused, acquires: hosts.target.leases.acquired.length > 0 }).toEqual({
    isRefused,
    acquires: isRefused,
  });
  void started;
});

test("L7 L5 what moved away and was lost there wakes where its edges have brought it", async () => {
  const hosts = new TwoHosts(rooms());
  await count(hosts.source);
  await hosts.move("room");
  await settled(hosts);
  // It broke on the target, whose host lives on: its lease is free, and its edges look for it here.
  const edges = await hosts.source.table.claim(ref, "free", false);
  expect("owned" in edges).toBe(false);
  expect(hosts.source.table.asleep).toBe(1);
  expect(await hosts.source.table.activate(ref, "mine")).toBeInstanceOf(Activation);
});

test("L7 L5 placement may bring back what moved away once nobody has it", async () => {
  const hosts = new TwoHosts(rooms());
  await count(hosts.source);
  await hosts.move("room");
  await settled(hosts);
  await hosts.target.table.stop(await hosts.target.live("room"), "idle");
  expect(hosts.target.leases.released.length).toBe(1);
  expect(await hosts.source.table.activate(ref, "free")).toBeInstanceOf(Activation);
});

test("L7 S1 what a failed arrival left is not what an object goes on from once it has been elsewhere", async () => {
  let fails = true;
  const onMoveIn = () => {
    if (fails) throw new Error("not now");
  };
  const hosts = new TwoHosts(rooms({ durability: "storage", onMoveIn }));
  hosts.target.stores.session = "session-target";
  await count(hosts.source);
  const move = hosts.move("room");
  await settled(hosts);
  await move;
  fails = false;
  // Asked, it refuses for lack of memory, and gives the lease up.
  hosts.target.load.memoryUsedBytes = hosts.target.load.memoryLimitBytes;
  await hosts.target.table.activate(ref, "mine").catch(() => undefined);
  expect(hosts.target.leases.disowned).toEqual(["room/a"]);
  hosts.target.load.memoryUsedBytes = 0;
  // Elsewhere it counts on to 7, which is acknowledged and stored; then it comes here.
  const third = new ObjectHost(...rooms({ durability: "storage" })());
  for (let n = 0; n < 7; n += 1) await count(third);
  for (const commit of third.stores.commits) {
    const rows = hosts.target.stores.rows;
    const { writeRows } = await import("../../infra/lease/memory-stored-objects.ts");
    writeRows(rows, commit);
  }
  hosts.target.leases.elsewhereUnlessMine = undefined;
  const response = fetchFrom(await hosts.target.live("room"));
  await hosts.target.clock.advance(10);
  expect(await (await response).json()).toMatchObject({ count: 7 });
});

test("L7 L1 S1 what a failed arrival left does not outlive the session that it came under", async () => {
  const failing = Promise.withResolvers<void>();
  let fails = true;
  const onMoveIn = async () => {
    await failing.promise;
    if (fails) throw new Error("not now");
  };
  const hosts = new TwoHosts(rooms({ durability: "storage", onMoveIn }));
  await count(hosts.source);
  const move = hosts.move("room");
  await settled(hosts);
  await move;
  const { leases, stores, table } = hosts.target;
  leases.session.end();
  table.suspendAll();
  leases.session = new FakeSession("session-target-2");
  stores.session = "session-target-2";
  await table.adoptAll();
  failing.resolve();
  await settled(hosts);
  fails = false;
  // Its lease was free: another host has counted to 3, and has given it back.
  const third = new ObjectHost(...rooms({ durability: "storage" })());
  for (let n = 0; n < 3; n += 1) await count(third);
  stores.rows = third.stores.rows;
  leases.elsewhereUnlessMine = undefined;
  const response = fetchFrom(await hosts.target.live("room"));
  await hosts.target.clock.advance(10);
  expect(await (await response).json()).toMatchObject({ count: 3 });
});

for (const durability of ["memory", "storage"] as const)
  test(`L7 S1 (${durability}) what a handler that outlived a forced move says does not leave unless it travels`, async () => {
    const opened = Promise.withResolvers<void>();
    const made = () => [
      object("room", { state: () => ({ count: 0 }), durability, moveQuiesceMs: 100 })
        .get("/", async ({ state, storage }) => ({ count: state.count, key: await storage.get("key") }))
        .post("/slow", async ({ state, storage }) => {
          await opened.promise;
          state.count += 1;
          if (durability === "storage") await storage.put("key", "written");
          return "acknowledged";
        }),
    ];
    const hosts = new TwoHosts(made);
    const live = await hosts.source.live("room");
    await fetchFrom(live);
    const answer = fetchFrom(live, "/slow", post);
    const delivered = Promise.withResolvers<void>();
    hosts.before = (step) => (step === "deliver" ? delivered.promise : undefined);
    const move = hosts.move("room", true);
    await hosts.source.clock.advance(1000);
    expect(hosts.steps).toEqual(["begin", "deliver"]);
    opened.resolve();
    await settled(hosts);
    delivered.resolve();
    await move;
    await settled(hosts);
    const { status } = await answer;
    const found = fetchFrom(await hosts.target.live("room"));
    await settled(hosts);
    const { count } = (await (await found).json()) as { count: number }; // the test made it
    // Either its caller was told that it is not known, or the object remembers.
    expect({ isAcknowledged: status === 200, count }).toEqual(
      status === 200 ? { isAcknowledged: true, count: 1 } : { isAcknowledged: false, count },
    );
  });

/** Steps of promises from the commit that a move waits for until a handler that waits for the same goes on. */
for (const steps of Array.from({ length: 12 }, (_, n) => n))
  test(`L7 S1 what a handler that was cut off writes as the object is packed travels whole or not at all (${steps} steps late)`, async () => {
    const made = () => [
      object("room", { durability: "storage", moveQuiesceMs: 100, state: () => ({ count: 0 }) })
        .get("/", async ({ storage, state }) => ({ key: await storage.get("key"), count: state.count }))
        .post("/slow", async ({ storage, topics, state }) => {
          await storage.put("before", true);
          await storage.sync();
          for (let step = 0; step < steps; step += 1) await undefined;
          void storage.put("key", "written");
          state.count = 1;
          topics.publish("news", "written");
        }),
    ];
    const hosts = new TwoHosts(made);
    hosts.target.stores.rows = hosts.source.stores.rows;
    const live = await hosts.source.live("room");
    const edge = new FakeEdge();
    live.edges.attach(edge.edge, (events, facts) => Object.assign(edge, { events, facts }));
    const attached = live.edges.at(edge.edge.process);
    if (attached) live.hub.subscribe("news", attached);
    const written = Promise.withResolvers<void>();
    hosts.source.stores.held = written.promise;
    const slow = fetchFrom(live, "/slow", post);
    const move = hosts.move("room", true);
    await hosts.source.clock.advance(1000);
    hosts.source.stores.held = undefined;
    written.resolve();
    await settled(hosts);
    await Promise.all([move, slow]);
    await settled(hosts);
    const found = fetchFrom(await hosts.target.live("room"));
    await settled(hosts);
    const { key, count } = (await (await found).json()) as { key?: string; count: number }; // the test made it
    const rows = hosts.source.stores.rows.values.get("room/a");
    const all = { inMemory: key !== undefined, state: count === 1, said: edge.frames.length === 1 };
    const isThere = rows?.has("key") === true;
    expect({ ...all, isThere }).toEqual({ inMemory: isThere, state: isThere, said: isThere, isThere });
  });

test("L7 a handler that outlives the package answers where the move is called off", async () => {
  const opened = Promise.withResolvers<void>();
  const made = () => [
    object("room", { state: () => ({ count: 0 }), durability: "storage", moveQuiesceMs: 100 }).post(
      "/slow",
      async ({ state }) => {
        await opened.promise;
        return ++state.count;
      },
    ),
  ];
  const hosts = new TwoHosts(made);
  const answer = fetchFrom(await hosts.source.live("room"), "/slow", post);
  const delivered = Promise.withResolvers<void>();
  hosts.before = (step) => (step === "deliver" ? delivered.promise : undefined);
  hosts.source.leases.moveOutcome = { outcome: "refused" };
  const move = hosts.move("room", true).catch((error: unknown) => error);
  await hosts.source.clock.advance(1000);
  opened.resolve();
  await settled(hosts);
  delivered.resolve();
  expect(await move).toMatchObject({ code: "move_failed" });
  await settled(hosts);
  expect((await answer).status).toBe(200);
});

test("L7 H10 a message that waits its turn when a forced move packs is sent again to the target", async () => {
  const opened = Promise.withResolvers<void>();
  const began: string[] = [];
  const made = () => [
    object("room", { concurrency: "serial", moveQuiesceMs: 100 }).ws("/live", {
      message: async (_, text) => {
        began.push(String(text));
        await opened.promise;
      },
    }),
  ];
  const hosts = new TwoHosts(made);
  const edge = new FakeEdge();
  await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
  edge.events?.message(1, "first");
  edge.events?.message(1, "second");
  await settled(hosts);
  expect(began).toEqual(["first"]);
  const move = hosts.move("room", true);
  await hosts.source.clock.advance(1000);
  await move;
  await settled(hosts);
  const arrived = hosts.target.edgePorts.known.get(edge.edge.process);
  expect([...(arrived?.cursors ?? [])]).toEqual([[1, 1]]);
});

test("L7 L11 a host that closes stops what was about to move and does not: onStop runs, and it is saved", async () => {
  const stopped: string[] = [];
  const hosts = new TwoHosts(
    rooms({ durability: "snapshot", onStop: (event: { reason: string }) => void stopped.push(event.reason) }),
  );
  await count(hosts.source);
  const commits = () => hosts.source.stores.commits.length;
  const before = commits();
  // The target hangs: it never says that it has the object.
  hosts.before = (step) => (step === "deliver" ? new Promise(() => undefined) : undefined);
  const move = hosts.move("room", true).catch((error: unknown) => error);
  await hosts.source.clock.advance(10);
  const closed = hosts.source.table.close("drain", 100);
  await hosts.source.clock.advance(1000);
  await closed;
  expect(stopped).toEqual(["drain"]);
  expect(commits()).toBeGreaterThan(before);
  expect(await move).toMatchObject({ code: "move_failed" });
});

test("L7 L1 what arrived under a session that is over is adopted however often the directory does not answer", async () => {
  const hosts = new TwoHosts(rooms());
  await count(hosts.source);
  const go = Promise.withResolvers<void>();
  hosts.before = (step) => (step === "go" ? go.promise : undefined);
  await hosts.move("room");
  hosts.target.leases.session.end();
  hosts.target.table.suspendAll();
  hosts.target.leases.session = new FakeSession("session-target-2");
  await hosts.target.table.adoptAll();
  hosts.target.leases.unsettled.add("room/a");
  go.resolve();
  await settled(hosts);
  hosts.target.leases.unsettled.clear();
  await hosts.target.clock.advance(60_000);
  expect(hosts.target.table.live("room/a")).toBeDefined();
});

test("L7 L9 a sleeper whose lease is found lost as it moves is not held for ours any more", async () => {
  const hosts = new TwoHosts(rooms({ idleAfterMs: 1000 }));
  const edge = new FakeEdge();
  await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
  await hosts.source.clock.advance(5000);
  hosts.source.leases.moveOutcome = { outcome: "lost" };
  hosts.source.leases.elsewhere.set("room/a", "session-9");
  await hosts.move("room").catch(() => undefined);
  await settled(hosts);
  expect(hosts.source.table.asleep).toBe(0);
  const answer = await hosts.source.table.activate(ref, "mine");
  expect("owned" in answer && answer.session).toBe("session-9");
});

test("L1 L7 a sleeper that the next session adopts while it is sent is not moved under the old lease, and sleeps on", async () => {
  const hosts = new TwoHosts(rooms({ idleAfterMs: 1000 }));
  const { table, leases, clock } = hosts.source;
  await connectTo(await hosts.source.live("room"), new FakeCarrier(new FakeEdge()));
  await clock.advance(5000);
  hosts.before = async (step) => {
    if (step !== "deliver") return;
    leases.session.end();
    table.suspendAll();
    leases.session = new FakeSession("session-2");
    await table.adoptAll();
    // As the directory answers: the lease is ours, under another epoch than the one that was to be given away.
    leases.moveOutcome = { outcome: "lost" };
  };
  await expect(hosts.move("room")).rejects.toMatchObject({ code: "move_failed" });
  await settled(hosts);
  expect([table.asleep, leases.moves, hosts.steps.at(-1)]).toEqual([1, [], "cancelled"]);
});

test("L7 a target that asks the primary and hears from the source meanwhile runs under the epoch of its lease", async () => {
  const hosts = new TwoHosts(rooms());
  await count(hosts.source);
  const go = Promise.withResolvers<void>();
  hosts.before = (step) => (step === "go" ? go.promise : undefined);
  const held = Promise.withResolvers<void>();
  hosts.target.leases.held = held.promise;
  await hosts.move("room");
  await settled(hosts);
  await hosts.target.clock.advance(90_001); // arrivalLimitMs
  expect(hosts.target.leases.acquired).toEqual(["room/a"]);
  go.resolve();
  await settled(hosts);
  held.resolve();
  await settled(hosts);
  const activation = hosts.target.table.live("room/a");
  const row = await hosts.target.leases.acquire(ref, "mine"); // raises it once more
  expect(activation?.epoch).toBe(row.epoch - 1);
});

test("L7 a target that has given an arrival up does not say that it is ready", async () => {
  const hosts = new TwoHosts(rooms());
  await count(hosts.source);
  hosts.before = (step) => {
    if (step === "deliver") void hosts.target.table.close("drain", 0);
    return new Promise((resolve) => setTimeout(resolve, 5));
  };
  await expect(hosts.move("room")).rejects.toMatchObject({ code: "move_failed" });
  expect(hosts.source.table.live("room/a")).toBeDefined();
});

test("L7 a session that ends before the compare-and-set was sent leaves the target nothing to ask", async () => {
  const hosts = new TwoHosts(rooms());
  await count(hosts.source);
  const delivered = Promise.withResolvers<void>();
  hosts.before = (step) => (step === "deliver" ? delivered.promise : undefined);
  const move = hosts.move("room").catch((error: unknown) => error);
  await settled(hosts);
  hosts.source.leases.session.end();
  hosts.source.table.suspendAll();
  delivered.resolve();
  expect(await move).toMatchObject({ code: "session_over" });
  expect(hosts.source.leases.moves).toEqual([]);
  await settled(hosts);
  expect(hosts.steps.at(-1)).toBe("cancelled");
});

test("L7 a timer that is due while a long move is under way runs once that is called off", async () => {
  const ticks: string[] = [];
  const opened = Promise.withResolvers<void>();
  const made = () => [
    object("room", { moveQuiesceMs: 30_000, onMoveOut: () => opened.promise }).post(
      "/count",
      ({ setTimeout }) => {
        setTimeout(() => void ticks.push("tick"), 50);
        return 1;
      },
    ),
  ];
  const hosts = new TwoHosts(made);
  await count(hosts.source);
  hosts.before = (step) => (step === "deliver" ? new Promise(() => undefined) : undefined);
  const move = hosts.move("room").catch((error: unknown) => error);
  await hosts.source.clock.advance(20_000);
  opened.resolve();
  await hosts.source.clock.advance(20_001); // deliverLimitMs
  expect(await move).toMatchObject({ code: "move_failed" });
  await settled(hosts);
  expect(ticks).toEqual(["tick"]);
});

test("L7 an object whose class is newer at the target is migrated, also where it has nothing stored", async () => {
  let made = 0;
  const migrated: unknown[] = [];
  const hosts = new TwoHosts(() => {
    if (made++ === 0)
      return [
        object("room", { state: () => ({ count: 0 }), onStart: () => undefined }).post(
          "/count",
          ({ state }) => ++state.count,
        ),
      ];
    return [
      object("room", {
        state: () => ({ total: 0 }),
        version: 2,
        onStart: () => undefined,
        migrate: (_: unknown, from: number, state: { total: number; count?: number }) => {
          migrated.push(from);
          state.total = state.count ?? 0;
        },
      } as object).get("/", ({ state }) => state), // the test made it
    ] as never; // the test made it
  });
  await count(hosts.source);
  await hosts.move("room");
  await settled(hosts);
  expect(migrated).toEqual([1]);
});

test("L7 L11 a drain that begins while the directory is away moves what comes back in its time", async () => {
  const host = new ObjectHost(...rooms()());
  await count(host);
  host.leases.session.end();
  host.table.suspendAll();
  host.isDraining = true;
  const moved: string[] = [];
  const moves = { move: async ({ key }: { key: string }) => void moved.push(key) } as never; // the test made it
  const drain = new Drain({ table: host.table, moves, clock: host.clock, log: host.log });
  const all = drain.moveAll(host.clock.monotonicMs() + 15_000);
  await host.clock.advance(1000);
  host.leases.session = new FakeSession("session-2");
  await host.table.adoptAll();
  expect(host.table.live("room/a")).toBeDefined();
  await host.clock.advance(16_000);
  await all;
  expect(moved).toEqual(["room/a"]);
});

test("L7 H3 a stream of an object whose forced move was called off ends with the object", async () => {
  const made = () => [
    object("room", { moveQuiesceMs: 100 }).get("/stream", async function* () {
      yield "one";
      await new Promise(() => undefined);
    }),
  ];
  const hosts = new TwoHosts(made);
  const live = await hosts.source.live("room");
  const first = (await fetchFrom(live, "/stream")).body?.getReader();
  await first?.read();
  hosts.source.leases.moveOutcome = { outcome: "refused" };
  const move = hosts.move("room", true).catch((error: unknown) => error);
  await hosts.source.clock.advance(1000);
  expect(await move).toMatchObject({ code: "move_failed" });
  const second = (await fetchFrom(live, "/stream")).body?.getReader();
  await second?.read();
  const rest = second?.read().catch(() => "broken");
  void hosts.source.table.stop(live, "drain");
  await hosts.source.clock.advance(100);
  const late = new Promise((resolve) => setTimeout(() => resolve("hangs"), 200));
  expect(await Promise.race([rest, late])).toBe("broken");
});

test("L7 a call that comes back to an object which moves, and waits for it, is refused at once", async () => {
  const opened = Promise.withResolvers<void>();
  const made = () => [object("room").get("/slow", () => opened.promise.then(() => "done"))];
  const hosts = new TwoHosts(made);
  const slow = fetchFrom(await hosts.source.live("room"), "/slow");
  const move = hosts.move("room").catch((error: unknown) => error);
  await settled(hosts);
  const outcomes: unknown[] = [];
  for (const host of [hosts.source, hosts.target])
    void host.table.activate(ref, "mine", ["room/a", "other/b"]).catch((error) => outcomes.push(error.code));
  await settled(hosts);
  expect(outcomes).toEqual(["call_cycle", "call_cycle"]);
  opened.resolve();
  await settled(hosts);
  await Promise.all([move, slow]);
});
