import { expect, test } from "bun:test";
import { Emitter } from "../../apps/client/emitter.ts";
import { Feed } from "../../apps/client/feed.ts";
import type { SubscribeOptions } from "../../apps/client/subscription.ts";

const address = { object: "room/lobby", topic: "chat" };

/** A feed that has begun, and stands at `position`. */
function standing(position: string | undefined, options: SubscribeOptions = {}): Feed {
  const feed = new Feed(address, options);
  feed.subscribed({ type: "subscribed", id: 1, ...address, ...(position && { position }) });
  return feed;
}

test("C3 two feeds meet where they stand at one place, and ask the object in one way", () => {
  const feed = standing("h1.1");
  expect(feed.canJoin(standing("h1.1", { since: "oldest" }))).toBe(true);
  expect(feed.canJoin(standing("h1.2"))).toBe(false);
  expect(feed.canJoin(new Feed(address, { since: "h1.1" }))).toBe(false);
  expect(feed.canJoin(standing("h1.1", { query: { name: "ann" } }))).toBe(false);
  expect(feed.canJoin(standing("h1.1", { presence: true }))).toBe(true);
  expect(standing("h1.1", { presence: true }).canJoin(feed)).toBe(false);
});

test("C3 what listens for what is new makes the feed that it joins one of that kind", () => {
  const old = standing("h1.1", { since: "oldest" });
  expect(old.admits({})).toBe(false);
  standing("h1.1").join(old);
  expect(old.admits({})).toBe(true);
});

test("events reach whoever listened when they came, however often, and nobody else", () => {
  const events = new Emitter<{ tick: number }>();
  const heard: string[] = [];
  const listener = (tick: number) => {
    heard.push(`a${tick}`);
    events.on("tick", (later) => heard.push(`b${later}`));
  };
  const stop = events.on("tick", listener);
  events.on("tick", listener);
  events.emit("tick", 1);
  expect(heard).toEqual(["a1", "a1"]);
  stop();
  events.emit("tick", 2);
  expect(heard.slice(2).sort()).toEqual(["a2", "b2", "b2"]);
});
