import { expect, test } from "bun:test";
import { sse } from "elysia";
import { StatefulError } from "../../infra/lib/errors.ts";
import { object } from "../../infra/object/object.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, type ObjectHost, post } from "./object-host.ts";
import { cut, TwoHosts } from "./two-hosts.ts";

interface Heard {
  readonly at: string;
  readonly what: unknown;
}

/** A class whose objects tell which of the two hosts they are on. Each host has a class of its own. */
function makeRooms(heard: Heard[], options: object = {}) {
  let made = 0;
  return () => {
    const at = made++ === 0 ? "source" : "target";
    const room = object("room", {
      state: () => ({ count: 0, seen: new Map<string, number>() }),
      onStart: ({ reason, gapMs, sockets, state }) =>
        void heard.push({ at, what: { reason, gapMs, sockets: sockets.list().length, count: state.count } }),
      onMoveOut: ({ state }) => ({ promised: state.count }),
      onMoveIn: ({ carried }) => void heard.push({ at, what: carried }),
      onStop: () => void heard.push({ at, what: "stopped" }),
      ...options,
    })
      .get("/", ({ state }) => ({ at, count: state.count, seen: [...state.seen] }))
      .post("/count", ({ state }) => {
        state.count += 1;
        state.seen.set("last", state.count);
        return state.count;
      })
      .get("/slow", () => opened.promise)
      .ws("/live", {
        open: (ws) => void ws.subscribe("news"),
        message: (ws, text) => void ws.send(`${at} ${++ws.data.state.count} ${text}`),
      });
    return [room];
  };
}

let opened = Promise.withResolvers<string>();

async function settled(hosts: TwoHosts): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await hosts.source.clock.advance(1);
    await hosts.target.clock.advance(1);
  }
}

async function countOnce(host: ObjectHost): Promise<unknown> {
  const response = fetchFrom(await host.live("room"), "/count", post);
  await host.clock.advance(10);
  return (await response).json();
}

test("L7 a move carries state, what onMoveOut returned, and why", async () => {
  const heard: Heard[] = [];
  const hosts = new TwoHosts(makeRooms(heard));
  await countOnce(hosts.source);
  heard.length = 0;
  const result = await hosts.move("room");
  await settled(hosts);
  expect(result).toMatchObject({ toSession: "session-target", pauseMs: 0 });
  expect(heard).toEqual([
    { at: "target", what: { promised: 1 } },
    { at: "target", what: { reason: "move", gapMs: expect.any(Number), sockets: 0, count: 1 } },
  ]);
  expect(hosts.steps).toEqual(["begin", "deliver", "go"]);
  expect([hosts.source.table.size, hosts.target.table.size]).toEqual([0, 1]);
  const response = await fetchFrom(await hosts.target.live("room"));
  expect(await response.json()).toEqual({ at: "target", count: 1, seen: [["last", 1]] });
});

test("L7 events that come while it moves wait, and are told where it is", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  await countOnce(hosts.source);
  const { ref } = await hosts.source.live("room");
  const waiting: Promise<unknown>[] = [];
  hosts.before = (step) => {
    if (step === "deliver") waiting.push(hosts.source.table.activate(ref, "mine"));
  };
  await hosts.move("room");
  expect(await waiting[0]).toMatchObject({ owned: false, session: "session-target" });
  expect(await hosts.source.table.activate(ref, "mine")).toMatchObject({ session: "session-target" });
});

test("L7 whoever asks the target before it knows waits for that", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  const { ref } = await hosts.source.live("room");
  const go = Promise.withResolvers<void>();
  hosts.before = (step) => (step === "go" ? go.promise : undefined);
  await hosts.move("room");
  const asked = hosts.target.table.activate(ref, "mine");
  await settled(hosts);
  expect(hosts.target.table.size).toBe(0);
  go.resolve();
  expect(await asked).toMatchObject({ epoch: expect.any(Number) });
  expect(hosts.target.leases.acquired).toEqual([]);
});

test("H10 L7 with its sockets: the edge is held, then sent on, in order, and what was not taken comes again there", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  const edge = new FakeEdge();
  const { carrier } = await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
  edge.events?.message(1, "one");
  hosts.before = (step) => {
    if (step === "deliver") edge.events?.message(1, "under way");
  };
  await hosts.move("room");
  await settled(hosts);
  expect(carrier.sent).toEqual(["source 1 one"]);
  expect(edge.told).toEqual(["hold", expect.stringMatching(/^moved session-target \d+$/)]);
  const arrived = hosts.target.edgePorts.known.get(edge.edge.process);
  expect([...(arrived?.cursors ?? [])]).toEqual([[1, 1]]);
  const activation = await hosts.target.live("room");
  expect([activation.socketCount, activation.hub.subscriberCount("news")]).toEqual([1, 1]);
  const target = "/room/a/live";
  arrived?.events?.head(1, { kind: "websocket", url: `http://client.example${target}`, target, headers: [] });
  arrived?.events?.message(1, "under way");
  await settled(hosts);
  expect(arrived?.carriers.get(1)?.sent).toEqual(["target 2 under way"]);
});

test("L7 a move that the target refuses leaves all as it was", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  await countOnce(hosts.source);
  hosts.target.isDraining = true;
  await expect(hosts.move("room")).rejects.toMatchObject({ code: "host_draining" });
  expect(await countOnce(hosts.source)).toBe(2);
});

for (const [what, refuse] of [
  [
    "the target is lost before it has it",
    (hosts: TwoHosts) => (hosts.before = (step) => (step === "deliver" ? cut() : undefined)),
  ],
  [
    "the directory refuses the move",
    (hosts: TwoHosts) => (hosts.source.leases.moveOutcome = { outcome: "refused" }),
  ],
] as const) {
  test(`L7 called off because ${what}: it lives on, and what waited is served`, async () => {
    const hosts = new TwoHosts(makeRooms([]));
    const edge = new FakeEdge();
    const { carrier } = await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
    refuse(hosts);
    const { before } = hosts;
    hosts.before = (step) => {
      if (step === "deliver") edge.events?.message(1, "waits");
      return before(step);
    };
    await expect(hosts.move("room")).rejects.toMatchObject({ code: "move_failed" });
    await settled(hosts);
    expect([carrier.sent, edge.told]).toEqual([["source 1 waits"], ["hold", "goOn"]]);
    expect([hosts.target.table.size, hosts.steps.at(-1)]).toEqual([0, "cancelled"]);
  });
}

test("L7 a handler that does not end calls a voluntary move off, and a drain goes on without it", async () => {
  opened = Promise.withResolvers();
  const hosts = new TwoHosts(makeRooms([], { moveQuiesceMs: 100 }));
  const slow = fetchFrom(await hosts.source.live("room"), "/slow");
  const calledOff = hosts.move("room").catch((error: unknown) => error);
  await hosts.source.clock.advance(200);
  expect(await calledOff).toMatchObject({ code: "move_failed" });
  expect(hosts.source.table.live("room/a")).toBeDefined();
  const forced = hosts.move("room", true);
  await hosts.source.clock.advance(1000);
  expect(await forced).toMatchObject({ toSession: "session-target" });
  opened.resolve("late");
  expect(await (await slow).json()).toMatchObject({ code: "outcome_unknown" });
});

test("L7 the session ends while it is not known whether the lease has moved: the next one finds out", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  await countOnce(hosts.source);
  const held = Promise.withResolvers<void>();
  hosts.source.leases.moveHeld = held.promise;
  const move = hosts.move("room").catch((error: unknown) => error);
  await settled(hosts);
  hosts.source.leases.session.end();
  hosts.source.table.suspendAll();
  held.resolve();
  expect(await move).toMatchObject({ code: "session_over" });
  expect(hosts.steps.at(-1)).toBe("undecided");
  const activation = [...hosts.source.table.all()][0];
  expect(activation?.phase.name).toBe("suspended");
});

test("L7 a source that is lost after the lease has moved: the target asks the primary, and goes on from what it has", async () => {
  const heard: Heard[] = [];
  const hosts = new TwoHosts(makeRooms(heard));
  await countOnce(hosts.source);
  hosts.before = (step) => (step === "go" ? cut() : undefined);
  await hosts.move("room");
  await settled(hosts);
  expect(hosts.target.leases.acquired).toEqual(["room/a"]);
  expect(await (await fetchFrom(await hosts.target.live("room"))).json()).toMatchObject({
    at: "target",
    count: 1,
  });
});

test("L7 a source that is lost before it: the target never serves what it has", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  await countOnce(hosts.source);
  hosts.source.leases.moveHeld = new Promise(() => undefined);
  void hosts.move("room");
  await settled(hosts);
  hosts.arrival?.undecided();
  await hosts.target.clock.advance(120_000);
  expect(hosts.target.table.size).toBe(0);
});

test("L7 a timer that is due while the object moves waits, and runs only where the move is called off", async () => {
  const ticks: string[] = [];
  const made = () => [
    object("room").post("/count", ({ setTimeout }) => {
      setTimeout(() => void ticks.push("tick"), 50);
      return 1;
    }),
  ];
  for (const isCalledOff of [true, false]) {
    const hosts = new TwoHosts(made);
    await countOnce(hosts.source);
    const go = Promise.withResolvers<void>();
    hosts.before = (step) => (step === "deliver" ? go.promise : undefined);
    const move = hosts.move("room").catch(() => undefined);
    await hosts.source.clock.advance(100);
    expect(ticks).toEqual([]);
    if (isCalledOff) hosts.source.leases.moveOutcome = { outcome: "refused" };
    go.resolve();
    await move;
    await settled(hosts);
    expect(ticks.splice(0)).toEqual(isCalledOff ? ["tick"] : []);
  }
});

test("L7 of two moves at once the second is refused, and the first is not disturbed", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  await hosts.source.live("room");
  const first = hosts.move("room");
  await expect(hosts.move("room")).rejects.toMatchObject({ code: "move_failed" });
  expect(await first).toMatchObject({ toSession: "session-target" });
});

test("L7 a target where the start fails keeps the object, untouched, and starts it for whoever asks next", async () => {
  let failures = 0;
  const carriedTo: unknown[] = [];
  const hosts = new TwoHosts(
    makeRooms([], {
      onMoveOut: () => ({ parts: ["one"] }),
      onMoveIn: ({ state, carried }: { state: { count: number }; carried: { parts: string[] } }) => {
        carriedTo.push([...carried.parts]);
        carried.parts.push("another");
        state.count += 1;
        if (failures++ < 2) throw new Error("not now");
      },
    }),
  );
  await countOnce(hosts.source);
  await hosts.move("room");
  await settled(hosts);
  expect([hosts.target.table.size, hosts.target.leases.released]).toEqual([0, []]);
  await expect(hosts.target.live("room")).rejects.toMatchObject({ code: "start_failed" });
  const response = await fetchFrom(await hosts.target.live("room"));
  expect(await response.json()).toMatchObject({ at: "target", count: 2 });
  expect(carriedTo).toEqual([["one"], ["one"], ["one"]]);
});

test("L7 storage, alarms and saved state travel along: the target reads none of it", async () => {
  const made = () => [
    object("room", { state: () => ({ count: 0 }), durability: "storage", onAlarm: () => undefined })
      .post("/count", async ({ state, storage, alarms }) => {
        state.count += 1;
        await storage.put("last", new Date(5));
        alarms.set("ring", { afterMs: 60_000 });
        return state.count;
      })
      .get("/", async ({ state, storage, alarms }) => ({
        ...{ count: state.count, last: await storage.get("last") },
        alarms: alarms.list().map(({ name }) => name),
      })),
  ];
  const hosts = new TwoHosts(made);
  await countOnce(hosts.source);
  await hosts.move("room");
  await settled(hosts);
  const response = fetchFrom(await hosts.target.live("room"));
  await settled(hosts);
  const found = await (await response).json();
  expect(found).toEqual({ count: 1, last: new Date(5).toISOString(), alarms: ["ring"] });
  expect([hosts.target.stores.reads, hosts.target.leases.acquired]).toEqual([0, []]);
});

test("L7 S1 what was said before the move is durable and has left before it", async () => {
  const made = () => [
    object("room", { state: () => ({ count: 0 }), durability: "storage" }).post(
      "/count",
      ({ state }) => ++state.count,
    ),
  ];
  const hosts = new TwoHosts(made);
  const answered: unknown[] = [];
  const request = fetchFrom(await hosts.source.live("room"), "/count", post).then(async (response) =>
    answered.push(await response.json()),
  );
  hosts.before = (step) => {
    if (step === "deliver") answered.push("packed");
  };
  const move = hosts.move("room");
  await settled(hosts);
  await Promise.all([request, move]);
  expect(answered).toEqual([1, "packed"]);
});

test("L7 an object that sleeps moves asleep: nothing of it runs, and its edges go along", async () => {
  const heard: Heard[] = [];
  const hosts = new TwoHosts(makeRooms(heard, { idleAfterMs: 1000 }));
  const edge = new FakeEdge();
  await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
  await hosts.source.clock.advance(5000);
  expect(hosts.source.table.asleep).toBe(1);
  heard.length = 0;
  await hosts.move("room");
  await settled(hosts);
  expect([hosts.source.table.asleep, hosts.target.table.asleep, heard]).toEqual([0, 1, []]);
  expect(edge.told).toEqual(["asleep", "hold", expect.stringMatching(/^moved session-target/)]);
  const arrived = hosts.target.edgePorts.known.get(edge.edge.process);
  expect(arrived?.told).toEqual(["asleep"]);
});

for (const isRefused of [false, true])
  test(`L7 a sleeper whose last edge goes while it is packed keeps its lease for the move (${isRefused ? "called off: given back then" : "which it makes"})`, async () => {
    const hosts = new TwoHosts(makeRooms([], { idleAfterMs: 1000 }));
    const edge = new FakeEdge();
    await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
    await hosts.source.clock.advance(5000);
    const { leases, table } = hosts.source;
    let released: readonly unknown[] = ["not looked at"];
    hosts.before = (step) => {
      if (step !== "deliver") return;
      edge.events?.lost(new StatefulError("owner_unreachable", "gone"));
      released = [...leases.released];
      if (isRefused) cut();
    };
    const moved = await hosts.move("room").catch(({ code }: StatefulError) => code);
    await settled(hosts);
    const expected = isRefused
      ? { moved: "outcome_unknown", givenBack: ["room/a"] }
      : { moved: { toSession: "session-target" }, givenBack: [] };
    const givenBack = leases.released.map(({ object: { key } }) => key);
    expect({ moved, givenBack, released, asleep: table.asleep }).toMatchObject({
      ...expected,
      released: [],
      asleep: 0,
    });
  });

test("H10 L7 a message for a sleeping object that comes while the target is asked wakes it: it does not move under it", async () => {
  const hosts = new TwoHosts(makeRooms([], { idleAfterMs: 1000 }));
  const edge = new FakeEdge();
  const { carrier } = await connectTo(await hosts.source.live("room"), new FakeCarrier(edge));
  await hosts.source.clock.advance(5000);
  const target = "/room/a/live";
  hosts.before = (step) => {
    if (step !== "begin") return;
    edge.records = [
      {
        ...{ number: 1, id: "socket-1", remoteAddress: "", kind: "websocket", phase: "opened" },
        ...{ subscriptions: [], presence: [], tags: [], attachment: undefined, handled: 0 },
      },
    ];
    edge.events?.head(1, { kind: "websocket", url: `http://client.example${target}`, target, headers: [] });
    edge.events?.message(1, "hello");
  };
  await expect(hosts.move("room")).rejects.toMatchObject({ code: "move_failed" });
  await hosts.source.clock.advance(2000);
  expect([carrier.sent, hosts.target.table.asleep]).toEqual([["source 1 hello"], 0]);
});

test("L7 a target whose source is lost lets go of what came as soon as somebody else has the object", async () => {
  const hosts = new TwoHosts(makeRooms([]));
  const { ref } = await hosts.source.live("room");
  hosts.source.leases.moveHeld = new Promise(() => undefined);
  void hosts.move("room");
  await settled(hosts);
  const other = { ...hosts.targetRecord, session: "session-other" };
  hosts.target.leases.elsewhere.set(ref.key, other.session);
  hosts.target.leases.owners.set(other.session, other);
  hosts.arrival?.undecided();
  const asked = hosts.target.table.activate(ref, "mine");
  await hosts.target.clock.advance(1000);
  expect(await asked).toMatchObject({ owned: false, session: other.session });
});

test("L7 an event stream ends at once in a drain, and what else is open is asked to end after moveQuiesceMs", async () => {
  const seen: string[] = [];
  const made = () => [
    object("room", { moveQuiesceMs: 1000 })
      .get("/events", async function* () {
        yield sse("one");
        await new Promise(() => undefined);
      })
      .get("/download", async function* () {
        yield "half";
        await new Promise(() => undefined);
      })
      .get("/wait", async ({ request, signal }) => {
        await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
        seen.push(request.signal === signal ? "one signal" : "two signals");
        return "ended early";
      })
      .post("/count", () => "counted")
      .ws("/live", {
        message: (ws) => ws.data.signal.addEventListener("abort", () => seen.push("socket's")),
      }),
  ];
  const hosts = new TwoHosts(made);
  const live = await hosts.source.live("room");
  const edge = new FakeEdge();
  await connectTo(live, new FakeCarrier(edge));
  edge.events?.message(1, "watch the signal");
  const [events, download] = await Promise.all([fetchFrom(live, "/events"), fetchFrom(live, "/download")]);
  const broken = download.text().catch(() => "broken");
  const ended = events.text();
  const waiting = fetchFrom(live, "/wait");
  const move = hosts.move("room", true);
  expect(await ended).toBe("data: one\n\n");
  await hosts.source.clock.advance(999);
  expect(seen).toEqual([]);
  await hosts.source.clock.advance(1);
  expect(await (await waiting).text()).toBe("ended early");
  expect(await broken).toBe("broken");
  await settled(hosts);
  expect(await move).toMatchObject({ toSession: "session-target" });
  expect(seen.sort()).toEqual(["one signal", "socket's"]);
});

test("L7 a stream that goes on calls a voluntary move off, and nobody waits for that; a drain does not wait for it either", async () => {
  const made = () => [
    object("room", { moveQuiesceMs: 1000 })
      .get("/events", async function* () {
        yield sse("one");
        await new Promise(() => undefined);
      })
      .get("/", () => "served"),
  ];
  const hosts = new TwoHosts(made);
  const live = await hosts.source.live("room");
  const events = (await fetchFrom(live, "/events")).text();
  const calledOff = hosts.move("room").catch((error: unknown) => error);
  await hosts.source.clock.advance(500);
  expect(await (await fetchFrom(live, "/")).text()).toBe("served");
  await hosts.source.clock.advance(500);
  expect(await calledOff).toMatchObject({
    code: "move_failed",
    message: expect.stringContaining("still being streamed"),
  });

  const again = hosts.move("room").catch((error: unknown) => error);
  const drained = hosts.move("room", true);
  expect(await again).toMatchObject({ code: "move_failed", message: expect.stringContaining("goes away") });
  await settled(hosts);
  expect(await drained).toMatchObject({ toSession: "session-target" });
  expect(await events).toBe("data: one\n\n");
});
