import { describe, expect, test } from "bun:test";
import { type Durability, object } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import type { AttachedEdge } from "../../infra/host/attached-edge.ts";
import type { SocketRecord, UpgradeHead } from "../../infra/host/edge-port.ts";
import type { ObjectEdges } from "../../infra/host/object-edges.ts";
import { asStatefulError, StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { oldestPosition } from "../../infra/topics/topic-history.ts";
import type { TopicMessage } from "../../infra/topics/topic-message.ts";
import { presenceGatherMs } from "../../infra/topics/topic-presence.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

/**
 * Orders of events in which topics lose, repeat or disorder something where one step looks a turn too early or too late: a commit
 * that is answered late, an edge that comes back halfway, a move that is called off.
 */

const roomy = { count: 100, ageMs: 3_600_000, bytes: 1_000_000 };

/** A class whose topic `news` is open, and whose `POST /talk` never ends and says what the test has it say. */
function makeFeed(durability: Durability, talk: { say?: (text: string) => void } = {}) {
  return object("feed", {
    ...{ durability, idleAfterMs: 60_000, moveQuiesceMs: 100, state: () => ({ said: 0 }) },
    topics: { news: { subscribe: "anyone", history: roomy, presence: true } },
  })
    .post("/say/:text", ({ state, topics, params }) => {
      topics.publish("news", params.text);
      state.said += 1;
    })
    .post("/talk", async ({ topics }) => {
      talk.say = (text) => topics.publish("news", text);
      await new Promise(() => undefined);
    })
    .ws("/quiet", { message: () => undefined })
    .ws("/live", { open: (ws) => void ws.subscribe("news") });
}

/** The topic's own endpoint. */
const newsPath = "/-/topics/news";

function say(activation: Activation, text: string): void {
  // What is asserted is what was heard; an answer may be cut off with its host.
  void fetchFrom(activation, `/say/${text}`, post).catch(() => undefined);
}

function recordOf(number: number, more: Partial<SocketRecord> = {}): SocketRecord {
  return {
    ...{ number, id: `socket-${number}`, remoteAddress: "192.0.2.1", kind: "websocket", phase: "opened" },
    ...{ subscriptions: [], presence: [], tags: [], attachment: undefined, handled: 0 },
    ...more,
  };
}

function headOf(path: string): UpgradeHead {
  const target = `/feed/a${path}`;
  const url = `http://client.example${target}`;
  return { kind: "websocket", target, url, headers: [["upgrade", "websocket"]] };
}

/** The edge registers by itself, and tells nothing yet. */
function attach(edges: ObjectEdges, edge: FakeEdge): AttachedEdge {
  return edges.attach(edge.edge, (events, facts) => Object.assign(edge, { events, facts }));
}

/** Commits happen, and are answered when the test lets them. */
function holdCommits({ stores }: ObjectHost): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  stores.held = promise;
  return () => {
    if (stores.held === promise) stores.held = undefined;
    resolve();
  };
}

function historyIn(activation: Activation): string {
  return activation.topicStart("news", undefined).position?.split(".")[0] ?? "";
}

/** All that was told along the edge of the topic `news`, in order. */
function heardAt(edge: FakeEdge): string[] {
  return edge.frames.map(({ message }) => String(message));
}

function filled(edge: FakeEdge): string[] {
  return edge.fills.flatMap(({ start }) => start.missed.map(({ data }) => String(data)));
}

function kept(activation: Activation): string[] {
  return activation.topicStart("news", oldestPosition).missed.map(({ data }) => String(data));
}

function stored(host: ObjectHost): string[] {
  const rows = [...(host.stores.rows.messages.get("feed/a")?.get("news")?.values() ?? [])];
  return rows.filter(({ form }) => form !== "").map(({ value }) => Buffer.from(value).toString());
}

describe("T5 an edge that comes back", () => {
  test("and whose roll is cut in two is sent what it lacks when it has told the rest, and then what is new", async () => {
    const host = new ObjectHost(makeFeed("memory"));
    const activation = await host.live("feed");
    for (const text of ["1", "2"]) say(activation, text);
    const positions = new Map([["news", `${historyIn(activation)}.1`]]);
    const edge = new FakeEdge();
    const attached = attach(activation.edges, edge);
    attached.positions(positions);
    attached.roll([recordOf(1, { subscriptions: ["news"] })], "missing", false);
    // Here the link breaks. The edge says again how far it has come, and then what the owner does not know.
    attached.positions(positions);
    attached.roll([recordOf(2, { subscriptions: ["news"] })], "missing", true);
    say(activation, "3");
    await host.clock.advance(1);
    expect([filled(edge), heardAt(edge)]).toEqual([["2"], ["3"]]);
  });

  test("T4 while a subscription of its waits for a commit: that listener hears nothing again", async () => {
    const host = new ObjectHost(makeFeed("storage"));
    const activation = await host.live("feed");
    for (const text of ["1", "2", "3"]) say(activation, text);
    await host.clock.advance(1);
    const edge = new FakeEdge();
    const { socket, carrier } = await connectTo(activation, new FakeCarrier(edge), "/quiet");
    const attached = attach(activation.edges, edge);
    const history = historyIn(activation);
    const release = holdCommits(host);
    say(activation, "4");
    await host.clock.advance(1);
    socket.listen("news", `${history}.3`, false);
    await host.clock.advance(1);
    expect([socket.isSubscribed("news"), carrier.starts]).toEqual([true, []]);
    // Others listened there long ago, and the edge keeps how far those had come.
    attached.positions(new Map([["news", `${history}.1`]]));
    attached.roll([], "missing", true);
    release();
    await host.clock.advance(1);
    const missed = carrier.starts.flatMap(({ missed }) => missed.map(({ data }) => data));
    expect([missed, filled(edge), heardAt(edge)]).toEqual([["4"], [], []]);
  });
});

/** Notes when it was said that messages, or the opening, are dealt with. */
class NotingCarrier extends FakeCarrier {
  readonly noted: string[] = [];
  override handled(count: number): void {
    this.noted.push(`handled ${count}`);
  }
  override listen(...[topic, start]: Parameters<FakeCarrier["listen"]>): boolean {
    this.noted.push(`listen ${topic}`);
    return super.listen(topic, start);
  }
}

test("E22 a socket is taken for opened when what its opening did has left, and is opened by the next owner otherwise", async () => {
  const host = new ObjectHost(makeFeed("storage"));
  const activation = await host.live("feed");
  const release = holdCommits(host);
  say(activation, "1");
  await host.clock.advance(1);
  const edge = new FakeEdge();
  const carrier = new NotingCarrier(edge);
  edge.carriers.set(7, carrier);
  const attached = attach(activation.edges, edge);
  attached.roll([recordOf(7, { phase: "accepted" })], "missing", true);
  attached.head(7, headOf("/live"));
  attached.opened(7);
  await host.clock.advance(5);
  expect(carrier.noted).toEqual([]);
  release();
  await host.clock.advance(1);
  expect(carrier.noted).toEqual(["listen news", "handled 0"]);
});

/** Cannot take one message, and the very next again. */
class HesitantEdge extends FakeEdge {
  readonly order: string[] = [];
  override publish(...[key, message, except]: Parameters<FakeEdge["publish"]>): boolean {
    const isTaken = super.publish(key, message, except);
    this.order.push(`${isTaken ? "took" : "refused"} ${message.data}`);
    this.isCongested = false;
    return isTaken;
  }
}

test("T4 a message that an edge cannot take closes its listeners before they hear the next", async () => {
  const host = new ObjectHost(makeFeed("storage"));
  const activation = await host.live("feed");
  const edge = new HesitantEdge();
  const { carrier } = await connectTo(activation, new FakeCarrier(edge));
  carrier.close = (code) => void edge.order.push(`close ${code}`);
  await host.clock.advance(1);
  const release = holdCommits(host);
  say(activation, "1");
  await host.clock.advance(1);
  say(activation, "2"); // in the line, behind the commit that is under way
  await host.clock.advance(1);
  edge.isCongested = true;
  release();
  await host.clock.advance(1);
  expect(edge.order).toEqual(["refused 1", "close 4408", "took 2"]);
});

describe("T7 while a move is called off", () => {
  test("what was due to be told of presence meanwhile is told afterwards, as the whole list", async () => {
    const hosts = new TwoHosts(() => [makeFeed("memory")]);
    const { source } = hosts;
    const activation = await source.live("feed");
    const edge = new FakeEdge();
    await connectTo(activation, new FakeCarrier(edge), `${newsPath}?presence=1`);
    await source.clock.advance(2 * presenceGatherMs);
    const before = edge.frames.length;
    await connectTo(activation, new FakeCarrier(edge), `${newsPath}?presence=1`);
    const delivered = Promise.withResolvers<void>();
    hosts.before = (step) => (step === "deliver" ? delivered.promise : undefined);
    const moving = hosts.move("feed").catch(asStatefulError);
    await source.clock.advance(2 * presenceGatherMs); // by now it is packed, and tells nobody of anything
    expect([hosts.steps, edge.frames.length]).toEqual([["begin", "deliver"], before]);
    delivered.reject(new StatefulError("move_failed", "by the test"));
    expect(await moving).toMatchObject({ code: "move_failed" });
    await source.clock.advance(2 * presenceGatherMs);
    expect(heardAt(edge).slice(before)).toEqual([
      '{"count":2,"members":[{"id":"socket-1"},{"id":"socket-2"}]}',
    ]);
  });

  test("a socket that is lost with its edge before its subscription took effect is no member and no subscriber", async () => {
    const hosts = new TwoHosts(() => [makeFeed("storage")]);
    const { source } = hosts;
    const activation = await source.live("feed");
    await connectTo(activation, new FakeCarrier(), newsPath);
    const edge = new FakeEdge();
    edge.carriers.set(1, new FakeCarrier(edge)); // so that the next is not "socket-1" as well
    const { socket } = await connectTo(activation, new FakeCarrier(edge), "/quiet");
    await source.clock.advance(2 * presenceGatherMs);
    const release = holdCommits(source);
    say(activation, "1");
    await source.clock.advance(1);
    socket.listen("news", undefined, false);
    expect(socket.isSubscribed("news")).toBe(true);
    hosts.before = (step) => {
      if (step === "deliver") throw new StatefulError("move_failed", "by the test");
    };
    const moving = hosts.move("feed").catch(asStatefulError);
    await source.clock.advance(20);
    expect(activation.phase.name).toBe("moving"); // and waits for the commit
    activation.edges.at(edge.edge.process)?.lost(new StatefulError("owner_unreachable", "by the test"));
    release();
    await source.clock.advance(2 * presenceGatherMs);
    expect(await moving).toMatchObject({ code: "move_failed" });
    expect(activation.phase.name).toBe("live");
    expect(
      activation
        .presenceOf("news")
        ?.members()
        .map(({ id }) => id),
    ).toEqual(["socket-1"]);
    expect(activation.hub.subscriberCount("news")).toBe(1);
  });
});

describe("L7 T6 a forced move of an object whose handler goes on talking after it was cut off", () => {
  /** It moves, `1` has been told, `2` is in a commit that is not answered, and its handler was cut off. */
  async function moving(edge = new FakeEdge()) {
    const talk: { say?: (text: string) => void } = {};
    const hosts = new TwoHosts(() => [makeFeed("storage", talk)]);
    const { source, target } = hosts;
    target.stores.rows = source.stores.rows;
    const activation = await source.live("feed");
    await connectTo(activation, new FakeCarrier(edge));
    void fetchFrom(activation, "/talk", post).catch(() => undefined); // it is cut off
    await source.clock.advance(1);
    talk.say?.("1");
    await source.clock.advance(1);
    const release = holdCommits(source);
    const moved = hosts.move("feed", true).catch(asStatefulError);
    await source.clock.advance(5);
    talk.say?.("2");
    await source.clock.advance(1000);
    expect([heardAt(edge), hosts.steps]).toEqual([["1"], ["begin"]]);
    return { hosts, source, target, edge, talk, release, moved };
  }

  test("waits until all of it is durable and told: the target's history is what was heard here, in order", async () => {
    const { hosts, source, target, edge, talk, release, moved } = await moving();
    talk.say?.("3"); // behind what is being saved
    const releaseNext = holdCommits(source);
    release();
    await source.clock.advance(100);
    expect([heardAt(edge), hosts.steps]).toEqual([["1", "2"], ["begin"]]);
    releaseNext();
    await source.clock.advance(1);
    expect(await moved).toMatchObject({ toSession: hosts.targetRecord.session });
    await target.clock.advance(1);
    expect(heardAt(edge)).toEqual(["1", "2", "3"]);
    expect([kept(await target.live("feed")), stored(target)]).toEqual([heardAt(edge), heardAt(edge)]);
  });

  test("fails where a commit is never answered, and what was told to nobody is in no history", async () => {
    const { hosts, source, target, edge, talk, release, moved } = await moving();
    talk.say?.("3");
    source.stores.losesCommits = true;
    release();
    await source.clock.advance(20_000);
    expect(await moved).toMatchObject({ code: expect.stringMatching(/^(move_failed|outcome_unknown)$/) });
    expect([hosts.steps, target.table.size + target.table.asleep]).toEqual([["begin", "cancelled"], 0]);
    expect([heardAt(edge), stored(source)]).toEqual([
      ["1", "2"],
      ["1", "2"],
    ]);
    // The next session writes it again, and only then is it told.
    source.leases.session.end();
    source.table.suspendAll();
    source.leases.session = new FakeSession("session-2");
    source.stores.session = "session-2";
    source.stores.losesCommits = false;
    await source.table.adoptAll();
    await source.clock.advance(1);
    expect(heardAt(edge)).toEqual(["1", "2", "3"]);
    expect([kept(await source.live("feed")), stored(source)]).toEqual([heardAt(edge), heardAt(edge)]);
  });

  test("fails where it never comes to an end, and the object lives on with all that it said", async () => {
    const countMax = 100;
    let answer: (text: string) => void = () => undefined;
    class AnsweredEdge extends FakeEdge {
      override publish(key: string, message: TopicMessage, except: number): boolean {
        const next = Number(message.data) + 1;
        if (next > 2 && next <= countMax) queueMicrotask(() => answer(`${next}`));
        return super.publish(key, message, except);
      }
    }
    const { hosts, source, edge, talk, release, moved } = await moving(new AnsweredEdge());
    answer = (text) => talk.say?.(text);
    release();
    await source.clock.advance(100);
    expect(await moved).toMatchObject({ code: "move_failed" });
    expect(hosts.steps).toEqual(["begin", "cancelled"]);
    expect(heardAt(edge)).toEqual(Array.from({ length: countMax }, (_, index) => `${index + 1}`));
    expect([kept(await source.live("feed")), stored(source)]).toEqual([heardAt(edge), heardAt(edge)]);
  });
});

describe("L7 S1 what came with a move after which the object could not start", () => {
  function makeRoom(durability: Durability, isFailing: () => boolean) {
    const onStart = () => {
      if (isFailing()) throw new Error("not now");
    };
    return object("room", { durability, idleAfterMs: 1000, state: () => ({ count: 0 }), onStart })
      .post("/add", ({ state }) => ++state.count)
      .get("/", ({ state }) => state.count)
      .ws("/live", { message: (ws) => void ws.send("") });
  }

  async function answered(host: ObjectHost, path: string, init = {}): Promise<number> {
    const answer = fetchFrom(await host.live("room"), path, { init });
    await host.clock.advance(1);
    return Number(await (await answer).text());
  }

  // What a class keeps in memory alone ends when it sleeps; what came with the move is even older.
  test.each([
    ["memory", 0],
    ["storage", 7],
  ] as const)(
    "is what it goes on from when an edge claims it, once (%s)",
    async (durability, countInTheEnd) => {
      let isFailing = false;
      const hosts = new TwoHosts(() => [makeRoom(durability, () => isFailing)]);
      const { source, target } = hosts;
      target.stores.rows = source.stores.rows;
      await connectTo(await source.live("room"));
      for (const _ of [1, 2, 3]) await answered(source, "/add", post.init);
      isFailing = true;
      await hosts.move("room");
      await target.clock.advance(10);
      expect(target.table.size).toBe(0);
      expect(target.table).toHaveProperty("carriedOver.arrivedCount", 1);
      isFailing = false;
      // The edge was told of that start's end, and looks for the object, as after any loss of an owner.
      const claimed = await target.table.claim(objectRef("room", "a"), "mine", false);
      if ("owned" in claimed) throw new Error(`room/a is with ${claimed.session}`);
      const edge = new FakeEdge();
      const attached = attach(claimed, edge);
      attached.roll([], "missing", true);
      await target.clock.advance(10);
      expect(target.table.size).toBe(1);
      expect(target.table).toHaveProperty("carriedOver.arrivedCount", 0);
      expect(await answered(target, "/")).toBe(3);
      for (const count of [4, 5, 6, 7]) expect(await answered(target, "/add", post.init)).toBe(count);
      attached.lost(new StatefulError("owner_unreachable", "by the test"));
      await target.clock.advance(5000);
      expect([target.table.size, target.table.asleep]).toEqual([0, 0]);
      expect(await answered(target, "/")).toBe(countInTheEnd);
    },
  );
});
