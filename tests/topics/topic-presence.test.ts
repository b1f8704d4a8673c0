import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  presenceData,
  presenceGatherMs,
  presenceTopic,
  TopicPresence,
  topicOfPresence,
} from "../../infra/topics/topic-presence.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

interface Told {
  readonly count: number;
  readonly members?: readonly Member[];
  readonly joined?: readonly Member[];
  readonly left?: readonly string[];
}
interface Member {
  readonly id: string;
  readonly data?: unknown;
}

function presenceOf(membersMax = 100) {
  const clock = new VirtualClock();
  const told: Told[] = [];
  const presence = new TopicPresence({ clock, membersMax, tell: (json) => void told.push(JSON.parse(json)) });
  return { clock, presence, told };
}

/** What a watcher makes of what it is told. */
function applied(list: Map<string, unknown> | undefined, { count, members, joined, left }: Told) {
  if (members) return new Map(members.map(({ id, data }) => [id, data]));
  if (!joined || !list) return undefined;
  const next = new Map(list);
  for (const id of left ?? []) next.delete(id);
  for (const { id, data } of joined) next.set(id, data);
  expect(next.size).toBe(count);
  return next;
}

test("T7 what a watcher is told adds up to who is there, whatever happens", async () => {
  const step = fc.record({
    does: fc.constantFrom("join", "leave", "found", "wait", "watch"),
    id: fc.constantFrom(..."abcdefgh"),
    data: fc.constantFrom(undefined, "1", '{"n":"x"}'),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 8 }),
      fc.array(step, { maxLength: 80 }),
      async (membersMax, steps) => {
        const { clock, presence, told } = presenceOf(membersMax);
        const there = new Map<string, unknown>();
        let seen = applied(undefined, JSON.parse(presence.snapshot()));
        let count = 0;
        for (const { does, id, data } of steps) {
          if (does === "join" || does === "found") {
            presence[does](id, data);
            there.set(id, data === undefined ? undefined : JSON.parse(data));
          } else if (does === "leave") {
            presence.leave(id);
            there.delete(id);
          } else if (does === "watch") {
            // Whoever begins now is told all, and then whatever is on its way.
            seen = applied(undefined, JSON.parse(presence.snapshot()));
          } else await clock.advance(presenceGatherMs);
          for (const message of told.splice(0)) {
            seen = applied(seen, message);
            count = message.count;
          }
        }
        await clock.advance(presenceGatherMs);
        for (const message of told.splice(0)) {
          seen = applied(seen, message);
          count = message.count;
        }
        expect(presence.count).toBe(there.size);
        if (there.size > membersMax) expect(seen).toBeUndefined();
        else expect(seen).toEqual(there);
        if (count !== 0) expect(count).toBe(there.size);
      },
    ),
  );
});

test("T7 a crowd that comes at once is told in one message, and is counted only where it is too large to list", async () => {
  const { clock, presence, told } = presenceOf(1000);
  for (let n = 0; n < 1001; n++) presence.join(`c${n}`, undefined);
  await clock.advance(presenceGatherMs);
  expect(told).toEqual([{ count: 1001 }]);
  for (let n = 0; n < 101; n++) presence.leave(`c${n}`);
  await clock.advance(presenceGatherMs);
  expect(told[1]?.members).toHaveLength(900);
  presence.leave("c101");
  await clock.advance(presenceGatherMs);
  expect(told[2]).toEqual({ count: 899, joined: [], left: ["c101"] });
});

test("T7 a topic that hovers around the limit of its list does not send it at every crossing", async () => {
  const { clock, presence, told } = presenceOf(1000);
  for (let n = 0; n < 1000; n++) presence.join(`c${n}`, undefined);
  await clock.advance(presenceGatherMs);
  told.length = 0;
  for (let crossing = 0; crossing < 10; crossing++) {
    presence.join("one more", undefined);
    await clock.advance(presenceGatherMs);
    presence.leave("one more");
    await clock.advance(presenceGatherMs);
  }
  expect(told).toHaveLength(20);
  expect(told.filter(({ members }) => members !== undefined)).toEqual([]);
  expect(JSON.parse(presence.snapshot())).toEqual({ count: 1000 });
});

test("T7 where somebody could not be told, everybody is told everything", async () => {
  const { clock, presence, told } = presenceOf();
  presence.join("a", undefined);
  await clock.advance(presenceGatherMs);
  presence.missed();
  await clock.advance(presenceGatherMs);
  expect(told[1]).toEqual({ count: 1, members: [{ id: "a" }] });
});

test("one that is over tells nobody, and keeps no timer", async () => {
  const { clock, presence, told } = presenceOf();
  presence.join("a", undefined);
  presence.stop();
  presence.leave("a");
  await clock.advance(1000);
  expect([told, clock.timersLeft]).toEqual([[], 0]);
});

test("data is JSON within its limit", () => {
  expect(presenceData("chat", undefined)).toBeUndefined();
  expect(presenceData("chat", { name: "ann" })).toBe('{"name":"ann"}');
  expect(() => presenceData("chat", "é".repeat(600))).toThrow("1024 bytes");
  expect(() => presenceData("chat", () => 1)).toThrow("chat");
  expect(() => presenceData("chat", Promise.resolve({ name: "ann" }))).toThrow("must not be awaited");
});

test("the machinery's name of a topic's presence is nobody else's", () => {
  fc.assert(fc.property(fc.string(), (topic) => expect(topicOfPresence(presenceTopic(topic))).toBe(topic)));
  expect(topicOfPresence("chat")).toBeUndefined();
});
