import { expect, test } from "bun:test";
import { Ear } from "./ear.ts";
import { turn } from "./memory-network.ts";
import { amsUrl, iadUrl, Rig } from "./rig.ts";
import type { ClientFrame } from "./scripted-host.ts";

const room = "room/lobby";

/** Without what is not there: JSON leaves it out too. */
const sent = (frames: readonly ClientFrame[]) => frames.filter(({ type }) => type !== "ping");

test("C1 a subscriber hears what is published as it was published, with its position", async () => {
  const rig = new Rig();
  const positions: unknown[] = [];
  const subscription = rig.chat.subscribe((_, { position }) => {
    positions.push(position);
    expect(subscription.position).toBe(position);
  });
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish("a", { from: "ann" }, new Uint8Array([1, 200]), null);
  await rig.settle();
  expect(ear.take()).toEqual(["subscribed", "a", { from: "ann" }, new Uint8Array([1, 200]), null]);
  expect(ear.subscription.position).toBe("h1.4");
  expect(positions).toEqual(["h1.1", "h1.2", "h1.3", "h1.4"]);
  await rig.close();
});

test("C1 a connection that breaks costs nothing where the history has it all, also at another host", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1, 2);
  await rig.settle();
  rig.network.down.add(new URL(iadUrl).host);
  rig.iad.drop(1006);
  await rig.settle();
  expect(ear.subscription.state).toBe("waiting");
  rig.publish(3, 4);
  await rig.pass(5_000);
  rig.publish(5);
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", 1, 2, "subscribed, recovered true", 3, 4, 5]);
  expect(rig.client.state).toMatchObject({ status: "open", url: amsUrl, host: "ams-1" });
  expect(rig.ams.of("subscribe")).toMatchObject([{ since: "h1.2" }]);
  await rig.close();
});

test("C1 what cannot be recovered is a gap: after a reconnect, and while the connection stays", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  rig.iad.forget(room, "chat");
  rig.publish(2);
  await rig.settle();
  expect(ear.take()).toEqual(["subscribed", 1, "subscribed, recovered false", "gap: lost", 2]);
  rig.iad.drop();
  await rig.settle();
  rig.iad.forget(room, "chat");
  await rig.pass(2_000);
  rig.publish(3);
  await rig.settle();
  expect(ear.take()).toEqual(["subscribed, recovered false", "gap: lost", 3]);
  expect(ear.subscription.position).toBe("h3.3");
  await rig.close();
});

test("C1 a topic without a history has a gap at each reconnect, and none when it begins", async () => {
  const rig = new Rig();
  rig.iad.topic(room, "chat").historyMax = undefined;
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  rig.iad.drop();
  await rig.pass(2_000);
  expect(ear.notes).toEqual(["subscribed", 1, "subscribed, recovered false", "gap: lost"]);
  expect(ear.subscription.position).toBeUndefined();
  await rig.close();
});

test("C1 a message that comes again is not heard again", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1, 2, 3);
  for (const connection of rig.iad.connections) connection.repeat(room, "chat", 2);
  rig.publish(4);
  await rig.settle();
  expect(ear.messages).toEqual([1, 2, 3, 4]);
  await rig.close();
});

test("C1 what the host has skipped is told, and is no gap", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  for (const connection of rig.iad.connections) connection.skipsNext = true;
  rig.publish(1, 2);
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", "skipped 1", 2]);
  await rig.close();
});

test("C2 whoever resumes from within its listener does not hear the message again", async () => {
  const rig = new Rig();
  const second: unknown[] = [];
  const first = rig.chat.subscribe((message, { position }) => {
    if (message !== 2) return;
    first();
    rig.chat.subscribe((next) => second.push(next), { since: position });
  });
  await rig.settle();
  rig.publish(1, 2, 3);
  await rig.settle();
  expect(second).toEqual([3]);
  expect(rig.iad.of("subscribe").length).toBe(1);
  await rig.close();
});

test.each(["h1.0", "oldest"])(
  "C2 a connection that breaks within what %s brings loses nothing of it",
  async (since) => {
    const rig = new Rig();
    rig.publish(1, 2, 3);
    const ear = new Ear(rig.chat, { since });
    for (const until of ["subscribed, recovered true", 1]) {
      while (!ear.notes.includes(until)) {
        await turn();
        rig.network.step();
      }
      rig.network.cut();
      await rig.around.advance(27_000); // It is noticed, and dialled again; nothing has arrived.
    }
    await rig.settle();
    expect(ear.messages).toEqual([1, 2, 3]);
    expect(rig.iad.of("subscribe").map((frame) => frame.since)).toEqual([since, "h1.0", "h1.1"]);
    await rig.close();
  },
);

test("C3 the class's hooks see the query of whoever subscribes, and another query is another subscription", async () => {
  const rig = new Rig();
  const ears = [{ room: "a&b" }, { room: "a&b" }, undefined].map((query) => new Ear(rig.chat, { query }));
  await rig.settle();
  for (const ear of ears) expect(ear.notes).toEqual(["subscribed"]);
  expect(rig.iad.of("subscribe").map(({ query }) => query)).toEqual(["room=a%26b", undefined]);
  await rig.close();
});

test("C3 listeners of one topic share one subscription, and one connection with all other topics", async () => {
  const rig = new Rig();
  const ears = [new Ear(rig.chat), new Ear(rig.chat), new Ear(rig.client.object("room", "a b").topic("x/y"))];
  await rig.settle();
  const late = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  for (const ear of [ears[0], ears[1], late]) expect(ear?.notes).toEqual(["subscribed", 1]);
  expect(sent(rig.iad.frames)).toEqual([
    { type: "subscribe", id: 1, object: room, topic: "chat" },
    { type: "subscribe", id: 2, object: "room/a%20b", topic: "x/y" },
  ]);
  expect(rig.network.dialled.length).toBe(1);
  await rig.close();
});

test("C3 one who wants an older place hears it on a second connection, and comes back once it has caught up", async () => {
  const rig = new Rig();
  rig.publish(1, 2, 3);
  const live = new Ear(rig.chat);
  await rig.settle();
  rig.publish(4);
  await rig.settle();
  const old = new Ear(rig.chat, { since: "h1.1" });
  await rig.settle();
  expect(live.take()).toEqual(["subscribed", 4]);
  expect(old.take()).toEqual(["subscribed, recovered true", 2, 3, 4]);
  expect(rig.iad.of("unsubscribe").length).toBe(1);
  rig.publish(5);
  await rig.settle();
  expect([live.take(), old.take()]).toEqual([[5], [5]]);
  expect(rig.network.dialled.length).toBe(2);
  await rig.pass(15_000);
  expect(rig.network.sockets.size).toBe(1);
  await rig.close();
});

test("C3 whoever wants only what is new does not hear what another reads again", async () => {
  const rig = new Rig();
  rig.publish(1, 2);
  const old = new Ear(rig.chat, { since: "oldest" });
  const live = new Ear(rig.chat);
  await rig.settle();
  expect(old.take()).toEqual(["subscribed, recovered true", 1, 2]);
  expect(live.take()).toEqual(["subscribed"]);
  rig.publish(3);
  await rig.settle();
  expect([old.take(), live.take()]).toEqual([[3], [3]]);
  await rig.close();
});

test("C3 two who want the same place share it from the start", async () => {
  const rig = new Rig();
  rig.publish(1, 2);
  const ears = [new Ear(rig.chat, { since: "oldest" }), new Ear(rig.chat, { since: "oldest" })];
  await rig.settle();
  for (const ear of ears) expect(ear.notes).toEqual(["subscribed, recovered true", 1, 2]);
  expect(rig.iad.of("subscribe").length).toBe(1);
  await rig.close();
});

test("C3 feeds do not meet where the host has skipped a message for one of them", async () => {
  const rig = new Rig();
  const live = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  for (const connection of rig.iad.connections) connection.skipsNext = true;
  rig.publish(2);
  await rig.settle();
  const old = new Ear(rig.chat, { since: "h1.0" });
  await rig.settle();
  rig.publish(3);
  await rig.settle();
  expect(live.notes).toEqual(["subscribed", 1, "skipped 1", 3]);
  expect(old.messages).toEqual([1, 2, 3]);
  await rig.close();
});

test("C3 nor does anybody join there", async () => {
  const rig = new Rig();
  new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  for (const connection of rig.iad.connections) connection.skipsNext = true;
  rig.publish(2);
  await rig.settle();
  const other = new Ear(rig.chat, { since: "h1.1" });
  await rig.settle();
  rig.publish(3);
  await rig.settle();
  expect(other.messages).toEqual([2, 3]);
  await rig.close();
});

test("C3 after a gap, or where the two have met, there is one subscription for whoever wants what is new", async () => {
  const rig = new Rig();
  new Ear(rig.chat, { since: "of another history.1" });
  await rig.settle();
  const late = new Ear(rig.chat);
  await rig.settle();
  expect(late.notes).toEqual(["subscribed"]);
  expect(rig.iad.of("subscribe").length).toBe(1);

  const kitchen = rig.client.object("room", "kitchen").topic("chat");
  rig.iad.publish("room/kitchen", "chat", 1);
  const live = new Ear(kitchen);
  await rig.settle();
  const old = new Ear(kitchen, { since: "oldest" });
  await rig.settle();
  rig.iad.publish("room/kitchen", "chat", 2);
  await rig.settle();
  expect(rig.iad.of("unsubscribe").length).toBe(1);
  new Ear(kitchen);
  await rig.settle();
  expect(rig.iad.of("subscribe").length).toBe(3);
  expect([live.messages, old.messages]).toEqual([[2], [1, 2]]);
  await rig.close();
});

test("C3 whoever asked who is present goes on hearing it, wherever the two meet", async () => {
  const rig = new Rig();
  const plain = new Ear(rig.chat);
  await rig.settle();
  const ear = new Ear(rig.chat, { presence: true });
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  for (const connection of rig.iad.connections)
    connection.send({ type: "presence", object: room, topic: "chat", count: 7 });
  await rig.settle();
  expect(ear.notes.at(-1)).toBe("presence 7");
  expect(plain.notes).toEqual(["subscribed", 1]);
  expect(rig.iad.of("unsubscribe").length).toBe(1);
  await rig.close();
});

test("C3 the 257th topic takes a second connection", async () => {
  const rig = new Rig();
  const topics = Array.from(
    { length: 257 },
    (_, index) => new Ear(rig.client.object("room", `${index}`).topic("chat")),
  );
  await rig.settle();
  expect(topics.every(({ subscription }) => subscription.state === "subscribed")).toBe(true);
  expect([...rig.iad.connections].map(({ subscriptions }) => subscriptions.size)).toEqual([256, 1]);
  await rig.close();
});

test("C10 a client has so many connections and no more", async () => {
  const rig = new Rig();
  const ask = (n: number) => new Ear(rig.chat, { query: { n: String(n) } });
  const ears = Array.from({ length: 16 }, (_, n) => ask(n));
  expect(() => ask(16)).toThrow("16 connections at most");
  await rig.settle();
  ears[0]?.subscription();
  await rig.settle();
  const next = ask(16);
  await rig.settle();
  expect(next.notes).toEqual(["subscribed"]);
  await rig.close();
});

test("C3 who leaves and comes back at once finds its subscription as it was", async () => {
  const rig = new Rig();
  const first = new Ear(rig.chat);
  await rig.settle();
  first.subscription();
  const second = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  expect([first.notes, second.notes]).toEqual([["subscribed"], ["subscribed", 1]]);
  expect(sent(rig.iad.frames).length).toBe(1);
  await rig.close();
});

test("C3 nobody joins a subscription that is leaving", async () => {
  const rig = new Rig();
  rig.publish(1);
  const leaving = new Ear(rig.chat, { presence: true });
  await rig.settle();
  const old = new Ear(rig.chat, { since: "oldest" });
  while (!old.notes.includes("subscribed, recovered true")) {
    await turn();
    rig.network.step();
  }
  leaving.subscription();
  await rig.around.advance(0); // Its end is on its way; what the host says until that arrives is still for it.
  rig.publish(2);
  const [first, second] = [...rig.network.sockets];
  for (const socket of [second, first]) {
    while (socket && socket.down.length > 0) rig.network.step(() => socket.down);
  }
  await rig.settle();
  rig.publish(3);
  await rig.settle();
  expect(old.messages).toEqual([1, 2, 3]);
  await rig.close();
});

test("C3 who comes back while the host still confirms the end waits for it, and is subscribed anew", async () => {
  const rig = new Rig();
  const first = new Ear(rig.chat);
  await rig.settle();
  first.subscription();
  await rig.around.advance(0); // The end is on its way, and not confirmed.
  const second = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  expect(second.notes).toEqual(["subscribed", 1]);
  expect(sent(rig.iad.frames).map(({ type }) => type)).toEqual(["subscribe", "unsubscribe", "subscribe"]);
  await rig.close();
});

test("C6 a subscription that may not be had again is over: others are not", async () => {
  const rig = new Rig();
  const refused = new Ear(rig.client.object("room", "secret").topic("chat"));
  rig.iad.refuses = ({ object }) =>
    object === "room/secret"
      ? { status: 403, error: { title: "Not allowed", code: "forbidden" } }
      : undefined;
  const ended = new Ear(rig.client.object("room", "gone").topic("chat"));
  const ear = new Ear(rig.chat);
  await rig.settle();
  for (const connection of rig.iad.connections) connection.end("room/gone", "chat", 4404, "nothing here");
  rig.publish(1);
  await rig.pass(60_000, 1_000);
  expect(refused.notes).toEqual(["refused 403"]);
  expect(ended.notes).toEqual(["subscribed", "ended 4404"]);
  expect(ear.notes).toEqual(["subscribed", 1]);
  expect(rig.iad.of("subscribe").length).toBe(3);
  await rig.close();
});

test("C6 a subscription that the object's way has ended comes back, with all that it missed", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  for (const code of [1012, 1013, 4408, 1011]) {
    for (const connection of rig.iad.connections) connection.end(room, "chat", code);
    rig.publish(code);
    await rig.pass(40_000, 1_000);
    expect(ear.take().slice(-2)).toEqual(["subscribed, recovered true", code]);
  }
  expect(rig.network.dialled.length).toBe(1);
  await rig.close();
});

test("C6 a refusal that says it may be tried again is, after longer and longer", async () => {
  const rig = new Rig();
  let refusals = 3;
  rig.iad.refuses = () => (refusals-- > 0 ? { status: 503, error: { retryable: true } } : undefined);
  const ear = new Ear(rig.chat);
  await rig.pass(10_000, 1_000);
  expect(ear.notes).toEqual([]);
  await rig.pass(60_000, 1_000);
  expect(ear.notes).toEqual(["subscribed"]);
  expect(rig.iad.of("subscribe").length).toBe(4);
  await rig.close();
});

test("C6 a subscription that has been good begins its delays anew", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  const end = () => {
    for (const connection of rig.iad.connections) connection.end(room, "chat", 1012);
  };
  for (let round = 0; round < 8; round += 1) {
    end();
    await rig.pass(15_000, 1_000);
  }
  ear.take();
  end();
  await rig.pass(1_000);
  expect(ear.take()).toEqual(["subscribed, recovered true"]);
  await rig.close();
});

test("C5 refused credentials are renewed once: the subscription begins, or is over", async () => {
  let token = 0;
  const rig = new Rig({ headers: async () => ({ Authorization: `Bearer ${++token}` }) });
  rig.iad.refuses = (_, { headers }) =>
    headers.authorization === "Bearer 1"
      ? { status: 401, error: { title: "Credentials are out of date" } }
      : undefined;
  const ear = new Ear(rig.chat);
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed"]);
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["hello", "subscribe", "hello", "subscribe"]);

  await rig.pass(6_000);
  rig.iad.refuses = () => ({ status: 401, error: {} });
  for (const connection of rig.iad.connections) connection.end(room, "chat", 4401);
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", "refused 401"]);
  expect(token).toBe(3);
  await rig.close();
});

test("C5 a reconnect brings fresh credentials, and the right to renew them once more", async () => {
  const rig = new Rig({ headers: () => ({ authorization: "Bearer t" }) });
  let refusals = 1;
  rig.iad.refuses = () => (refusals-- > 0 ? { status: 401, error: {} } : undefined);
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.iad.drop();
  refusals = 1;
  await rig.pass(2_000);
  expect(ear.notes).toEqual(["subscribed", "subscribed, recovered true"]);
  await rig.close();
});

test("C15 a subscription that was ended hears nothing more, whoever ended it", async () => {
  const rig = new Rig();
  const controller = new AbortController();
  const aborted = new Ear(rig.chat, { signal: controller.signal });
  const stopped = new Ear(rig.chat);
  const closed = new Ear(rig.chat);
  await rig.settle();
  controller.abort();
  stopped.subscription();
  stopped.subscription();
  rig.publish(1);
  await rig.settle();
  rig.client.close();
  rig.publish(2);
  await rig.settle();
  expect([aborted.notes, stopped.notes]).toEqual([["subscribed"], ["subscribed"]]);
  expect(closed.notes).toEqual(["subscribed", 1, "ended 1000"]);
  expect(() => rig.chat.subscribe(() => undefined)).toThrow("closed");
  expect(() => rig.chat.subscribe(() => undefined, { signal: AbortSignal.abort(new Error("no")) })).toThrow(
    "no",
  );
  await rig.close();
});

test("C15 whoever is ended by what another is told, or by what it is told itself, is told nothing more", async () => {
  const rig = new Rig();
  const first = new Ear(rig.chat);
  const second = new Ear(rig.chat);
  first.subscription.on("subscribed", () => second.subscription());
  const third = new Ear(rig.chat, {});
  third.subscription.on("waiting", () => new Ear(rig.chat));
  third.subscription.on("subscribed", ({ recovered }) => recovered === false && third.subscription());
  await rig.settle();
  expect(second.subscription.state).toBe("ended");
  rig.iad.forget(room, "chat");
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  expect(second.notes).toEqual([]);
  expect(third.notes).toEqual(["subscribed", "subscribed, recovered false"]);
  expect(first.notes).toEqual(["subscribed", "subscribed, recovered false", "gap: lost", 1]);
  await rig.close();
});

test("C4 whoever subscribes in the middle of reconnect() is subscribed by the next connection", async () => {
  const rig = new Rig();
  const first = new Ear(rig.chat);
  await rig.settle();
  let second: Ear | undefined;
  first.subscription.on("waiting", () => {
    second = new Ear(rig.client.object("room", "kitchen").topic("chat"));
  });
  rig.client.reconnect();
  await rig.settle();
  expect([first.subscription.state, second?.subscription.state]).toEqual(["subscribed", "subscribed"]);
  await rig.close();
});

test("C14 a listener that throws, or that ends others, stops nobody else", async () => {
  const rig = new Rig();
  const thrown: unknown[] = [];
  const report = globalThis.reportError;
  globalThis.reportError = (error) => void thrown.push(error);
  try {
    rig.chat.subscribe(() => {
      throw new Error("mine");
    });
    const other = new Ear(rig.chat);
    rig.chat.subscribe(() => third.subscription());
    const third = new Ear(rig.chat);
    await rig.settle();
    rig.publish(1, 2);
    await rig.settle();
    expect(other.messages).toEqual([1, 2]);
    expect(third.messages).toEqual([]);
    expect(thrown).toEqual([new Error("mine"), new Error("mine")]);
  } finally {
    globalThis.reportError = report;
  }
  await rig.close();
});

test("C1 what is said to one subscriber alone is heard, and moves no position", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  for (const connection of rig.iad.connections)
    connection.send({ type: "message", object: room, topic: "chat", text: "to you" });
  await rig.settle();
  expect(ear.subscription.position).toBe("h1.1");
  rig.iad.drop();
  await rig.settle();
  rig.publish(2);
  await rig.pass(2_000);
  expect(ear.notes).toEqual(["subscribed", 1, "to you", "subscribed, recovered true", 2]);
  await rig.close();
});

test("presence is the whole list, kept from what has changed", async () => {
  const rig = new Rig();
  rig.iad.members = [{ id: "a1", data: { name: "ann" } }];
  const ear = new Ear(rig.chat, { presence: true });
  const told: unknown[] = [];
  ear.subscription.on("presence", (presence) => told.push(presence));
  await rig.settle();
  const say = (more: object) => {
    for (const connection of rig.iad.connections)
      connection.send({ type: "presence", object: room, topic: "chat", ...more });
  };
  say({ count: 2, joined: [{ id: "b7" }], left: [] });
  say({ count: 1, joined: [], left: ["a1"] });
  say({ count: 900 });
  say({ count: 901, joined: [{ id: "c" }], left: [] });
  await rig.settle();
  expect(told).toEqual([
    { count: 1, members: [{ id: "a1", data: { name: "ann" } }], joined: [], left: [] },
    {
      count: 2,
      members: [{ id: "a1", data: { name: "ann" } }, { id: "b7" }],
      joined: [{ id: "b7" }],
      left: [],
    },
    { count: 1, members: [{ id: "b7" }], joined: [], left: [{ id: "a1", data: { name: "ann" } }] },
    { count: 900, members: undefined, joined: [], left: [] },
    { count: 901, members: undefined, joined: [{ id: "c" }], left: [] },
  ]);
  const late: number[] = [];
  rig.chat.subscribe(() => undefined, { presence: true }).on("presence", ({ count }) => late.push(count));
  await rig.settle();
  expect(late).toEqual([901]);
  await rig.close();
});

test("C1 a host that says once more that it is subscribed has said nothing", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.publish(1);
  const again = { type: "subscribed", id: 1, object: room, topic: "chat" };
  for (const connection of rig.iad.connections) {
    connection.send(again);
    connection.send({ ...again, position: "h1.0", recovered: true });
  }
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", 1]);
  expect(ear.subscription.position).toBe("h1.1");
  await rig.close();
});

test("what a host says that no page knows is ignored", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  for (const connection of rig.iad.connections) {
    connection.send({ type: "weather", object: room, topic: "chat" });
    connection.send({ type: "message", object: "room/other", topic: "chat", data: 1 });
    connection.send({ type: "unsubscribed", id: 99, code: 1000 });
    connection.send([1, 2]);
  }
  rig.publish(1);
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", 1]);
  await rig.close();
});
