import { expect, test } from "bun:test";
import { Ear } from "./ear.ts";
import { MemorySocket } from "./memory-network.ts";
import { iadUrl, Rig } from "./rig.ts";

/** How a promise has ended so far. */
function watch(promise: Promise<unknown>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: "waits" };
  promise.then(
    () => (seen.outcome = "sent"),
    (error) => (seen.outcome = error.code ?? error.message),
  );
  return seen;
}

test("C11 what is published waits until it is subscribed, and is sent once and in order", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  const first = watch(rig.chat.publish("one"));
  const second = watch(rig.chat.publish({ two: 2 }));
  await Bun.sleep(0);
  expect([first.outcome, second.outcome]).toEqual(["waits", "waits"]);
  await rig.settle();
  const third = watch(rig.chat.publish(new Uint8Array([3, 255]).subarray(1)));
  await rig.settle();
  expect([first.outcome, second.outcome, third.outcome]).toEqual(["sent", "sent", "sent"]);
  expect(ear.messages).toEqual(["one", { two: 2 }, new Uint8Array([255])]);
  expect(rig.iad.of("publish")).toEqual([
    { type: "publish", id: 1, data: "one" },
    { type: "publish", id: 1, data: { two: 2 } },
    { type: "publish", id: 1, bytes: "/w==" },
  ]);
  await rig.close();
});

test("C11 whoever only publishes is subscribed for a while, and not for ever", async () => {
  const rig = new Rig();
  await Promise.all([rig.chat.publish(1), rig.settle()]);
  await rig.pass(4_000);
  await Promise.all([rig.chat.publish(2), rig.settle()]);
  await rig.pass(4_000);
  expect(rig.iad.of("unsubscribe").length).toBe(0);
  await rig.pass(2_000);
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["subscribe", "publish", "publish", "unsubscribe"]);
  await rig.pass(11_000);
  expect(rig.network.sockets.size).toBe(0);
  await rig.close();
});

test("C11 what waits for long is sent all the same, and then nothing stays", async () => {
  const rig = new Rig({}, iadUrl);
  rig.network.down.add(new URL(iadUrl).host);
  const waiting = watch(rig.chat.publish("late"));
  await rig.pass(60_000, 1_000);
  expect(waiting.outcome).toBe("waits");
  rig.network.down.clear();
  await rig.pass(60_000, 1_000);
  expect(waiting.outcome).toBe("sent");
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["subscribe", "publish", "unsubscribe"]);
  expect(rig.network.sockets.size).toBe(0);
  await rig.close();
});

test("C11 what was handed over is not sent again after a reconnect, and what was not is", async () => {
  const rig = new Rig();
  new Ear(rig.chat);
  await rig.settle();
  const handed = watch(rig.chat.publish("handed over"));
  rig.network.cut();
  await rig.pass(2_000);
  const lost = watch(rig.chat.publish("into a connection that is gone"));
  await rig.pass(24_000);
  rig.iad.drop(1012);
  await rig.settle();
  const waiting = watch(rig.chat.publish("waits"));
  await rig.pass(5_000);
  expect([handed.outcome, lost.outcome, waiting.outcome]).toEqual(["sent", "sent", "sent"]);
  expect(rig.iad.of("publish").map(({ data }) => data)).toEqual(["waits"]);
  await rig.close();
});

test("C10 past maxEnqueuedMessages publishing says so, over all topics of the client", async () => {
  const rig = new Rig({ maxEnqueuedMessages: 3 }, iadUrl);
  rig.network.down.add(new URL(iadUrl).host);
  const other = rig.client.object("room", "other").topic("chat");
  const waiting = [rig.chat.publish(1), other.publish(2), rig.chat.publish(3)].map(watch);
  const tooMuch = watch(other.publish(4));
  await rig.settle();
  expect(tooMuch.outcome).toBe("queue_full");
  expect(
    await rig.client
      .object("room", "a third")
      .topic("chat")
      .publish(5)
      .catch(({ code }) => code),
  ).toBe("queue_full");
  rig.network.down.clear();
  await rig.pass(3_000);
  expect(waiting.map(({ outcome }) => outcome)).toEqual(["sent", "sent", "sent"]);
  await Promise.all([1, 2, 3, 4, 5].map((n) => rig.chat.publish(n)));
  expect(new Set(rig.iad.of("subscribe").map(({ object }) => object))).toEqual(
    new Set(["room/lobby", "room/other"]),
  );
  await rig.close();
});

test("C10 a socket that is full holds back what is published", async () => {
  const rig = new Rig({ maxEnqueuedMessages: 2 });
  new Ear(rig.chat);
  await rig.settle();
  const [socket] = rig.network.sockets;
  if (!(socket instanceof MemorySocket)) throw new Error("There is no socket.");
  socket.bufferedAmount = 2_000_000;
  const outcomes = [1, 2, 3].map((n) => watch(rig.chat.publish(n)));
  await rig.settle();
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(["waits", "waits", "queue_full"]);
  socket.bufferedAmount = 0;
  await rig.pass(100, 50);
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(["sent", "sent", "queue_full"]);
  expect(rig.iad.of("publish").map(({ data }) => data)).toEqual([1, 2]);
  await rig.close();
});

test("C11 a message that was not sent is refused: by a signal, by the object, by the end of the client", async () => {
  const rig = new Rig({}, iadUrl);
  rig.network.down.add(new URL(iadUrl).host);
  const controller = new AbortController();
  const aborted = watch(rig.chat.publish("aborted", { signal: controller.signal }));
  const early = watch(rig.chat.publish("early", { signal: AbortSignal.abort(new Error("too early")) }));
  const closedRoom = rig.client.object("room", "closed").topic("chat");
  const refused = watch(closedRoom.publish("refused"));
  controller.abort(new Error("changed my mind"));
  rig.iad.refuses = ({ object }) =>
    object === "room/closed" ? { status: 403, error: { detail: "not for you" } } : undefined;
  rig.network.down.clear();
  await rig.pass(5_000);
  rig.network.down.add(new URL(iadUrl).host);
  rig.iad.drop(1012);
  await rig.settle();
  const closed = watch(rig.chat.publish("closed"));
  await rig.close();
  const late = watch(rig.chat.publish("late"));
  await Bun.sleep(0);
  expect([aborted, early, refused, closed, late].map(({ outcome }) => outcome)).toEqual([
    "changed my mind",
    "too early",
    "refused",
    "ended",
    "closed",
  ]);
  expect(rig.iad.of("publish")).toEqual([]);
});

test("C10 a message that no host takes costs the message and not the connection", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  const outcomes = ["x".repeat(2 ** 20), "ü".repeat(2 ** 19), () => 1, undefined].map((message) =>
    watch(rig.chat.publish(message)),
  );
  await rig.settle();
  expect(outcomes.map(({ outcome }) => outcome)).toEqual([
    "too_large",
    "too_large",
    "bad_argument",
    "bad_argument",
  ]);
  expect(ear.notes).toEqual(["subscribed"]);
  await Promise.all([rig.chat.publish("x".repeat(400_000)), rig.settle()]);
  expect(rig.iad.of("publish").length).toBe(1);
  await rig.close();
});

test("C11 what the host does not take is told to the topic's subscribers", async () => {
  const rig = new Rig();
  rig.iad.failsPublish = () => ({ code: "invalid_input", detail: "it does not match the schema" });
  const ear = new Ear(rig.chat);
  await rig.settle();
  await rig.chat.publish({ wrong: true });
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", "failed: it does not match the schema"]);
  await rig.close();
});
