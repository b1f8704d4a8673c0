import { expect, test } from "bun:test";
import { ObjectEdges } from "../../infra/host/object-edges.ts";
import type { Sleeper } from "../../infra/host/sleeper.ts";
import { asleepMessageBytesMax, Sleepers } from "../../infra/host/sleepers.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { KeptHistories } from "../../infra/topics/topic-histories.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { FakeSession } from "./fake-lease.ts";

const mebibyte = "x".repeat(1024 * 1024);

function night() {
  const clock = new VirtualClock();
  const nowMs = () => clock.monotonicMs();
  const expired: string[] = [];
  const sleepers = new Sleepers({
    ...{ clock, nowMs, log: silentLog },
    expired: (sleeper) => void expired.push(sleeper.ref.id),
    wake: async () => undefined,
  });
  const sleep = (id: string, messages: number, ageMs = 60_000): Sleeper => {
    const ref = objectRef("room", id);
    const message = { data: mebibyte, form: "text", publishedAtMs: nowMs() } as const;
    const topics: KeptHistories = new Map([
      ["chat", { id: "h", offset: 9, messages: Array(messages).fill(message), untilMs: nowMs() + ageMs }],
    ]);
    const edges = new ObjectEdges({
      clock,
      definition: { wakeOnClose: false },
      facts: () => ({
        ref,
        session: "a.1",
        epoch: 1,
        autoResponse: undefined,
        redeliver: false,
        wakeOnClose: false,
      }),
      wake: () => undefined,
      emptied: () => undefined,
    });
    return sleepers.add({
      ...{ ref, session: new FakeSession(), epoch: 1, edges, topics },
      ...{ sinceMs: undefined, isAfterCrash: false, nextAlarmMs: undefined },
    });
  };
  return { clock, sleepers, expired, sleep };
}

const kept = (sleeper: Sleeper) => sleeper.topics?.get("chat")?.messages.length;

test("T5 sleeping objects keep messages until they are too old, and then their place alone", async () => {
  const { clock, sleepers, expired, sleep } = night();
  const sleeper = sleep("a", 2, 1000);
  expect([kept(sleeper), sleeper.keepsMessages]).toEqual([2, true]);
  await clock.advance(1000);
  expect([kept(sleeper), sleeper.keepsMessages, expired]).toEqual([0, false, ["a"]]);
  expect(sleeper.topics?.get("chat")).toMatchObject({ id: "h", offset: 9 });
  sleepers.remove(sleeper);
  expect(clock.timersLeft).toBe(0);
});

test("T5 what all of them keep is bounded: the longest asleep let go first", () => {
  const { sleepers, expired, sleep } = night();
  const each = 16;
  const fitting = Math.floor(asleepMessageBytesMax / (each * (mebibyte.length + 1024)));
  const all = Array.from({ length: fitting + 2 }, (_, n) => sleep(`${n}`, each));
  expect(expired).toEqual(["0", "1"]);
  expect(all.map(kept)).toEqual([0, 0, ...Array(fitting).fill(each)]);
  // Whoever wakes makes room.
  const [, , third] = all;
  if (third) sleepers.remove(third);
  sleep("late", each);
  expect(expired).toEqual(["0", "1"]);
});
