import { expect, test } from "bun:test";
import { Ear } from "./ear.ts";
import { MemorySocket } from "./memory-network.ts";
import { iadUrl, Rig } from "./rig.ts";

/** How a promise has ended so far. */
function watch(promise: Promise<unknown>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: "waits" };
  promise.then(
    () => (seen.outcome = "published"),
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
  expect([first.outcome, second.outcome, third.outcome]).toEqual(["published", "published", "published"]);
  expect(ear.messages).toEqual(["one", { two: 2 }, new Uint8Array([255])]);
  expect(rig.iad.of("publish")).toEqual([
    { type: "publish", id: 1, ref: 1, data: "one" },
    { type: "publish", id: 1, ref: 2, data: { two: 2 } },
    { type: "publish", id: 1, ref: 3, bytes: "/w==" },
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
  expect(waiting.outcome).toBe("published");
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["subscribe", "publish", "unsubscribe"]);
  expect(rig.network.sockets.size).toBe(0);
  await rig.close();
});

test("C11 what was sent is not sent again after a reconnect, and what was not is", async () => {
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
  expect([handed.outcome, lost.outcome, waiting.outcome]).toEqual([
    "outcome_unknown",
    "outcome_unknown",
    "published",
  ]);
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
  expect(waiting.map(({ outcome }) => outcome)).toEqual(["published", "published", "published"]);
  await Promise.all([rig.settle(), ...[1, 2, 3, 4, 5].map((n) => rig.chat.publish(n))]);
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
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(["published", "published", "queue_full"]);
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
  const outcomes = ["x".repeat(16_000_000), "ü".repeat(8_000_000), () => 1, undefined].map((message) =>
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

test("C11 what the host does not take is not published, and says why", async () => {
  const rig = new Rig();
  rig.iad.failsPublish = (message) =>
    message === "wrong" ? { code: "invalid_input", detail: "it does not match the schema" } : undefined;
  const ear = new Ear(rig.chat);
  await rig.settle();
  const wrong = rig.chat.publish("wrong").catch((error) => error);
  const right = watch(rig.chat.publish("right"));
  await rig.settle();
  expect(await wrong).toMatchObject({
    code: "not_published",
    message: "Not published: it does not match the schema",
    problem: { code: "invalid_input" },
  });
  expect([right.outcome, ear.notes]).toEqual(["published", ["subscribed", "right"]]);
  await rig.close();
});

test("C11 a message is published once the host says so, and where it stands is told with it", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.iad.isHolding = true;
  const published = rig.chat.publish("held");
  const seen = watch(published);
  await rig.settle();
  expect([ear.messages, seen.outcome]).toEqual([["held"], "waits"]);
  for (const answer of rig.iad.held.splice(0)) answer();
  expect(await Promise.all([published, rig.settle()])).toEqual([
    { position: ear.subscription.position },
    undefined,
  ]);
  await rig.close();
});

test("C11 what the host had not answered when it was lost may be published or not, and is not sent again", async () => {
  const rig = new Rig();
  new Ear(rig.chat);
  await rig.settle();
  rig.iad.isHolding = true;
  const [first, second] = [watch(rig.chat.publish(1)), watch(rig.chat.publish(2))];
  await rig.settle();
  rig.iad.drop(1012);
  await rig.pass(2_000);
  expect([first.outcome, second.outcome]).toEqual(["outcome_unknown", "outcome_unknown"]);
  for (const answer of rig.iad.held.splice(0)) answer();
  rig.iad.isHolding = false;
  const third = watch(rig.chat.publish(3));
  await rig.settle();
  expect(third.outcome).toBe("published");
  expect(rig.iad.of("publish").map(({ data }) => data)).toEqual([1, 2, 3]);
  await rig.close();
});

test("C10 C11 256 messages of a topic wait for their answer, then as many as may be enqueued, and no more", async () => {
  const rig = new Rig({ maxEnqueuedMessages: 10 });
  new Ear(rig.chat);
  await rig.settle();
  rig.iad.isHolding = true;
  const outcomes = Array.from({ length: 267 }, (_, n) => watch(rig.chat.publish(n)));
  await rig.settle();
  expect([rig.iad.of("publish").length, outcomes.at(-1)?.outcome]).toEqual([256, "queue_full"]);
  rig.iad.isHolding = false;
  for (const answer of rig.iad.held.splice(0)) answer();
  await rig.settle();
  expect(rig.iad.of("publish").map(({ data }) => data)).toEqual(Array.from({ length: 266 }, (_, n) => n));
  expect(outcomes.slice(0, -1).every(({ outcome }) => outcome === "published")).toBe(true);
  await rig.close();
});

test("C11 whoever only publishes stays subscribed until it is answered", async () => {
  const rig = new Rig();
  rig.iad.isHolding = true;
  const slow = watch(rig.chat.publish("slow"));
  await rig.pass(12_000, 1_000);
  expect([slow.outcome, rig.iad.of("unsubscribe").length]).toEqual(["waits", 0]);
  for (const answer of rig.iad.held.splice(0)) answer();
  await rig.pass(6_000, 1_000);
  expect([slow.outcome, rig.iad.of("unsubscribe").length]).toEqual(["published", 1]);
  await rig.close();
});
