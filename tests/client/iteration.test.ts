import { expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import { ClientError } from "../../apps/client/errors.ts";
import type { Gap } from "../../apps/client/subscription.ts";
import { Rig } from "./rig.ts";

const room = "room/lobby";

test("C16 a loop gets every message, and leaving it unsubscribes", async () => {
  const rig = new Rig();
  const heard: unknown[] = [];
  const loop = (async () => {
    for await (const message of rig.chat) {
      heard.push(message);
      if (message === 3) break;
    }
    return "left";
  })();
  await rig.settle();
  rig.publish(1, 2, 3, 4);
  await rig.settle();
  expect(await loop).toBe("left");
  await rig.settle();
  expect(heard).toEqual([1, 2, 3]);
  expect(rig.iad.of("unsubscribe").length).toBe(1);
  await rig.close();
});

test("C16 calls that overlap are answered in their order", async () => {
  const rig = new Rig();
  const messages = rig.chat.messages({ since: "oldest" });
  const calls = [messages.next(), messages.next(), messages.next()];
  await rig.settle();
  rig.publish("a", "b", "c");
  await rig.settle();
  expect((await Promise.all(calls)).map(({ value }) => value)).toEqual(["a", "b", "c"]);
  expect(messages.position).toBe("h1.3");
  await messages.return();
  expect(await messages.next()).toEqual({ done: true, value: undefined });
  await rig.close();
});

test("C16 a gap throws, in its place, and ends the subscription", async () => {
  const rig = new Rig();
  const messages = rig.chat.messages();
  await rig.settle();
  rig.publish(1);
  rig.iad.forget(room, "chat");
  rig.publish(2);
  await rig.settle();
  expect(await messages.next()).toEqual({ done: false, value: 1 });
  const error = await messages.next().catch((thrown) => thrown);
  expect(error).toBeInstanceOf(ClientError);
  expect(error).toMatchObject({ code: "gap", gap: { reason: "lost" } });
  expect(messages.position).toBe("h1.1");
  expect(await messages.next()).toEqual({ done: true, value: undefined });
  await rig.settle();
  expect(rig.iad.of("unsubscribe").length).toBe(1);
  await rig.close();
});

test("C16 with onGap the loop goes on, after what onGap does", async () => {
  const rig = new Rig();
  const story: unknown[] = [];
  const onGap = async (gap: Gap) => {
    story.push(gap);
    await Promise.resolve();
    story.push("read again");
  };
  const messages = rig.chat.messages({ since: "h0.7", onGap });
  const loop = (async () => {
    for await (const message of messages) story.push(message);
  })();
  await rig.settle();
  rig.publish(1);
  for (const connection of rig.iad.connections) connection.skipsNext = true;
  rig.publish(2, 3);
  await rig.settle();
  await rig.close();
  await loop;
  expect(story).toEqual([
    { reason: "lost" },
    "read again",
    1,
    { reason: "skipped", count: 1 },
    "read again",
    3,
  ]);
});

test("C10 a loop that is too slow loses the older half, is told how much, and goes on with the rest", async () => {
  const rig = new Rig();
  const gaps: Gap[] = [];
  const messages = rig.chat.messages({ bufferMax: 4, onGap: (gap) => void gaps.push(gap) });
  await rig.settle();
  rig.publish(1, 2, 3);
  await rig.settle();
  expect((await messages.next()).value).toBe(1);
  rig.publish(4, 5);
  await rig.settle();
  expect((await messages.next()).value).toBe(2);
  rig.publish(6, 7, 8, 9, 10);
  await rig.settle();
  const rest = [(await messages.next()).value];
  while (rest.at(-1) !== 10) rest.push((await messages.next()).value);
  const first = rest[0] as number; // published above
  expect(gaps).toEqual([{ reason: "overflow", count: first - 3 }]);
  expect(rest).toEqual(Array.from({ length: 11 - first }, (_, index) => first + index));
  expect(rest.length).toBeGreaterThanOrEqual(2);
  await messages.return();
  await rig.close();
});

test("C16 a refusal throws; so does an end, after what came before it; the end of the client ends the loop", async () => {
  const rig = new Rig();
  rig.iad.refuses = ({ topic }) =>
    topic === "closed" ? { status: 403, error: { detail: "not for you" } } : undefined;
  const lobby = rig.client.object("room", "lobby");
  const refused = lobby.topic("closed").messages();
  const ended = lobby.topic("ended").messages();
  const closed = lobby.topic("chat").messages();
  await rig.settle();
  rig.iad.publish(room, "ended", 1);
  for (const connection of rig.iad.connections) connection.end(room, "ended", 4403, "no longer");
  await rig.settle();
  expect(refused.next()).rejects.toMatchObject({ code: "refused", problem: { detail: "not for you" } });
  expect(await ended.next()).toEqual({ done: false, value: 1 });
  expect(ended.next()).rejects.toMatchObject({ code: "ended", close: { code: 4403, reason: "no longer" } });
  const waiting = closed.next();
  await rig.close();
  expect(await waiting).toEqual({ done: true, value: undefined });
});

test("C15 a signal that lives on keeps nothing of what has ended", async () => {
  const rig = new Rig();
  const { signal } = new AbortController();
  const messages = rig.chat.messages({ signal });
  const stop = rig.chat.subscribe(() => undefined, { signal });
  const sent = rig.chat.publish(1, { signal });
  expect(getEventListeners(signal, "abort").length).toBeGreaterThanOrEqual(4);
  await rig.settle();
  await sent;
  stop();
  await messages.return();
  expect(getEventListeners(signal, "abort").length).toBe(0);
  await rig.close();
});

test("C15 a signal ends a loop with its reason, also one that waits", async () => {
  const rig = new Rig();
  const controller = new AbortController();
  const messages = rig.chat.messages({ signal: controller.signal });
  await rig.settle();
  const waiting = messages.next().catch((error) => error.message);
  controller.abort(new Error("enough"));
  expect(await waiting).toBe("enough");
  expect(await messages.next()).toEqual({ done: true, value: undefined });
  await rig.settle();
  expect(rig.iad.of("unsubscribe").length).toBe(1);
  await rig.close();
});
