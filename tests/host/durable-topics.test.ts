import { describe, expect, test } from "bun:test";
import { type Durability, object, type StartFacts } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import type { SocketRecord } from "../../infra/host/edge-port.ts";
import { unconfirmedLimits } from "../../infra/host/unconfirmed-effects.ts";
import { recordKey } from "../../infra/lease/stored-objects.ts";
import { decodeRecord } from "../../infra/storage/storage-codec.ts";
import { pendingLimits } from "../../infra/storage/storage-limits.ts";
import { oldestPosition } from "../../infra/topics/topic-history.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

const roomy = { count: 100, ageMs: 60_000, bytes: 100_000 };

/** A class whose topic `news` tells of every change of its state. */
function makeFeed(options: object = {}, durability: Durability = "storage") {
  return object("feed", {
    durability,
    idleAfterMs: 1000,
    state: () => ({ said: 0 }),
    topics: { news: { history: roomy }, chat: { history: roomy }, plain: {} },
    ...options,
  })
    .get("/", ({ state }) => state)
    .post("/say/:text", ({ state, topics, params }) => {
      topics.publish("news", params.text);
      state.said += 1;
    })
    .post("/many/:count", ({ topics, params }) => {
      for (let n = 1; n <= Number(params.count); n += 1) topics.publish("news", `${n}`);
    })
    .post("/undone/:text", async ({ state, storage, topics, params }) => {
      const failing = storage.transaction(async (tx) => {
        await tx.put("text", params.text);
        state.said += 1;
        topics.publish("news", params.text);
        await Promise.resolve();
        throw new Error("after all not");
      });
      return failing.catch(() => "undone");
    })
    .post("/put/:text", async ({ storage, topics, params, waitUntil }) => {
      waitUntil(Promise.resolve()); // at whose end the state is saved, whatever else is under way
      const putting = storage.put("text", params.text); // with a limit of bytes it has to read first
      topics.publish("news", params.text);
      await putting;
    })
    .ws("/live", {
      open: (ws) => void ws.subscribe("news"),
      message: (ws, text) => void ws.publish("news", text),
    });
}

const say = (activation: Activation, text: string) => fetchFrom(activation, `/say/${text}`, post);

/** What somebody is told that has heard everything up to `since`. */
function resumed(activation: Activation, since: string | undefined, topic = "news") {
  const { recovered, missed, position } = activation.topicStart(topic, since);
  return { recovered, position, missed: missed.map(({ data }) => data) };
}

function storedMessages(host: ObjectHost, topic = "news"): string[] {
  const rows = [...(host.stores.rows.messages.get("feed/a")?.get(topic)?.values() ?? [])];
  return rows.map(({ place, form, value }) => `${place} ${form || "-"} ${Buffer.from(value)}`);
}

function storedState(host: ObjectHost): unknown {
  const record = host.stores.rows.values.get("feed/a")?.get(recordKey);
  return record && decodeRecord(record).state;
}

/** A host whose `feed/a` has one subscriber to `news`, at an edge of its own. */
async function listenedTo(feed = makeFeed()) {
  const host = new ObjectHost(feed);
  const activation = await host.live("feed");
  const edge = new FakeEdge();
  const { carrier } = await connectTo(activation, new FakeCarrier(edge));
  await host.clock.advance(1);
  return { host, activation, edge, carrier };
}

let sessions = 1;

/** The host is lost with all that it had in memory; another, played by the same, takes the object. */
async function crash(host: ObjectHost): Promise<void> {
  host.leases.session.end();
  host.table.suspendAll();
  host.leases.elsewhere.set("feed/a", "another");
  host.leases.session = new FakeSession(`session-${++sessions}`);
  host.stores.session = host.leases.session.id;
  await host.table.adoptAll();
  expect(host.table.size).toBe(0);
  host.leases.elsewhere.clear();
  host.stores.losesCommits = false;
  host.stores.held = undefined;
}

/** Its session ends, and the next one adopts what it had. */
async function adopt(host: ObjectHost): Promise<void> {
  host.leases.session.end();
  host.table.suspendAll();
  host.leases.session = new FakeSession(`session-${++sessions}`);
  host.stores.session = host.leases.session.id;
  host.stores.losesCommits = false;
  host.stores.held = undefined;
  await host.table.adoptAll();
  await host.clock.advance(1);
}

describe("T6 what was published", () => {
  test("reaches nobody before its row is in the directory, in one commit with the state that it tells of", async () => {
    const { host, activation, edge } = await listenedTo();
    const held = Promise.withResolvers<void>();
    host.stores.held = held.promise;
    const commits = host.stores.commits.length;
    const answer = say(activation, "hello");
    await host.clock.advance(1);
    expect(edge.frames).toEqual([]);
    expect([storedMessages(host).at(-1), storedState(host)]).toEqual(["1 text hello", { said: 1 }]);
    expect(host.stores.commits.length - commits).toBe(1);
    held.resolve();
    expect((await answer).status).toBe(200);
    expect(edge.frames.map(({ message }) => message)).toEqual(["hello"]);
  });

  test("and stored, though nobody was told before the crash, is told to whoever comes back", async () => {
    const { host, activation, edge } = await listenedTo();
    await say(activation, "one");
    const heard = edge.positions.at(-1);
    host.stores.held = new Promise(() => undefined);
    void say(activation, "two");
    await host.clock.advance(1);
    await crash(host);
    expect(edge.frames.map(({ message }) => message)).toEqual(["one"]);
    const next = await host.live("feed");
    expect(resumed(next, heard)).toMatchObject({ recovered: true, missed: ["two"] });
    expect(await (await fetchFrom(next)).json()).toEqual({ said: 2 });
  });

  test("and not stored before the crash was told to nobody, and never was", async () => {
    const { host, activation, edge } = await listenedTo();
    await say(activation, "one");
    const heard = edge.positions.at(-1);
    host.stores.losesCommits = true;
    void say(activation, "two");
    await host.clock.advance(1);
    await crash(host);
    expect(edge.frames.map(({ message }) => message)).toEqual(["one"]);
    const next = await host.live("feed");
    expect(resumed(next, heard)).toMatchObject({ recovered: true, missed: [] });
    await say(next, "three");
    expect(resumed(next, heard)).toMatchObject({ recovered: true, missed: ["three"] });
    expect(await (await fetchFrom(next)).json()).toEqual({ said: 2 });
  });

  test("is as it was, whatever its form", async () => {
    const host = new ObjectHost(makeFeed());
    const { topics } = await host.live("feed");
    const messages = ["text", "", '{"a":1}', { a: [1, null] }, new Uint8Array([0, 255]), "\ufeffnaïve 🜚"];
    for (const message of messages) topics.publish("news", message);
    const before = (await host.live("feed")).topicStart("news", oldestPosition);
    await host.clock.advance(1);
    await crash(host);
    expect((await host.live("feed")).topicStart("news", oldestPosition)).toEqual(before);
  });

  test("inside a transaction that fails stays published, as the effects do", async () => {
    const { host, activation, edge } = await listenedTo();
    expect(await (await fetchFrom(activation, "/undone/told", post)).text()).toBe("undone");
    expect(edge.frames.map(({ message }) => message)).toEqual(["told"]);
    await crash(host);
    const next = await host.live("feed");
    expect(resumed(next, oldestPosition).missed).toEqual(["told"]);
    expect(await (await fetchFrom(next)).json()).toEqual({ said: 0 });
  });

  test("is not in the directory before what its handler has put ahead of it", async () => {
    const { host, activation } = await listenedTo(makeFeed({ limits: { storageBytesMax: 1_000_000 } }));
    const held = Promise.withResolvers<void>();
    host.stores.readHeld = held.promise;
    const putting = fetchFrom(activation, "/put/first", post);
    await host.clock.advance(1);
    expect(storedMessages(host)).toEqual(["0 - "]);
    host.stores.readHeld = undefined;
    held.resolve();
    expect((await putting).status).toBe(200);
    expect(storedMessages(host).at(-1)).toBe("1 text first");
  });

  test("and could not be said is not stored, and its place is the next one's", async () => {
    const { host, activation, edge } = await listenedTo();
    host.leases.session.end();
    host.table.suspendAll();
    for (let n = 1; n <= unconfirmedLimits.effectsMax; n += 1) activation.topics.publish("news", `${n}`);
    const refused = expect.objectContaining({ code: "session_over" });
    expect(() => activation.topics.publish("news", "one too many")).toThrow(refused);
    await adopt(host);
    activation.topics.publish("news", "after");
    await host.clock.advance(1);
    const count = unconfirmedLimits.effectsMax;
    expect(storedMessages(host).slice(-2)).toEqual([`${count} text ${count}`, `${count + 1} text after`]);
    expect(edge.frames).toHaveLength(count + 1);
  });

  test("and too much at once is refused: what is refused has no place, and the rest is told", async () => {
    const { host, activation, edge } = await listenedTo();
    host.stores.held = new Promise(() => undefined);
    const large = "x".repeat(1_000_000);
    const said = () => Array.from({ length: 10 }, () => activation.topics.publish("news", large));
    expect(said).toThrow(expect.objectContaining({ code: "storage_limit" }));
    activation.topics.publish("news", "small");
    await adopt(host);
    const count = Math.floor(pendingLimits.bytesMax / (large.length + 200));
    expect(edge.frames).toHaveLength(count + 1);
    expect(storedMessages(host).at(-1)).toBe(`${count + 1} text small`);
  });
});

describe("T6 a history goes on", () => {
  test("over the end of a session: what was in flight is written again, under the next epoch", async () => {
    const { host, activation, edge } = await listenedTo();
    await say(activation, "one");
    host.stores.losesCommits = true;
    void say(activation, "two");
    await host.clock.advance(1);
    const lost = host.stores.commits.length;
    await adopt(host);
    expect(host.stores.commits.length).toBeGreaterThanOrEqual(lost);
    expect(edge.frames.map(({ message }) => message)).toEqual(["one", "two"]);
    await crash(host);
    expect(resumed(await host.live("feed"), edge.positions[0])).toMatchObject({ missed: ["two"] });
  });

  test("where nothing was ever said: who listens from the beginning has a place that a crash does not change", async () => {
    const { host, carrier } = await listenedTo();
    const start = carrier.starts[0]?.position;
    expect(storedMessages(host)).toEqual(["0 - "]);
    await crash(host);
    const next = await host.live("feed");
    expect(resumed(next, start)).toEqual({ recovered: true, position: start, missed: [] });
    await say(next, "first");
    expect(resumed(next, start)).toMatchObject({ recovered: true, missed: ["first"] });
  });

  test("with its id, when all of its messages are too old", async () => {
    const { host, activation, edge } = await listenedTo();
    for (const text of ["one", "two"]) await say(activation, text);
    await crash(host);
    await host.clock.advance(roomy.ageMs);
    for (const _ of ["what is too old goes", "and is not missed"]) {
      expect(resumed(await host.live("feed"), undefined).position).toBe(edge.positions[1]);
      await host.clock.advance(1);
      expect(storedMessages(host)).toEqual(["2 text two"]);
      await crash(host);
    }
    const next = await host.live("feed");
    expect(resumed(next, edge.positions[1])).toMatchObject({ recovered: true, missed: [] });
    expect(resumed(next, edge.positions[0])).toMatchObject({ recovered: false, missed: [] });
    await say(next, "three");
    expect(resumed(next, edge.positions[1])).toMatchObject({ recovered: true, missed: ["three"] });
    expect(storedMessages(host)).toEqual(["3 text three"]);
  });

  test("where a message is too large to be kept, and where many come in one turn", async () => {
    const { host, activation, edge } = await listenedTo();
    await say(activation, "one");
    await fetchFrom(activation, "/many/250", post);
    expect(edge.frames).toHaveLength(251);
    await crash(host);
    let next = await host.live("feed");
    expect(resumed(next, edge.positions[150])?.missed).toEqual(
      Array.from({ length: 100 }, (_, n) => `${151 + n}`),
    );
    expect(resumed(next, edge.positions[149])).toMatchObject({ recovered: false });
    next.topics.publish("news", "x".repeat(roomy.bytes));
    await host.clock.advance(1);
    expect(storedMessages(host)).toEqual(["252 - "]);
    await crash(host);
    next = await host.live("feed");
    expect(resumed(next, edge.positions[250])).toMatchObject({ recovered: false });
    expect(resumed(next, `${edge.positions[0]?.split(".")[0]}.252`)).toMatchObject({ recovered: true });
  });

  test("to another host and back, and nothing is written or read for that", async () => {
    const heard: string[] = [];
    const hosts = new TwoHosts(() => [makeFeed()]);
    hosts.target.stores.rows = hosts.source.stores.rows;
    const turns = async () => {
      for (const _ of [1, 2, 3, 4, 5])
        for (const { clock } of [hosts.source, hosts.target]) await clock.advance(1);
    };
    const told = async (host: ObjectHost, text: string) => {
      await say(await host.live("feed"), text);
      heard.push(text);
    };
    await told(hosts.source, "one");
    const [first] = [resumed(await hosts.source.live("feed"), undefined).position];
    await hosts.move("feed");
    await turns();
    expect(hosts.target.stores.commits.flatMap(({ messages }) => [...messages])).toEqual([]);
    await told(hosts.target, "two");
    await hosts.moveBack("feed");
    await turns();
    await told(hosts.source, "three");
    expect(resumed(await hosts.source.live("feed"), first).missed).toEqual(heard.slice(1));
    expect([hosts.source, hosts.target].map(({ stores }) => stores.messageReads)).toEqual([1, 0]);
    await crash(hosts.source);
    expect(resumed(await hosts.source.live("feed"), first)).toMatchObject({
      recovered: true,
      missed: ["two", "three"],
    });
  });

  test("from a release that kept it in memory alone: all of it is written where it arrives", async () => {
    let made = 0;
    const hosts = new TwoHosts(() => [makeFeed({}, made++ === 0 ? "memory" : "storage")]);
    const { rows } = hosts.target.stores;
    const old = { place: 7, history: "old", form: "text", publishedAtMs: 1, value: Buffer.from("old") };
    rows.messages.set("feed/a", new Map([["news", new Map([[7, old]])]]));
    const source = await hosts.source.live("feed");
    for (const text of ["one", "two"]) await say(source, text);
    const { position } = resumed(source, undefined);
    await hosts.move("feed");
    for (const _ of [1, 2, 3, 4, 5])
      for (const { clock } of [hosts.source, hosts.target]) await clock.advance(1);
    expect(storedMessages(hosts.target)).toEqual(["1 text one", "2 text two"]);
    expect(storedState(hosts.target)).toEqual({ said: 2 });
    await crash(hosts.target);
    expect(resumed(await hosts.target.live("feed"), position)).toMatchObject({ recovered: true });
  });

  test("over sleep: it is read again when the object wakes, with who listens still there", async () => {
    const { host, activation, edge, carrier } = await listenedTo();
    await say(activation, "one");
    await host.clock.advance(5_000);
    expect([host.table.size, host.table.asleep]).toEqual([0, 1]);
    edge.records = [recordOf(1, ["news"])];
    const woken = await host.live("feed");
    expect(resumed(woken, carrier.starts[0]?.position)).toMatchObject({ recovered: true, missed: ["one"] });
    await say(woken, "two");
    expect(edge.frames.map(({ message }) => message)).toEqual(["one", "two"]);
    expect(resumed(woken, edge.positions[0])).toMatchObject({ recovered: true, missed: ["two"] });
  });

  test("in dev, when its class's file changes", async () => {
    const { host, activation, edge } = await listenedTo();
    await say(activation, "one");
    host.install(makeFeed());
    await host.table.reload("feed");
    const next = await host.live("feed");
    await say(next, "two");
    expect(resumed(next, edge.positions[0])).toMatchObject({ recovered: true, missed: ["two"] });
  });

  test("and an object of which nothing else is stored wakes, instead of being created", async () => {
    const reasons: string[] = [];
    const host = new ObjectHost(makeFeed({ onStart: ({ reason }: StartFacts) => void reasons.push(reason) }));
    await fetchFrom(await host.live("feed"), "/many/1", post);
    await crash(host);
    await host.live("feed");
    expect(reasons).toEqual(["create", "wake"]);
  });
});

describe("T6 when the class has changed", () => {
  test("rows of topics that it does not keep any more go, and the rest goes on", async () => {
    const { host, activation, edge } = await listenedTo();
    activation.topics.publish("chat", "hi");
    await say(activation, "one");
    host.install(makeFeed({ topics: { news: { history: roomy }, chat: {} } }));
    await crash(host);
    const next = await host.live("feed");
    await host.clock.advance(1);
    expect([storedMessages(host, "chat"), resumed(next, undefined, "chat").position]).toEqual([
      [],
      undefined,
    ]);
    expect(resumed(next, edge.positions[0])).toMatchObject({ recovered: true });
    host.install(makeFeed());
    await crash(host);
    const again = await host.live("feed");
    expect(resumed(again, oldestPosition, "chat").missed).toEqual([]);
  });

  test("smaller limits hold for what is stored", async () => {
    const { host, activation } = await listenedTo();
    await fetchFrom(activation, "/many/50", post);
    host.install(makeFeed({ topics: { news: { history: { ...roomy, count: 2 } } } }));
    await crash(host);
    const next = await host.live("feed");
    await host.clock.advance(1);
    expect(resumed(next, oldestPosition).missed).toEqual(["49", "50"]);
    expect(storedMessages(host)).toEqual(["49 text 49", "50 text 50"]);
  });

  test("rows that do not follow on each other, or are of another history, are no part of it", async () => {
    const host = new ObjectHost(makeFeed());
    const row = (place: number, history = "h") => {
      const value = Buffer.from(`${place}`);
      return [place, { place, history, form: "text", publishedAtMs: host.clock.wallMs(), value }] as const;
    };
    const rows = [row(1, "old"), row(2), row(4), row(5)];
    host.stores.rows.messages.set("feed/a", new Map([["news", new Map(rows)]]));
    const next = await host.live("feed");
    expect(resumed(next, "h.3")).toMatchObject({ recovered: true, missed: ["4", "5"] });
    expect(resumed(next, "h.2")).toMatchObject({ recovered: false });
    await host.clock.advance(1);
    expect(storedMessages(host)).toEqual(["4 text 4", "5 text 5"]);
  });
});

describe("rows that are no longer kept", () => {
  test("go a few at a time, not one with each message", async () => {
    const { host, activation } = await listenedTo(
      makeFeed({ topics: { news: { history: { ...roomy, count: 80 } } } }),
    );
    let trims = 0;
    for (let n = 1; n <= 400; n += 1) {
      await say(activation, `${n}`);
      const [written] = host.stores.commits.at(-1)?.messages.values() ?? [];
      if ((written?.keepFrom ?? 0) > 0) trims += 1;
      expect(storedMessages(host).length).toBeLessThanOrEqual(80 + 80 / 8 + 1);
    }
    expect(trims).toBeLessThan(40);
    await crash(host);
    expect(resumed(await host.live("feed"), oldestPosition).missed).toHaveLength(80);
  });
});

describe("classes whose histories are not stored", () => {
  test.each([
    ["memory", makeFeed({}, "memory")],
    ["snapshot", makeFeed({}, "snapshot")],
    ["storage without a history", makeFeed({ topics: { news: {} } })],
  ])("pay nothing (%s)", async (_, feed) => {
    const { host, activation } = await listenedTo(feed);
    await say(activation, "one");
    await fetchFrom(activation, "/put/text", post);
    await host.clock.advance(5_000);
    await host.live("feed");
    expect(host.stores.commits.filter(({ messages }) => messages.size > 0)).toEqual([]);
    expect(host.stores.messageReads).toBe(0);
  });

  test("a crash costs a memory class its history, and that is said", async () => {
    const { host, activation, edge } = await listenedTo(makeFeed({}, "memory"));
    await say(activation, "one");
    await crash(host);
    const next = await host.live("feed");
    expect(resumed(next, edge.positions[0])).toMatchObject({ recovered: false, missed: [] });
  });
});

function recordOf(number: number, subscriptions: readonly string[]): SocketRecord {
  return {
    ...{ number, id: `socket-${number}`, remoteAddress: "192.0.2.1", kind: "websocket", phase: "opened" },
    ...{ subscriptions, presence: [], tags: [], attachment: undefined, handled: 0 },
  };
}
