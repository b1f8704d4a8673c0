import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { object } from "stateful-objects";
import { Activation } from "../../infra/host/activation.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import channel from "../../objects/channel.ts";
import { until } from "../support/wait.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, endSession, fetchFrom, ObjectHost, post } from "./object-host.ts";

const box = () => object("box", { state: () => ({ count: 0 }) }).post("/", ({ state }) => ++state.count);

// -- starting

test("H1 whoever asks while an object starts waits for that one start", async () => {
  const start = Promise.withResolvers<void>();
  let starts = 0;
  const host = new ObjectHost(
    object("box", {
      onStart() {
        starts++;
        return start.promise;
      },
    }),
  );
  const asked = [host.live("box"), host.live("box"), host.live("box")];
  await until("it starts", () => starts === 1);
  start.resolve();
  const [first, ...others] = await Promise.all(asked);
  for (const other of others) expect(other === first).toBe(true);
  expect([starts, host.leases.acquired]).toEqual([1, ["box/a"]]);
});

test("an object that another host has is not started here: the answer says who has it", async () => {
  const host = new ObjectHost(box());
  host.leases.elsewhere.set("box/a", "session-of-another");
  const taken = await host.table.activate(objectRef("box", "a"), "free");
  expect(taken).toMatchObject({ owned: false, session: "session-of-another" });
  expect([host.table.size, host.leases.released]).toEqual([0, []]);
});

test("H2 an onStart that fails refuses the start, frees the lease and is tried again at the next event", async () => {
  let starts = 0;
  const host = new ObjectHost(
    object("box", {
      onStart() {
        if (++starts === 1) throw new Error("database is away");
      },
    }).get("/", () => "ok"),
  );
  const refused = [host.live("box"), host.live("box")].map((start) => start.catch((thrown) => thrown));
  for (const failure of await Promise.all(refused)) {
    expect(failure).toMatchObject({ code: "start_failed" });
    expect(failure.message).not.toContain("database is away");
  }
  expect(host.log.errors).toEqual([new Error("database is away")]);
  expect([host.table.size, host.leases.released.length]).toEqual([0, 1]);
  expect(await (await fetchFrom(await host.live("box"))).text()).toBe("ok");
});

test("a state factory that fails is in the log too", async () => {
  const host = new ObjectHost(
    object("box", {
      state() {
        throw new Error("no state");
      },
    }),
  );
  await expect(host.live("box")).rejects.toMatchObject({ code: "start_failed" });
  expect(host.log.errors).toEqual([new Error("no state")]);
});

test("state that cannot be cloned is told when the object starts", async () => {
  const host = new ObjectHost(object("box", { state: () => ({ callback: () => 1 }) }));
  const failure = await host.live("box").catch((thrown) => thrown);
  expect(failure).toMatchObject({ code: "start_failed" });
  expect(failure.message).toContain('class "box" cannot be cloned');
});

test("H5 objects whose leases are on their way take room: a burst of starts does not pass the host's limit", async () => {
  const host = new ObjectHost(box());
  const answered = Promise.withResolvers<void>();
  host.leases.held = answered.promise;
  host.load.objects = host.load.objectsMax - 1;
  const first = host.live("box", "a");
  expect(await host.live("box", "b").catch(({ code }) => code)).toBe("host_full");
  answered.resolve();
  expect((await first).isLive).toBe(true);
  expect((await host.live("box", "b")).isLive).toBe(true);
});

test("a host refuses what it does not run, and what it has no room for, with the reason that placement shows", async () => {
  const pinned = object("pinned", { placement: { regions: ["nrt"] } });
  const host = new ObjectHost(box(), pinned);
  const refusalOf = (className: string) =>
    host.live(className).catch(({ code, details }) => ({ code, ...details }));
  expect(await refusalOf("unheard-of")).toEqual({ code: "unknown_class", reason: "class_missing" });
  expect(await refusalOf("pinned")).toEqual({ code: "no_eligible_host", reason: "outside_pinned_regions" });
  host.load.objects = 10;
  expect(await refusalOf("box")).toEqual({ code: "host_full", reason: "object_limit" });
  host.load.objects = 0;
  host.load.memoryUsedBytes = host.load.memoryLimitBytes;
  expect(await refusalOf("box")).toEqual({ code: "host_full", reason: "memory_limit" });
  host.isDraining = true;
  expect(await refusalOf("box")).toEqual({ code: "host_draining" });
  expect(host.leases.acquired).toEqual([]);
});

test("a class that is gone by the time its lease arrives gives the lease back", async () => {
  const host = new ObjectHost(box());
  const held = Promise.withResolvers<void>();
  host.leases.held = held.promise;
  const refused = host.live("box").catch((thrown) => thrown);
  await until("the lease is asked for", () => host.leases.acquired.length === 1);
  host.uninstall("box");
  held.resolve();
  expect(await refused).toMatchObject({ code: "unknown_class" });
  expect(host.leases.released).toHaveLength(1);
});

test("L5 a host that refuses what others believe it has gives up what the directory may say of it", async () => {
  const host = new ObjectHost(box());
  host.load.objects = 10;
  for (const when of ["free", "mine"] as const) {
    await expect(host.table.activate(objectRef("box", "a"), when)).rejects.toMatchObject({
      code: "host_full",
    });
  }
  expect([host.leases.disowned, host.leases.acquired]).toEqual([["box/a"], []]);
});

test("H1 a call that comes back to an object which starts or stops is a call_cycle, not a wait for ever", async () => {
  const [start, stop] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const host = new ObjectHost(object("box", { onStart: () => start.promise, onStop: () => stop.promise }));
  const ref = objectRef("box", "a");
  const callBack = () => host.table.activate(ref, "free", [ref.key, "other/b"]);
  const started = host.live("box");
  await until("it starts", () => host.table.size === 1);
  await expect(callBack()).rejects.toMatchObject({ code: "call_cycle" });
  start.resolve();
  const activation = await started;
  expect((await callBack()) === activation).toBe(true);
  const stopping = host.table.stop(activation, "idle");
  await expect(callBack()).rejects.toMatchObject({ code: "call_cycle" });
  stop.resolve();
  await stopping;
  expect((await callBack()) === activation).toBe(false);
});

test("H5 who waits for a start or a stop counts against the limit of open events", async () => {
  const start = Promise.withResolvers<void>();
  const host = new ObjectHost(object("box", { limits: { queueLengthMax: 4 }, onStart: () => start.promise }));
  const asked = Array.from({ length: 6 }, () => host.live("box").catch(({ code }) => code));
  await until("it starts", () => host.table.size === 1);
  start.resolve();
  const answers = await Promise.all(asked);
  expect(answers.slice(4)).toEqual(["queue_full", "queue_full"]);
  for (const answer of answers.slice(0, 4)) expect(answer instanceof Activation).toBe(true);
  expect(await host.live("box")).toBeInstanceOf(Activation);
});

test("H3 L3 a lease that arrives after its session ran out starts nothing", async () => {
  const host = new ObjectHost(box());
  host.leases.session.end();
  await expect(host.live("box")).rejects.toMatchObject({ code: "session_over" });
  expect(host.table.size).toBe(0);
});

// -- idle

test("an object that nothing happens on stops after its idle time, runs onStop and frees its lease", async () => {
  const reasons: string[] = [];
  const host = new ObjectHost(
    object("box", { idleAfterMs: 5000, onStop: ({ reason }) => void reasons.push(reason) }).get(
      "/",
      () => "ok",
    ),
  );
  const activation = await host.live("box");
  await host.clock.advance(4000);
  await fetchFrom(activation);
  await host.clock.advance(5000);
  expect(reasons).toEqual([]);
  await host.clock.advance(2000);
  expect(reasons).toEqual(["idle"]);
  expect([host.table.size, host.leases.released.length]).toEqual([0, 1]);
  expect((await host.live("box")) === activation).toBe(false);
});

test("an object with a timer or an open event is not idle; one with sockets alone is", async () => {
  const host = new ObjectHost(
    object("box", { idleAfterMs: 1000 })
      .ws("/live", { message: () => undefined })
      .get("/timer", ({ setTimeout }) => {
        setTimeout(() => undefined, 60_000);
        return "ok";
      })
      .get("/open", () => new Promise(() => undefined)),
  );
  await connectTo(await host.live("box", "socket"));
  await fetchFrom(await host.live("box", "timer"), "/timer");
  void fetchFrom(await host.live("box", "open"), "/open");
  await host.clock.advance(30_000);
  expect([...host.table.all()].map(({ ref }) => ref.id).toSorted()).toEqual(["open", "timer"]);
  expect([...host.table.allAsleep()].map(({ ref }) => ref.id)).toEqual(["socket"]);
  await host.clock.advance(40_000);
  expect([...host.table.all()].map(({ ref }) => ref.id)).toEqual(["open"]);
});

test("H1 an event that arrives while its object stops waits, and finds the next activation", async () => {
  const stop = Promise.withResolvers<void>();
  const host = new ObjectHost(
    object("box", { idleAfterMs: 1000, onStop: () => stop.promise }).get("/", () => "ok"),
  );
  const first = await host.live("box");
  await host.clock.advance(4000);
  expect(first.phase.name).toBe("stopping");
  const next = host.live("box");
  stop.resolve();
  expect((await next) === first).toBe(false);
  expect(host.leases.acquired).toEqual(["box/a", "box/a"]);
});

test("closing stops every object and leaves no timer behind", async () => {
  const reasons: string[] = [];
  const host = new ObjectHost(
    object("box", { onStop: ({ reason }) => void reasons.push(reason) }).get("/", ({ setTimeout }) => {
      setTimeout(() => undefined, 60_000);
      return "ok";
    }),
  );
  for (const id of ["a", "b"]) await fetchFrom(await host.live("box", id));
  await host.table.close("drain", 0);
  await host.clock.advance(0);
  expect(reasons).toEqual(["drain", "drain"]);
  expect([host.table.size, host.clock.timersLeft]).toEqual([0, 0]);
});

test("H1 an object whose stop breaks is gone all the same, and the next event starts it anew", async () => {
  const broken = new Error("the log is broken");
  const onStop = () => {
    throw new Error("onStop fails");
  };
  const host = new ObjectHost(object("box", { idleAfterMs: 1000, onStop }));
  const first = await host.live("box");
  const write = host.log.error.bind(host.log);
  host.log.error = (event, fields) => {
    if (event === "handler.failed") throw broken;
    write(event, fields);
  };
  await host.clock.advance(4000);
  expect([first.phase.name, host.table.size, host.leases.released.length]).toEqual(["over", 0, 1]);
  expect(host.log.errors).toEqual([broken]);
  expect((await host.live("box")) === first).toBe(false);
});

// -- the next session (L1), what the directory lost (L9)

test("H6 L1 what nobody took goes on under the next session, with its state and a new epoch", async () => {
  const host = new ObjectHost(box());
  const activation = await host.live("box");
  await fetchFrom(activation, "/", post);
  const [before] = [...host.table.held()];
  const ended = endSession(host);
  expect([...host.table.held()]).toEqual([]);
  expect(host.table.live("box/a")).toBeUndefined();
  expect(() => host.table.checkNotWaiting(activation.ref)).toThrow("waits to have its lease confirmed");
  await expect(host.live("box")).rejects.toMatchObject({ code: "session_over", retryAfterMs: 1000 });

  await host.table.adoptAll();
  expect(host.leases.adoptions).toMatchObject([{ fromSession: ended.id, leases: [before] }]);
  const [after] = [...host.table.held()];
  expect(after?.epoch).toBeGreaterThan(before?.epoch ?? 0);
  expect(await (await fetchFrom(await host.live("box"), "/", post)).text()).toBe("2");
});

test("H6 L1 what somebody took meanwhile ends, and its sockets stay open for their edges to find who has it", async () => {
  const host = new ObjectHost(object("room").ws("/live", { message: () => undefined }));
  const activation = await host.live("room");
  const { carrier } = await connectTo(activation);
  endSession(host);
  host.leases.elsewhere.set("room/a", "session-of-another");
  await host.table.adoptAll();
  expect(activation.phase).toMatchObject({ name: "over", cause: { code: "session_over" } });
  expect([carrier.closed, carrier.edge.told]).toEqual([undefined, ["close session_over"]]);
  expect(host.table.size).toBe(0);
});

test("H6 L1 when the next session ends as well, what is suspended waits for the one after it", async () => {
  const host = new ObjectHost(box());
  await fetchFrom(await host.live("box"), "/", post);
  endSession(host);
  host.leases.session.end();
  await host.table.adoptAll();
  expect(host.log.entries.map(({ event }) => event)).toContain("adoption.failed");
  host.leases.session = new FakeSession("session-3");
  await host.table.adoptAll();
  expect(await (await fetchFrom(await host.live("box"), "/", post)).text()).toBe("2");
});

test("H6 L1 a session that ends while onStart runs: the next one adopts the activation before anyone is served", async () => {
  const start = Promise.withResolvers<void>();
  const host = new ObjectHost(object("box", { onStart: () => start.promise }).get("/", () => "ok"));
  const started = host.live("box");
  await until("it starts", () => host.table.size === 1);
  const ended = endSession(host);
  await host.table.adoptAll();
  start.resolve();
  const activation = await started;
  expect(host.leases.adoptions).toMatchObject([{ fromSession: ended.id }]);
  expect(activation.phase).toMatchObject({ name: "live", session: { id: "session-2" } });
  expect(await (await fetchFrom(activation)).text()).toBe("ok");
});

test("H6 L1 a start that nobody could adopt is over: nothing of it goes on in the dark", async () => {
  const start = Promise.withResolvers<void>();
  const ticks: string[] = [];
  const host = new ObjectHost(
    object("box", {
      onStart({ setTimeout }) {
        setTimeout(() => void ticks.push("tick"), 1000);
        return start.promise;
      },
    }),
  );
  const refused = host.live("box").catch((thrown) => thrown);
  await until("it starts", () => host.table.size === 1);
  endSession(host);
  host.leases.session.end();
  start.resolve();
  expect(await refused).toMatchObject({ code: "session_over" });
  await host.clock.advance(60_000);
  expect([host.table.size, ticks]).toEqual([0, []]);
});

test("L9 leases that the directory lost end their activations, unless they have a newer epoch", async () => {
  const host = new ObjectHost(box());
  const lost = await host.live("box", "lost");
  const newer = await host.live("box", "newer");
  host.table.endLost([
    ...[...host.table.held()].filter(({ object }) => object.id === "lost"),
    { object: newer.ref, epoch: -1 },
    { object: objectRef("box", "unheard-of"), epoch: 1 },
  ]);
  expect([lost.phase.name, newer.phase.name]).toEqual(["over", "live"]);
  expect(host.table.size).toBe(1);
});

// -- a class whose file changed (dev)

test("a changed class takes its objects' state along, with defaults for the fields that it adds", async () => {
  const reasons: string[] = [];
  const host = new ObjectHost(
    object("box", { state: () => ({ count: 0 }), onStop: ({ reason }) => void reasons.push(reason) }).post(
      "/",
      ({ state }) => ++state.count,
    ),
  );
  await fetchFrom(await host.live("box"), "/", post);
  await host.table.reload("box");
  host.install(object("box", { state: () => ({ count: 0, name: "new" }) }).get("/", ({ state }) => state));
  expect(await (await fetchFrom(await host.live("box"))).json()).toEqual({ count: 1, name: "new" });
  expect(reasons).toEqual(["reload"]);
});

test("a reload carries state that is a Map over as well", async () => {
  const host = new ObjectHost(
    object("box", { state: () => new Map<string, number>() })
      .post("/", ({ state }) => void state.set("n", (state.get("n") ?? 0) + 1))
      .get("/", ({ state }) => [...state]),
  );
  await fetchFrom(await host.live("box"), "/", post);
  await host.table.reload("box");
  expect(await (await fetchFrom(await host.live("box"))).json()).toEqual([["n", 1]]);
});

test("a reload that could not stop an object carries nothing over: the object itself goes on", async () => {
  const host = new ObjectHost(box());
  const activation = await host.live("box");
  endSession(host);
  await host.table.reload("box");
  await host.table.adoptAll();
  await fetchFrom(activation, "/", post);
  await host.table.stop(activation, "idle");
  expect(await (await fetchFrom(await host.live("box"), "/", post)).text()).toBe("1");
});

test("a reload waits for what is starting, so that nothing goes on with the code from before", async () => {
  const start = Promise.withResolvers<void>();
  const host = new ObjectHost(object("box", { onStart: () => start.promise }));
  const started = host.live("box");
  await until("it starts", () => host.table.size === 1);
  const reloaded = host.table.reload("box");
  start.resolve();
  await reloaded;
  expect([(await started).phase.name, host.table.size]).toEqual(["over", 0]);
});

test("L1 state that a reload carries over is dropped with the lease that kept it here", async () => {
  const host = new ObjectHost(box());
  await fetchFrom(await host.live("box"), "/", post);
  await host.table.reload("box");
  endSession(host);
  expect(await (await fetchFrom(await host.live("box"), "/", post)).text()).toBe("1");
});

// -- the reason for all this

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateful-channels-"));
  process.env.CHANNEL_DATABASE_URL = `sqlite://${join(folder, "channels.db")}`;
});
afterAll(async () => {
  delete process.env.CHANNEL_DATABASE_URL;
  await rm(folder, { recursive: true });
});

test("a thousand viewers of one channel cost the database one query; a change reaches all of them", async () => {
  const host = new ObjectHost(channel);
  const watch = async () => {
    const taken = await host.table.activate(objectRef("channel", "ada"), "free");
    if (!(taken instanceof Activation)) throw new Error("elsewhere");
    return (await fetchFrom(taken)).json();
  };
  const viewers = await Promise.all(Array.from({ length: 1000 }, watch));
  for (const seen of viewers) expect(seen.title).toBe("Weaving numbers");
  expect(host.log.entries.filter(({ event }) => event === "object.started")).toHaveLength(1);

  const activation = await host.live("channel", "ada");
  const { carrier, socket } = await connectTo(activation);
  expect(carrier.sent).toEqual([JSON.stringify(viewers[0])]);
  const headers = { "content-type": "application/json" };
  const changed = await fetchFrom(activation, "/", {
    init: { method: "POST", headers, body: '{"title":"Looms"}' },
  });
  expect(await changed.json()).toMatchObject({ title: "Looms" });
  expect(carrier.edge).toMatchObject({
    frames: [{ topic: "channel", message: expect.stringContaining('"title":"Looms"') }],
  });
  await socket.closed(1000, "");
  await host.resources.close();
});
