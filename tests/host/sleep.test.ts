import { expect, test } from "bun:test";
import type { SocketRecord } from "../../infra/host/edge-port.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { object } from "../../infra/object/object.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost } from "./object-host.ts";

/** A class that tells what happens to it. */
function makeRoom(heard: unknown[], options: object = {}) {
  return object("room", {
    state: () => ({ count: 0 }),
    idleAfterMs: 1000,
    onStart: ({ reason, gapMs, sockets }) =>
      void heard.push({ reason, gapMs, sockets: sockets.list().length }),
    ...options,
  })
    .derive(({ reattached }) => {
      heard.push(reattached ? "again" : "first");
      return {};
    })
    .get("/", ({ state }) => state)
    .ws("/live", {
      open: () => void heard.push("open"),
      message(ws, text) {
        if (text === "keep") ws.attachment = { name: "ada" };
        if (text === "tag") ws.tags = ["host"];
        ws.send(`${++ws.data.state.count} ${text} ${JSON.stringify(ws.attachment)} ${ws.tags}`);
      },
      close: (_, code) => void heard.push(`close ${code}`),
    });
}

function recordOf(number: number, rest: Partial<SocketRecord> = {}): SocketRecord {
  return {
    ...{ number, id: `socket-${number}`, remoteAddress: "192.0.2.1", kind: "websocket", phase: "opened" },
    ...{ subscriptions: [], presence: [], tags: [], attachment: undefined, handled: 0 },
    ...rest,
  };
}

const head = {
  kind: "websocket",
  url: "http://client.example/room/a/live",
  target: "/room/a/live",
  headers: [],
} as const;

/** A host whose `room/a` has one socket and sleeps. */
async function asleep(heard: unknown[], options: object = {}) {
  const host = new ObjectHost(makeRoom(heard, options));
  const edge = new FakeEdge();
  const { carrier } = await connectTo(await host.live("room"), new FakeCarrier(edge));
  await host.clock.advance(5000);
  expect([host.table.size, host.table.asleep, edge.told]).toEqual([0, 1, ["asleep"]]);
  edge.told.length = 0;
  return { host, edge, carrier };
}

test("H8 an object with idle sockets sleeps: its lease stays, its sockets stay open", async () => {
  const { host, carrier } = await asleep([]);
  expect([host.leases.released, carrier.closed]).toEqual([[], undefined]);
});

test("H9 a message wakes it: with all its sockets, its hooks run again and `open` does not", async () => {
  const heard: unknown[] = [];
  const { host, edge, carrier } = await asleep(heard);
  edge.records = [recordOf(1, { handled: 0 }), recordOf(2)];
  heard.length = 0;
  edge.events?.head(1, head);
  edge.events?.message(1, "hello");
  edge.events?.message(1, "again");
  await host.clock.advance(100);
  expect(heard).toMatchObject([{ reason: "wake", sockets: 2 }, "again"]);
  expect(heard[0]).toHaveProperty("gapMs", expect.any(Number));
  expect(carrier.sent).toEqual(["1 hello undefined ", "2 again undefined "]);
  expect([carrier.handledCount, edge.told]).toEqual([2, ["rollCall"]]);
});

test("H10 messages of its own host that wake it are counted once, so that the next owner lacks none", async () => {
  const { host, edge, carrier } = await asleep([]);
  edge.isDirect = true;
  // It is asked in the turn of the first message, which is among the seven.
  edge.records = [recordOf(1, { handled: 7 }), recordOf(2, { handled: 3 })];
  edge.events?.head(1, head);
  edge.events?.message(1, "hello");
  edge.events?.message(1, "again");
  await host.clock.advance(100);
  edge.events?.message(1, "awake");
  const [{ records } = { records: [] }] = (await host.live("room")).edges.records();
  expect(carrier.sent).toHaveLength(3);
  expect(records.map(({ number, handled }) => [number, handled])).toEqual([
    [1, 9],
    [2, 3],
  ]);
});

test("H8 a request wakes it, wherever it comes in", async () => {
  const heard: unknown[] = [];
  const { host } = await asleep(heard);
  const response = await fetchFrom(await host.live("room"));
  expect(await response.json()).toEqual({ count: 0 });
  expect(host.leases.acquired).toEqual(["room/a", "room/a"]); // the second brings what is stored
});

test("H9 attachment and tags survive sleep: the edge keeps them and gives them back", async () => {
  const host = new ObjectHost(makeRoom([]));
  const edge = new FakeEdge();
  const { socket, carrier } = await connectTo(await host.live("room"), new FakeCarrier(edge));
  await socket.received("keep");
  await socket.received("tag");
  expect(carrier.kept?.tags).toEqual(["host"]);
  await host.clock.advance(5000);
  edge.records = [recordOf(1, { ...carrier.kept, handled: 2 })];
  edge.events?.head(1, head);
  edge.events?.message(1, "hello");
  await host.clock.advance(100);
  expect(carrier.sent.at(-1)).toBe('1 hello {"name":"ada"} host');
  const { sockets } = await host.live("room");
  expect(sockets.list({ tag: "host" })).toMatchObject([{ id: "socket-1", attachment: { name: "ada" } }]);
  expect(sockets.list({ tag: "other" })).toEqual([]);
});

test("H8 topics go on after sleep: who is subscribed is in the records", async () => {
  const { host, edge } = await asleep([]);
  edge.records = [recordOf(1, { subscriptions: ["news"] })];
  const activation = await host.live("room");
  activation.publish("news", { data: "hear", form: "text" });
  expect([edge.frames, activation.topics.subscriberCount("news")]).toEqual([
    [{ topic: "news", message: "hear", except: 0 }],
    1,
  ]);
});

test("H9 hooks that refuse on the way back close the socket with 4401", async () => {
  const room = object("room", { idleAfterMs: 1000 })
    .onBeforeHandle(({ reattached, status }) => (reattached ? status(401) : undefined))
    .ws("/live", { message: (ws) => void ws.send("heard") });
  const host = new ObjectHost(room);
  const edge = new FakeEdge();
  const { carrier } = await connectTo(await host.live("room"), new FakeCarrier(edge));
  await host.clock.advance(5000);
  edge.records = [recordOf(1)];
  edge.events?.head(1, head);
  edge.events?.message(1, "hello");
  await host.clock.advance(100);
  expect([carrier.closed?.code, carrier.sent]).toEqual([4401, []]);
});

test("H8 a close wakes nobody unless the class asks", async () => {
  const heard: unknown[] = [];
  const { host, edge } = await asleep(heard);
  edge.events?.closed(1, 1000, "");
  await host.clock.advance(100);
  expect(host.table.size).toBe(0);
  const asking = await asleep(heard, { wakeOnClose: true });
  asking.edge.records = [recordOf(1)];
  asking.edge.events?.head(1, head);
  asking.edge.events?.closed(1, 1000, "");
  await asking.host.clock.advance(100);
  expect(heard.at(-1)).toBe("close 1000");
});

test("H8 an edge that does not answer the roll call holds up the object for two seconds at most", async () => {
  const heard: unknown[] = [];
  const { host, edge } = await asleep(heard);
  edge.records = undefined;
  heard.length = 0;
  const woken = host.live("room");
  await host.clock.advance(2000);
  const activation = await woken;
  expect(heard).toMatchObject([{ reason: "wake", sockets: 0 }]);
  edge.events?.roll([recordOf(1)], "all", true);
  expect(activation.sockets.count).toBe(1);
});

test("H8 when the last edge of a sleeping object is gone its lease is given back", async () => {
  const { host, edge } = await asleep([]);
  const { StatefulError } = await import("../../infra/lib/errors.ts");
  edge.events?.lost(new StatefulError("outcome_unknown", "gone"));
  expect([host.table.asleep, host.leases.released.length]).toEqual([0, 1]);
});

test("H8 L1 a session that ends is adopted for those that sleep, too; what somebody took is left to its edges", async () => {
  const { host, edge } = await asleep([]);
  const taken = await asleep([]);
  for (const { host: each } of [{ host }, taken]) {
    each.leases.session.end();
    each.table.suspendAll();
    await expect(each.live("room")).rejects.toMatchObject({ code: "session_over" });
    each.leases.session = new FakeSession("next");
  }
  taken.host.leases.elsewhere.set("room/a", "another");
  for (const each of [edge, taken.edge]) each.told.length = 0;
  await host.table.adoptAll();
  await taken.host.table.adoptAll();
  expect([host.table.asleep, edge.told, taken.host.table.asleep, taken.edge.told]).toEqual([
    1,
    [],
    0,
    ["close session_over"],
  ]);
});

test("H8 an alarm wakes it in time", async () => {
  const fired: string[] = [];
  const room = object("room", { idleAfterMs: 1000, onAlarm: ({ name }) => void fired.push(name) })
    .post("/set", async ({ alarms }) => void (await alarms.set("ring", { afterMs: 30_000 })))
    .ws("/live", { message: () => undefined });
  const host = new ObjectHost(room);
  const activation = await host.live("room");
  await connectTo(activation, new FakeCarrier(new FakeEdge()));
  const set = fetchFrom(activation, "/set", { init: { method: "POST" } });
  await host.clock.advance(10);
  expect((await set).status).toBe(200);
  await host.clock.advance(20_000);
  expect([host.table.asleep, fired]).toEqual([1, []]);
  await host.clock.advance(12_000);
  expect(fired).toEqual(["ring"]);
});

test("H8 edges that register at the same time share one lease, which is not asked for again", async () => {
  const host = new ObjectHost(makeRoom([]));
  const ref = (await host.live("room", "b")).ref;
  const other = { ...ref, id: "c", key: "room/c" };
  const [first, second] = await Promise.all([
    host.table.claim(other, "free", true),
    host.table.claim(other, "free", true),
  ]);
  expect([first === second, host.leases.acquired.filter((key) => key === "room/c").length]).toEqual([
    true,
    1,
  ]);
});

test("H8 an object that was asked for by an edge which never came back is given up", async () => {
  const host = new ObjectHost(makeRoom([]));
  const { ref } = await host.live("room", "b");
  await host.table.claim({ ...ref, id: "c", key: "room/c" }, "free", true);
  expect(host.table.asleep).toBe(1);
  await host.clock.advance(20_000);
  expect([host.table.asleep, host.leases.released.map(({ object: { key } }) => key)]).toEqual([
    0,
    expect.arrayContaining(["room/c"]),
  ]);
});

test("H8 an edge that is attached while the object wakes is among those whose sockets it has", async () => {
  const heard: unknown[] = [];
  const host = new ObjectHost(makeRoom(heard));
  const { ref } = await host.live("room", "b");
  const other = { ...ref, id: "c", key: "room/c" };
  const edges = await host.table.claim(other, "free", false);
  if ("owned" in edges) throw new Error("not taken");
  const held = Promise.withResolvers<void>();
  host.leases.held = held.promise;
  heard.length = 0;
  const woken = host.table.activate(other, "mine");
  await host.clock.advance(0);
  const edge = new FakeEdge();
  edges.attach(edge.edge, (events, facts) => Object.assign(edge, { events, facts }));
  edge.events?.roll([recordOf(1)], "missing", true);
  held.resolve();
  await woken;
  expect(heard).toMatchObject([{ sockets: 1 }]);
});

test("H9 a message that was under way when the object fell asleep finds the head that comes with the roll", async () => {
  const { host, edge, carrier } = await asleep([]);
  edge.records = undefined;
  edge.events?.message(1, "under way");
  await host.clock.advance(0);
  edge.events?.head(1, head);
  edge.events?.roll([recordOf(1)], "all", true);
  await host.clock.advance(100);
  expect([carrier.closed, carrier.sent]).toEqual([undefined, ["1 under way undefined "]]);
});

test("H9 hooks that cannot run because the lease is not confirmed run once it is", async () => {
  const { host, edge, carrier } = await asleep([]);
  edge.records = [recordOf(1)];
  await host.live("room");
  host.leases.session.end();
  host.table.suspendAll();
  edge.events?.head(1, head);
  edge.events?.message(1, "waits");
  await host.clock.advance(100);
  expect([carrier.closed, carrier.sent]).toEqual([undefined, []]);
  host.leases.session = new FakeSession("next");
  await host.table.adoptAll();
  await host.clock.advance(100);
  expect([carrier.closed, carrier.sent]).toEqual([undefined, ["1 waits undefined "]]);
});

test("H10 what wakes an object is not lost though its edge tells its sockets late, and what is said meanwhile is heard there", async () => {
  const { host, edge, carrier } = await asleep([]);
  edge.records = undefined;
  edge.events?.head(1, head);
  edge.events?.message(1, "waits");
  const woken = host.live("room");
  await host.clock.advance(2000);
  const activation = await woken;
  activation.publish("news", { data: "meanwhile", form: "text" });
  expect([carrier.sent, edge.frames.map(({ message }) => message)]).toEqual([[], ["meanwhile"]]);
  edge.events?.roll([recordOf(1)], "all", true);
  await host.clock.advance(100);
  expect(carrier.sent).toEqual(["1 waits undefined "]);
});

test("H10 an opening that waits is not acknowledged before it is taken", async () => {
  const { host, edge } = await asleep([]);
  edge.records = undefined;
  const acknowledged: number[] = [];
  edge.carrier(2).handled = (count) => void acknowledged.push(count);
  edge.events?.head(2, head);
  edge.events?.opened(2);
  await host.clock.advance(0);
  expect(acknowledged).toEqual([]);
  edge.events?.roll([recordOf(1), recordOf(2, { phase: "accepted" })], "all", true);
  await host.clock.advance(100);
  expect(acknowledged).toEqual([0]);
});

test("H9 an edge that answers the roll call in the same turn, and has the object woken for that, finds it waking already", async () => {
  const heard: unknown[] = [];
  const { host, edge } = await asleep(heard);
  const { ref } = [...host.table.allAsleep()][0] ?? {};
  if (ref === undefined) throw new Error("Nothing sleeps here.");
  edge.records = [recordOf(1)];
  heard.length = 0;
  await host.table.claim(ref, "mine", false); // by an edge that knew it awake
  const [one, other] = await Promise.all([host.live("room"), host.live("room")]);
  await host.clock.advance(100);
  expect(one).toBe(other);
  // Of one copy: whatever another wrote under the same lease would be this one's to overwrite.
  expect(heard.filter((each) => typeof each === "object")).toHaveLength(1);
  expect(edge.told.filter((each) => each === "rollCall")).toHaveLength(1);
});

test("H6 L1 a sleeper that was given up while it was adopted takes no lease from the copy that has started meanwhile", async () => {
  const { host, edge } = await asleep([]);
  host.leases.session.end();
  host.table.suspendAll();
  host.leases.session = new FakeSession("next");
  const held = Promise.withResolvers<void>();
  host.leases.adoptionHeld = held.promise;
  const adopted = host.table.adoptAll();
  edge.events?.lost(new StatefulError("owner_unreachable", "The edge has gone."));
  const anew = await host.live("room");
  held.resolve();
  await adopted;
  // What was adopted came under the lease that the new copy has: one commit takes both.
  expect([anew.isLive, host.leases.released.map(({ epoch }) => epoch)]).toEqual([true, [1]]);
});

for (const [came, wakeOnClose, wakes] of [
  ["to one that is awake, and then sleeps", false, true],
  ["to one that sleeps", false, false],
  ["to one that sleeps, and wakes for each that closes", true, true],
] as const)
  test(`H10 an edge that comes by itself, with sockets, ${came}: ${wakes ? "wakes it" : "leaves it asleep"}`, async () => {
    const host = new ObjectHost(makeRoom([], { wakeOnClose }));
    const activation = await host.live("room");
    const edge = new FakeEdge();
    const attached = activation.edges.attach(edge.edge, (events, facts) =>
      Object.assign(edge, { events, facts }),
    );
    if (came === "to one that is awake, and then sleeps") attached.expectRoll();
    await host.clock.advance(5000);
    expect([host.table.asleep, edge.told]).toEqual([1, ["asleep"]]);
    if (came !== "to one that is awake, and then sleeps") attached.expectRoll();
    edge.records = [recordOf(1)];
    edge.events?.roll(edge.records, "missing", false);
    edge.events?.roll([], "missing", true);
    await host.clock.advance(10);
    expect(edge.told).toEqual(wakes ? ["asleep", "rollCall"] : ["asleep"]);
    expect(host.table.live("room/a")?.socketCount).toBe(wakes ? 1 : undefined);
    // Once is enough: the next time it sleeps it may.
    await host.clock.advance(5000);
    edge.told.length = 0;
    edge.events?.roll(edge.records, "missing", true);
    await host.clock.advance(10);
    expect(edge.told).toEqual([]);
  });

/** As `asleep`, of a class whose topic keeps what was said; its wake is under way and its lease not there yet. */
async function wakingFeed(durability: "memory" | "storage") {
  const host = new ObjectHost(
    object("room", {
      durability,
      idleAfterMs: 1000,
      onStart: () => undefined,
      topics: { news: { history: { count: 100, ageMs: 600_000 } } },
    })
      .post("/say/:text", ({ topics, params }) => void topics.publish("news", params.text))
      .ws("/live", { open: (ws) => void ws.subscribe("news") }),
  );
  const activation = await host.live("room");
  await connectTo(activation);
  const said = fetchFrom(activation, "/say/old", { init: { method: "POST" } });
  await host.clock.advance(10);
  await said;
  const { position } = activation.topicStart("news", undefined);
  await host.clock.advance(5000);
  expect(host.table.asleep).toBe(1);
  const answered = Promise.withResolvers<void>();
  host.leases.held = answered.promise;
  const [sleeper] = host.table.allAsleep();
  if (sleeper === undefined) throw new Error("Nothing sleeps here.");
  return { host, sleeper, position, answered };
}

for (const durability of ["memory", "storage"] as const)
  test(`L9 T4 (${durability}) an object that was lost while it woke, and is ours anew, goes on from nothing that was read before`, async () => {
    const { host, sleeper, position, answered } = await wakingFeed(durability);
    const woken = host.table.activate(sleeper.ref, "mine");
    await host.clock.advance(1);
    host.table.endLost([{ object: sleeper.ref, epoch: sleeper.epoch }]);
    // Another host has it meanwhile, and says something that is stored where the class stores it.
    const stored = host.stores.rows.messages.get("room/a")?.get("news");
    const [last] = [...(stored?.values() ?? [])].slice(-1);
    if (last && stored)
      stored.set(last.place + 1, { ...last, place: last.place + 1, value: Buffer.from("new") });
    answered.resolve();
    await host.clock.advance(10);
    const activation = await woken;
    if ("owned" in activation) throw new Error("It is elsewhere.");
    const { recovered, missed } = activation.topicStart("news", position);
    const texts = missed.map(({ data }) => data);
    expect({ recovered, texts }).toEqual(
      durability === "storage" ? { recovered: true, texts: ["new"] } : { recovered: false, texts: [] },
    );
  });

test("H8 a wake that cannot read what it needs is not over before its lease is there", async () => {
  const { host, sleeper, answered } = await wakingFeed("storage");
  host.stores.readHeld = Promise.reject(new StatefulError("internal", "refused"));
  host.stores.readHeld.catch(() => undefined);
  let isOver = false;
  const woken = host.table.activate(sleeper.ref, "mine").catch((error: unknown) => error);
  void woken.then(() => {
    isOver = true;
  });
  await host.clock.advance(100);
  // Were it over, the object could move under the epoch that the lease is about to leave.
  expect(isOver).toBe(false);
  const { epoch } = sleeper;
  answered.resolve();
  await host.clock.advance(1);
  expect(await woken).toMatchObject({ code: "internal" });
  expect([host.table.asleep, sleeper.epoch > epoch]).toEqual([1, true]);
  host.stores.readHeld = undefined;
  host.leases.held = undefined;
  expect((await host.live("room")).isLive).toBe(true);
});

test("H10 a roll that an edge tells on its next channel settles a roll call whose answer was lost with the last", async () => {
  const { host, edge, carrier } = await asleep([]);
  edge.records = undefined;
  const woken = host.live("room");
  await host.clock.advance(2100);
  const attached = (await woken).edges.at(edge.edge.process);
  attached?.cursors(); // as it is asked when a channel opens
  edge.events?.roll([recordOf(1)], "missing", true);
  edge.events?.head(1, head);
  edge.events?.message(1, "hello");
  await host.clock.advance(100);
  expect(carrier.sent).toHaveLength(1);
});

test("H10 an object that fell asleep before an edge had told its sockets wakes once it has", async () => {
  const { host, edge } = await asleep([]);
  edge.records = undefined;
  const woken = host.live("room");
  await host.clock.advance(2100);
  await woken;
  await host.clock.advance(5000);
  expect(host.table.asleep).toBe(1);
  edge.records = [recordOf(1)];
  edge.events?.roll(edge.records, "all", true);
  await host.clock.advance(100);
  expect(host.table.live("room/a")?.socketCount).toBe(1);
  await host.clock.advance(5000);
  expect(host.table.asleep).toBe(1);
});

test("H10 T4 what an edge told before it heard a roll call is not taken for the answer to that", async () => {
  const host = new ObjectHost(
    object("room", { idleAfterMs: 1000, topics: { news: { history: { count: 100, ageMs: 600_000 } } } })
      .post("/say/:text", ({ topics, params }) => void topics.publish("news", params.text))
      .ws("/live", { open: (ws) => void ws.subscribe("news") }),
  );
  const edge = new FakeEdge();
  const activation = await host.live("room");
  await connectTo(activation, new FakeCarrier(edge));
  for (const text of ["one", "two"]) {
    const said = fetchFrom(activation, `/say/${text}`, { init: { method: "POST" } });
    await host.clock.advance(10);
    await said;
  }
  const [first = "", second = ""] = edge.positions;
  await host.clock.advance(5000);
  edge.records = undefined; // It does not hear of the roll call for a while.
  const woken = host.live("room");
  await host.clock.advance(2100);
  await woken;
  const records = [recordOf(1, { subscriptions: ["news"] })];
  // From before it had heard the second message, on the way for as long.
  edge.events?.positions(new Map([["news", first]]));
  edge.events?.roll(records, "missing", true);
  expect(edge.fills).toEqual([]);
  edge.events?.positions(new Map([["news", second]]));
  edge.events?.roll(records, "all", true);
  expect(edge.fills.flatMap(({ start }) => start.missed)).toEqual([]);
  expect((await host.live("room")).socketCount).toBe(1);
});
