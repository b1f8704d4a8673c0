import { expect, test } from "bun:test";
import { sse, t } from "elysia";
import { object, StatefulError } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import { OpenEvent } from "../../infra/host/open-event.ts";
import { unconfirmedLimits } from "../../infra/host/unconfirmed-effects.ts";
import { UpgradeSlot } from "../../infra/object/event.ts";
import { isStreamed } from "../../infra/object/streamed-response.ts";
import { until } from "../support/wait.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";

const problemOf = async (response: Response) => ({ status: response.status, ...(await response.json()) });
const over = (code: "session_over" | "not_owner" = "session_over") => new StatefulError(code, "it is over");

// -- starting and stopping

test("H2 onStart runs before the first event, with its reason and the handles", async () => {
  const steps: string[] = [];
  const host = new ObjectHost(
    object("box", {
      state: () => ({ count: 0 }),
      async onStart({ reason, objectId, state }) {
        await Promise.resolve();
        state.count = 7;
        steps.push(`${reason} ${objectId}`);
      },
    }).get("/", ({ state }) => {
      steps.push("event");
      return state;
    }),
  );
  expect(await (await fetchFrom(await host.live("box"))).json()).toEqual({ count: 7 });
  expect(steps).toEqual(["create a", "event"]);
});

test("H2 an onStart that takes longer than 30 s fails the start", async () => {
  const host = new ObjectHost(object("box", { onStart: () => new Promise(() => undefined) }));
  const refused = host.live("box").catch((thrown) => thrown);
  await host.clock.advance(29_999);
  expect(host.table.size).toBe(1);
  await host.clock.advance(1);
  expect(await refused).toMatchObject({ code: "start_failed" });
  expect(host.log.errors).toMatchObject([{ message: "onStart did not settle within 30000 ms." }]);
  expect(host.table.size).toBe(0);
});

test("onStop runs with its reason after the last event, and only once", async () => {
  const steps: string[] = [];
  const event = Promise.withResolvers<string>();
  const host = new ObjectHost(
    object("box", { onStop: ({ reason }) => void steps.push(reason) }).get("/", () => event.promise),
  );
  const activation = await host.live("box");
  const response = fetchFrom(activation);
  const stops = [host.table.stop(activation, "drain", 5000), host.table.stop(activation, "drain", 5000)];
  expect(await problemOf(await fetchFrom(activation))).toMatchObject({ code: "not_owner", retryable: true });
  expect(steps).toEqual([]);
  event.resolve("done");
  expect(await (await response).text()).toBe("done");
  await Promise.all(stops);
  expect(steps).toEqual(["drain"]);
  expect(host.leases.released).toHaveLength(1);
});

test("a stop waits for open events no longer than it was told, asks them to end, and waits half a second more", async () => {
  const signals: AbortSignal[] = [];
  const host = new ObjectHost(
    object("box")
      .get("/", ({ request }) => {
        signals.push(request.signal);
        return new Promise(() => undefined);
      })
      .get("/heeds", async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return `asked to end: ${signal.reason.code}`;
      }),
  );
  const activation = await host.live("box");
  void fetchFrom(activation);
  const heeding = fetchFrom(activation, "/heeds");
  const stop = host.table.stop(activation, "drain", 5000);
  await host.clock.advance(4999);
  expect([activation.phase.name, signals[0]?.aborted]).toEqual(["stopping", false]);
  await host.clock.advance(1);
  expect(await (await heeding).text()).toBe("asked to end: host_draining");
  expect([activation.phase.name, signals[0]?.aborted]).toEqual(["stopping", true]);
  await host.clock.advance(500);
  await stop;
  expect(activation.phase.name).toBe("over");
});

test("an onStop that fails is logged and does not keep the object", async () => {
  const thrown = new Error("cannot say goodbye");
  const host = new ObjectHost(
    object("box", {
      onStop() {
        throw thrown;
      },
    }),
  );
  await host.table.stop(await host.live("box"), "idle");
  expect(host.log.errors).toEqual([thrown]);
  expect(host.leases.released).toHaveLength(1);
});

test("an activation that is over stays over, with its first cause", async () => {
  const host = new ObjectHost(object("box", { state: () => ({}) }).get("/", () => "ok"));
  const activation = await host.live("box");
  activation.end(over("session_over"));
  activation.end(over("not_owner"));
  activation.resume(host.leases.session, 9);
  activation.suspend();
  expect(activation.phase).toMatchObject({ name: "over", cause: { code: "session_over" } });
  expect(await problemOf(await fetchFrom(activation))).toMatchObject({ code: "session_over" });
  expect(() => activation.state).toThrow(expect.objectContaining({ code: "activation_over" }));
  expect(() => activation.setTimeout(() => undefined, 1)).toThrow("has ended");
});

// -- what a failing handler does

test("a handler that fails answers 500 with an id that is in the log, and the object goes on", async () => {
  const host = new ObjectHost(
    object("box").get("/", ({ query }) => {
      if (query.fail) throw new Error("broken");
      return "ok";
    }),
  );
  const activation = await host.live("box");
  const { errorId, code } = await problemOf(await fetchFrom(activation, "/?fail=1"));
  expect(code).toBe("handler_failed");
  expect(host.log.entries).toContainEqual({
    level: "error",
    event: "handler.failed",
    fields: { errorId, object: "box/a", path: "/box/a/", error: new Error("broken") },
  });
  expect(await (await fetchFrom(activation)).text()).toBe("ok");
  expect(activation.openEvents).toBe(0);
});

test.each<[string, unknown]>([
  ["undefined", undefined],
  ["null", null],
])("a handler that throws %s fails like any other", async (_what, thrown) => {
  const host = new ObjectHost(
    object("box").get("/", () => {
      throw thrown;
    }),
  );
  const activation = await host.live("box");
  expect(await problemOf(await fetchFrom(activation))).toMatchObject({ status: 500, code: "handler_failed" });
  expect(host.log.errors).toHaveLength(1);
  expect(activation.openEvents).toBe(0);
});

test("an error hook that throws itself is a failed handler in the log", async () => {
  const host = new ObjectHost(
    object("box")
      .onError(() => {
        throw new Error("worse");
      })
      .get("/", () => {
        throw new Error("bad");
      }),
  );
  const activation = await host.live("box");
  expect(await problemOf(await fetchFrom(activation))).toMatchObject({ code: "handler_failed" });
  expect(host.log.errors).toEqual([new Error("worse")]);
});

// -- L3: the lease is checked before each event and before each release

test("H3 L3 an event that arrives after the session ran out is refused, before anyone has said so", async () => {
  let runs = 0;
  const host = new ObjectHost(object("box").get("/", () => ++runs));
  const activation = await host.live("box");
  host.leases.session.end();
  expect(activation.phase.name).toBe("live");
  expect(await problemOf(await fetchFrom(activation))).toMatchObject({
    code: "session_over",
    retryable: true,
  });
  expect(runs).toBe(0);
  expect(host.table.live("box/a")).toBeUndefined();
});

test("H3 L3 a response whose lease ended while its handler ran leaves as outcome_unknown", async () => {
  const event = Promise.withResolvers<string>();
  const host = new ObjectHost(object("box").get("/", () => event.promise));
  const activation = await host.live("box");
  const response = fetchFrom(activation);
  host.leases.session.end();
  event.resolve("secret");
  expect(await problemOf(await response)).toMatchObject({
    status: 502,
    code: "outcome_unknown",
    retryable: false,
  });
});

test("H3 L3 an upgrade that was accepted just before the lease ended is taken back", async () => {
  const gate = Promise.withResolvers<void>();
  const host = new ObjectHost(object("box").ws("/live", { beforeHandle: () => gate.promise }));
  const activation = await host.live("box");
  const slot = new UpgradeSlot("websocket");
  const request = new Request("http://client.example/box/a/live", { headers: { upgrade: "websocket" } });
  const response = activation.fetch(request, new OpenEvent(activation, "/box/a/live", slot));
  host.leases.session.end();
  gate.resolve();
  expect((await response).status).toBe(502);
  expect(slot.accepted).toBeUndefined();
});

test("H3 L3 a stream breaks at the first chunk after the lease ended", async () => {
  const chunks = [
    Promise.withResolvers<string>(),
    Promise.withResolvers<string>(),
    Promise.withResolvers<string>(),
  ];
  const host = new ObjectHost(
    object("box").get("/", async function* () {
      yield sse({ data: "0" });
      for (const chunk of chunks) yield sse({ data: await chunk.promise });
    }),
  );
  const activation = await host.live("box");
  const response = await fetchFrom(activation);
  expect(isStreamed(response)).toBe(true);
  const reader = response.body?.getReader();
  const next = async () => new TextDecoder().decode((await reader?.read())?.value);
  expect(await next()).toBe("data: 0\n\n");
  chunks[0]?.resolve("1");
  expect(await next()).toBe("data: 1\n\n");
  host.leases.session.end();
  chunks[1]?.resolve("2");
  await expect(next()).rejects.toMatchObject({ code: "session_over" });
  await until("the event has ended", () => activation.openEvents === 0);
});

test("H3 L3 a stream whose lease ended before it began does not begin", async () => {
  const ready = Promise.withResolvers<void>();
  let isCancelled = false;
  const source = new ReadableStream({
    cancel() {
      isCancelled = true;
    },
  });
  const host = new ObjectHost(
    object("box").get("/", async () => {
      await ready.promise;
      return new Response(source);
    }),
  );
  const activation = await host.live("box");
  const response = fetchFrom(activation);
  host.leases.session.end();
  ready.resolve();
  expect(await problemOf(await response)).toMatchObject({ code: "outcome_unknown" });
  await until("the handler's stream has ended", () => isCancelled && activation.openEvents === 0);
});

test("H3 L3 nothing of a stream is read ahead of who reads it: what was checked early might leave late", async () => {
  let made = 0;
  const source = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        made++;
        controller.enqueue(new Uint8Array([made]));
      },
    },
    { highWaterMark: 0 },
  );
  const host = new ObjectHost(object("box").get("/", () => new Response(source)));
  const response = await fetchFrom(await host.live("box"));
  await Promise.resolve();
  expect(made).toBe(0);
  const reader = response.body?.getReader();
  await reader?.read();
  expect(made).toBe(1);
});

test("H3 L3 an event that waited at the gate of a serial class while the lease ended does not run", async () => {
  const first = Promise.withResolvers<string>();
  let runs = 0;
  const host = new ObjectHost(
    object("box", { concurrency: "serial" }).get("/", () => {
      runs++;
      return first.promise;
    }),
  );
  const activation = await host.live("box");
  const responses = [fetchFrom(activation), fetchFrom(activation)];
  await until("the first is inside", () => runs === 1);
  host.leases.session.end();
  first.resolve("done");
  const [, second] = await Promise.all(responses);
  expect(runs).toBe(1);
  expect((await second?.json())?.code).toBe("outcome_unknown");
});

test.each(["memory", "storage"] as const)(
  "H3 L3 what handlers say once the lease has ended waits for the next session, in order; and for nothing else (%s)",
  async (durability) => {
    const host = new ObjectHost(object("box", { durability }).ws("/live", { message: () => undefined }));
    const activation = await host.live("box");
    const { socket, carrier } = await connectTo(activation);
    host.leases.session.end();
    expect(socket.send("first")).toBe(5);
    activation.suspend();
    socket.subscribe("news");
    activation.topics.publish("news", "published");
    socket.send("second");
    expect([carrier.sent, carrier.topics]).toEqual([[], []]);
    host.leases.session = new FakeSession("session-2");
    activation.resume(host.leases.session, 2);
    socket.send("third");
    await until("all is said", () => carrier.sent.length === 3);
    expect(carrier.sent).toEqual(["first", "second", "third"]);
    expect(carrier.topics).toEqual(["news"]);
  },
);

test("H3 L3 what was said once the lease had ended is never told where somebody else has the object", async () => {
  const host = new ObjectHost(object("box").ws("/live", { message: () => undefined }));
  const activation = await host.live("box");
  const { socket, carrier } = await connectTo(activation);
  host.leases.session.end();
  socket.send("late");
  activation.suspend();
  activation.end(new StatefulError("session_over", "somebody else has it"), true);
  expect(carrier.sent).toEqual([]);
  expect(() => activation.topics.publish("news", "later")).toThrow("somebody else has it");
});

test("H3 more than may wait for the next session is refused", async () => {
  const host = new ObjectHost(object("box").ws("/live", { message: () => undefined }));
  const activation = await host.live("box");
  const { socket } = await connectTo(activation);
  host.leases.session.end();
  for (let n = 0; n < unconfirmedLimits.effectsMax; n += 1) socket.send("");
  expect(() => socket.send("")).toThrow(expect.objectContaining({ code: "session_over" }));
});

// -- limits

test("H5 past the limit of open events the next is refused with queue_full, and the object goes on", async () => {
  const event = Promise.withResolvers<string>();
  const host = new ObjectHost(object("box", { limits: { queueLengthMax: 2 } }).get("/", () => event.promise));
  const activation = await host.live("box");
  const open = [fetchFrom(activation), fetchFrom(activation)];
  const refused = await fetchFrom(activation);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await problemOf(refused)).toMatchObject({ status: 429, code: "queue_full", retryable: true });
  event.resolve("done");
  for (const response of await Promise.all(open)) expect(response.status).toBe(200);
  expect((await fetchFrom(activation)).status).toBe(200);
});

test("a socket whose messages are more than the object may have open is closed with 1013", async () => {
  const host = new ObjectHost(
    object("box", { limits: { queueLengthMax: 1 } }).ws("/live", {
      message: () => new Promise(() => undefined),
    }),
  );
  const { socket, carrier } = await connectTo(await host.live("box"));
  void socket.received("one");
  void socket.received("two");
  expect(carrier.closed?.code).toBe(1013);
});

test("H5 past the limit of sockets the next upgrade is refused", async () => {
  const host = new ObjectHost(
    object("box", { limits: { socketsMax: 1 } }).ws("/live", { message: () => undefined }),
  );
  const activation = await host.live("box");
  const { socket } = await connectTo(activation);
  await expect(connectTo(activation)).rejects.toMatchObject({ code: "queue_full" });
  await socket.closed(1000, "");
  await connectTo(activation);
});

// -- serial classes

test("H4 a serial class runs one event at a time, in the order of arrival, sockets and timers included", async () => {
  const steps: string[] = [];
  const slowly = async (name: string) => {
    steps.push(`${name} begins`);
    await Promise.resolve();
    steps.push(`${name} ends`);
  };
  const host = new ObjectHost(
    object("box", { concurrency: "serial" })
      .get("/:name", async ({ params, setTimeout }) => {
        if (params.name === "first") setTimeout(() => slowly("timer"), 0);
        await slowly(params.name);
        return "ok";
      })
      .ws("/live", { message: (_ws, message) => slowly(`${message}`) }),
  );
  const activation = await host.live("box");
  const { socket } = await connectTo(activation);
  const events = [
    fetchFrom(activation, "/first"),
    fetchFrom(activation, "/second"),
    socket.received("message"),
    fetchFrom(activation, "/third"),
  ];
  await Promise.all(events);
  await host.clock.advance(1);
  const names = ["first", "second", "message", "third", "timer"];
  expect(steps.toSorted()).toEqual(names.flatMap((name) => [`${name} begins`, `${name} ends`]).toSorted());
  for (const [index, step] of steps.entries()) {
    if (index % 2 === 1) expect(step).toBe(`${steps[index - 1]?.replace(" begins", " ends")}`);
  }
  expect(steps.indexOf("first begins")).toBeLessThan(steps.indexOf("second begins"));
});

test("a class that interleaves runs events side by side", async () => {
  const events: PromiseWithResolvers<string>[] = [];
  const host = new ObjectHost(
    object("box").get("/", () => {
      const event = Promise.withResolvers<string>();
      events.push(event);
      return event.promise;
    }),
  );
  const activation = await host.live("box");
  const responses = [fetchFrom(activation), fetchFrom(activation)];
  expect(events).toHaveLength(2);
  events[1]?.resolve("second");
  expect(await (await responses[1])?.text()).toBe("second");
  events[0]?.resolve("first");
  expect(await (await responses[0])?.text()).toBe("first");
});

test("H4 a call that comes back to a serial object which waits for it is a call_cycle", async () => {
  const event = Promise.withResolvers<string>();
  let isInside = false;
  const host = new ObjectHost(
    object("box", { concurrency: "serial" }).get("/", () => {
      isInside = true;
      return event.promise;
    }),
  );
  const activation = await host.live("box");
  const outer = fetchFrom(activation);
  await until("the first is inside", () => isInside);
  const inner = await fetchFrom(activation, "/", { chain: ["box/a", "bag/b"] });
  expect(await problemOf(inner)).toMatchObject({ status: 508, code: "call_cycle" });
  event.resolve("done");
  expect((await outer).status).toBe(200);
});

test("O2 invalid input never waits at the gate", async () => {
  let isInside = false;
  const host = new ObjectHost(
    object("box", { concurrency: "serial" })
      .get("/", () => {
        isInside = true;
        return new Promise(() => undefined);
      })
      .post("/", () => "ok", { body: t.Object({ by: t.Number() }) }),
  );
  const activation = await host.live("box");
  void fetchFrom(activation);
  await until("the first is inside", () => isInside);
  expect((await fetchFrom(activation, "/", post)).status).toBe(422);
});

// -- what keeps an object awake

test("waitUntil keeps the object awake until its promise settles, and a rejection is logged", async () => {
  const work = Promise.withResolvers<void>();
  const host = new ObjectHost(
    object("box").get("/", ({ waitUntil }) => {
      waitUntil(work.promise);
      waitUntil("not a promise" as never); // JavaScript may say so
      return "ok";
    }),
  );
  const activation = await host.live("box");
  await fetchFrom(activation);
  await until("only the work is open", () => activation.openEvents === 1);
  expect(activation.isIdle).toBe(false);
  work.reject(new Error("later"));
  await until("the work has settled", () => activation.isIdle);
  expect(host.log.errors).toEqual([new Error("later")]);
});

test("a timer keeps the object awake, can be cancelled, and ends with the object", async () => {
  const fired: string[] = [];
  const host = new ObjectHost(
    object("box").get("/", ({ setTimeout }) => {
      setTimeout(() => void fired.push("kept"), 1000);
      const cancel = setTimeout(() => void fired.push("cancelled"), 1000);
      cancel();
      setTimeout(() => void fired.push("ended"), 3000);
      setTimeout(() => {
        throw new Error("timer broke");
      }, 1500);
      return "ok";
    }),
  );
  const activation = await host.live("box");
  const timersBefore = host.clock.timersLeft;
  await fetchFrom(activation);
  expect(activation.isIdle).toBe(false);
  await host.clock.advance(2000);
  expect(fired).toEqual(["kept"]);
  expect(host.log.errors).toEqual([new Error("timer broke")]);
  activation.end(over());
  await host.clock.advance(2000);
  expect(fired).toEqual(["kept"]);
  expect(host.clock.timersLeft).toBe(timersBefore);
});

// -- suspended: the session is over, the next one may adopt

test("H6 L1 a suspended activation refuses requests, and goes on with its state once it is adopted", async () => {
  const host = new ObjectHost(
    object("box", { state: () => ({ count: 0 }) }).post("/", ({ state }) => ++state.count),
  );
  const activation = await host.live("box");
  await fetchFrom(activation, "/", post);
  activation.suspend();
  expect(await problemOf(await fetchFrom(activation, "/", post))).toMatchObject({ code: "session_over" });
  activation.resume(host.leases.session, 7);
  expect(activation.phase).toMatchObject({ name: "live", epoch: 7 });
  expect(await (await fetchFrom(activation, "/", post)).text()).toBe("2");
});

async function suspendedRoom(concurrency: "interleaved" | "serial") {
  const heard: unknown[] = [];
  const host = new ObjectHost(
    object("room", { concurrency }).ws("/live", {
      async message(_ws, message) {
        await Promise.resolve();
        heard.push(message);
      },
    }),
  );
  const activation = await host.live("room");
  const { socket, carrier } = await connectTo(activation);
  return { host, activation, socket, carrier, heard };
}

test.each(["interleaved", "serial"] as const)(
  "H6 messages of sockets wait while the session is over, and are heard in order (%s)",
  async (concurrency) => {
    const { host, activation, socket, carrier, heard } = await suspendedRoom(concurrency);
    host.leases.session.end();
    const handled = [socket.received("before anyone noticed")];
    activation.suspend();
    handled.push(socket.received("one"), socket.received("two"));
    await host.clock.advance(5000);
    expect(heard).toEqual([]);
    expect(carrier.closed).toBeUndefined();
    const next = new (host.leases.session.constructor as new () => typeof host.leases.session)(); // one more FakeSession
    activation.resume(next, 2);
    await Promise.all(handled);
    expect(heard).toEqual(["before anyone noticed", "one", "two"]);
  },
);

test("an interleaved class does not let a message that waits hold up the next", async () => {
  const host = new ObjectHost(
    object("room").ws("/live", {
      message: (ws, message) => (message === "slow" ? new Promise(() => undefined) : void ws.send("heard")),
    }),
  );
  const activation = await host.live("room");
  const { socket, carrier } = await connectTo(activation);
  activation.suspend();
  void socket.received("slow");
  const second = socket.received("quick");
  activation.resume(host.leases.session, 2);
  await second;
  expect(carrier.sent).toEqual(["heard"]);
});

test("sockets that wait longer than 30 s for the directory are closed with a code that says: come again", async () => {
  const { host, activation, socket, carrier } = await suspendedRoom("interleaved");
  activation.suspend();
  void socket.received("one");
  await host.clock.advance(30_000);
  expect(carrier.closed?.code).toBe(1012);
});

test("an end while messages wait closes their sockets once, with its cause, and logs no failed handler", async () => {
  const { host, activation, socket, carrier, heard } = await suspendedRoom("interleaved");
  activation.suspend();
  const handled = socket.received("one");
  activation.end(new StatefulError("not_owner", "room/a lives on another host by now."));
  await handled;
  expect(carrier.closed).toEqual({ code: 1012, reason: "room/a lives on another host by now." });
  expect(heard).toEqual([]);
  expect(host.log.errors).toEqual([]);
  expect(activation.socketCount).toBe(0);
});

test("a timer that falls due while the session is over fires once it is adopted", async () => {
  const fired: string[] = [];
  const host = new ObjectHost(
    object("box").get("/", ({ setTimeout }) => {
      setTimeout(() => void fired.push("late"), 1000);
      return "ok";
    }),
  );
  const activation = await host.live("box");
  await fetchFrom(activation);
  activation.suspend();
  await host.clock.advance(1000);
  expect(fired).toEqual([]);
  activation.resume(host.leases.session, 2);
  await until("it fires", () => fired.length === 1);
});

// -- sockets and topics

test("a socket's handler that fails closes it with 1011 and an id that is in the log", async () => {
  const host = new ObjectHost(
    object("box").ws("/live", {
      message(_ws, message) {
        if (message === "ours") throw new StatefulError("forbidden", "not you");
        throw new Error("broken");
      },
    }),
  );
  const activation = await host.live("box");
  const broken = await connectTo(activation);
  await broken.socket.received("x");
  expect(broken.carrier.closed?.code).toBe(1011);
  const [entry] = host.log.entries.filter(({ level }) => level === "error");
  expect(broken.carrier.closed?.reason).toContain(String(entry?.fields.errorId));
  expect(activation.openEvents).toBe(0);

  const refused = await connectTo(activation);
  await refused.socket.received("ours");
  expect(refused.carrier.closed).toEqual({ code: 4403, reason: "not you" });
});

test("one frame goes to each edge that has subscribers, and the publisher is left out", async () => {
  const host = new ObjectHost(
    object("room").ws("/live", {
      open: (ws) => void ws.subscribe("chat"),
      message: (ws, message) => void ws.publish("chat", message),
    }),
  );
  const activation = await host.live("room");
  const [near, far] = [new FakeEdge(), new FakeEdge()];
  const { socket } = await connectTo(activation, new FakeCarrier(near));
  for (const edge of [near, near, far]) await connectTo(activation, new FakeCarrier(edge));
  expect(activation.topics.subscriberCount("chat")).toBe(4);
  await socket.received("hi");
  expect(near.frames).toEqual([{ topic: "chat", message: "hi", except: 1 }]);
  expect(far.frames).toEqual([{ topic: "chat", message: "hi", except: 0 }]);
  activation.topics.publish("chat", { from: "the object" });
  expect(far.frames.at(-1)).toEqual({ topic: "chat", message: '{"from":"the object"}', except: 0 });
});

test("subscribers at an edge that could not take a message are told: closed, not left behind", async () => {
  const host = new ObjectHost(object("room").ws("/live", { open: (ws) => void ws.subscribe("chat") }));
  const activation = await host.live("room");
  const edge = new FakeEdge();
  const { carrier } = await connectTo(activation, new FakeCarrier(edge));
  edge.isCongested = true;
  activation.topics.publish("chat", "lost");
  expect(carrier.closed?.code).toBe(4408);
});

test("a reader that is too slow is closed, not buffered", async () => {
  const host = new ObjectHost(object("room").ws("/live", { message: () => undefined }));
  const { socket, carrier } = await connectTo(await host.live("room"));
  carrier.isCongested = true;
  expect(socket.send("more")).toBe(-1);
  expect(carrier.closed?.code).toBe(4408);
  expect(socket.send("more still")).toBe(0);
});

test.each([
  ["an empty name", ""],
  ["a name that is too long", "x".repeat(257)],
])("a topic with %s is refused", async (_what, topic) => {
  const activation = await liveRoom();
  const badRequest = expect.objectContaining({ code: "bad_request" });
  const { socket } = await connectTo(activation);
  expect(() => socket.subscribe(topic)).toThrow(badRequest);
  expect(() => activation.topics.publish(topic, "x")).toThrow(badRequest);
});

test("H5 a socket may subscribe to 256 topics", async () => {
  const { socket } = await connectTo(await liveRoom());
  for (let n = 0; n < 256; n++) socket.subscribe(`topic ${n}`);
  expect(() => socket.subscribe("one more")).toThrow(expect.objectContaining({ code: "queue_full" }));
  socket.unsubscribe("topic 0");
  socket.subscribe("one more");
});

test("a socket that closes loses its subscriptions, runs close once and is forgotten", async () => {
  const closes: unknown[] = [];
  const host = new ObjectHost(
    object("room").ws("/live", {
      open: (ws) => void ws.subscribe("chat"),
      close: (_ws, code, reason) => void closes.push([code, reason]),
    }),
  );
  const activation = await host.live("room");
  const { socket } = await connectTo(activation);
  expect(activation.sockets.list()).toMatchObject([{ id: "socket-1", subscriptions: ["chat"] }]);
  await socket.closed(1001, "left");
  await socket.closed(1006, "again");
  expect(closes).toEqual([[1001, "left"]]);
  expect(activation.topics.subscriberCount("chat")).toBe(0);
  expect([activation.sockets.count, socket.readyState, socket.send("x")]).toEqual([0, 3, 0]);
});

async function liveRoom(): Promise<Activation> {
  return new ObjectHost(object("room").ws("/live", { message: () => undefined })).live("room");
}
