import { expect, test } from "bun:test";
import { PresenceCheck } from "./checks/presence-check.ts";
import { ListenerCheck } from "./checks/topic-check.ts";
import { Scheduler } from "./world/scheduler.ts";
import { Network } from "./world/network.ts";
import { SimulatedProcess } from "./world/simulated-process.ts";
import { SeededRandom } from "../support/seeded-random.ts";

function listener(mayLose = false) {
  const wrong: string[] = [];
  const check = new ListenerCheck("listener", "ledger/a", {
    wrong: (what) => void wrong.push(what),
    heard: () => undefined,
    mayLose: () => mayLose,
  });
  return { check, wrong };
}

test("a listener who hears everything once, in order, also over a resume, is content", () => {
  const { check, wrong } = listener();
  check.subscribed("h.0", undefined);
  check.message("h.1", "a");
  check.message("h.2", "b");
  check.subscribed("h.2", true);
  check.message("h.3", "c");
  expect([wrong, check.ops, check.since]).toEqual([[], ["a", "b", "c"], "h.3"]);
});

test("what is missing, comes twice, is out of order or of another history is found", () => {
  for (const position of ["h.4", "h.2", "h.1", "other.3", undefined]) {
    const { check, wrong } = listener();
    check.subscribed("h.0", undefined);
    check.message("h.1", "a");
    check.message("h.2", "b");
    check.message(position, "c");
    expect(wrong).toHaveLength(1);
  }
});

test("a resume elsewhere than where the listener stands, or one that lost something durable, is found", () => {
  for (const [position, recovered] of [
    ["h.2", true],
    ["h.1", false],
    [undefined, true],
  ] as const) {
    const { check, wrong } = listener();
    check.subscribed("h.0", undefined);
    check.message("h.1", "a");
    check.subscribed(position, recovered);
    expect(wrong).toHaveLength(1);
  }
});

test("a listener may be told that what it has not heard is gone, where that was in memory, and hears nothing twice all the same", () => {
  const { check, wrong } = listener(true);
  check.subscribed("h.0", undefined);
  check.message("h.1", "a");
  check.subscribed("other.4", false);
  check.message("other.5", "b");
  expect(wrong).toEqual([]);
  check.message("other.6", "a");
  check.message("more.7", "c");
  expect(wrong).toEqual([
    "listener of ledger/a heard a twice",
    "listener of ledger/a heard more.7 after other.6",
  ]);
});

test("who is there adds up to what was told, and is told before what has changed", () => {
  const wrong: string[] = [];
  const check = new PresenceCheck((what) => void wrong.push(what));
  check.told({ count: 2, members: [{ id: "b" }, { id: "a" }] });
  check.told({ count: 2, joined: [{ id: "c" }, { id: "b" }], left: ["a"] });
  expect([wrong, check.members]).toEqual([[], ["b", "c"]]);
  check.told({ count: 3, joined: [], left: [] });
  check.subscribing();
  check.told({ count: 3, joined: [{ id: "d" }], left: [] });
  check.told({ count: 1, members: [{ id: "a" }, { id: "a" }] });
  expect(wrong).toEqual([
    "was told that 3 are there, and of 2",
    "was told what has changed before it was told who is there",
    "was told of somebody twice in one list",
  ]);
});

test("what is due for a process that stands is held, in its order, and what is due after its death never runs", () => {
  const scheduler = new Scheduler(() => undefined);
  const one = new SimulatedProcess("one", scheduler, { skewMs: 0, rate: 1 });
  const ran: string[] = [];
  for (const delayMs of [10, 20, 200])
    scheduler.after(delayMs, one, () => void ran.push(`${delayMs} at ${scheduler.nowMs}`));
  one.freeze(100);
  scheduler.runUntil(150);
  expect(ran).toEqual(["10 at 100", "20 at 100"]);
  expect(one.clock.monotonicMs()).toBe(150);
  one.die(true);
  scheduler.runUntil(300);
  expect(ran).toHaveLength(2);
});

test("messages of a connection that are due at the same time keep their order, whatever that time is", () => {
  const random = new SeededRandom(7);
  for (let round = 0; round < 200; round += 1) {
    const scheduler = new Scheduler(() => undefined);
    // The first is slow, and nothing that is sent after it may come before it.
    // Thirds, because all bits of a number have to be in use for it to be rounded.
    let distanceMs = (100 * random.next()) / 3;
    const stream = new Network(scheduler, random, () => distanceMs).stream("a", "b");
    const arrived: number[] = [];
    for (let index = 0; index < 20; index += 1) {
      scheduler.runUntil(scheduler.nowMs + random.next() / 0.3);
      stream.send(() => void arrived.push(index));
      distanceMs = 0;
    }
    scheduler.runUntil(1_000);
    expect(arrived).toEqual(Array.from({ length: 20 }, (_, index) => index));
  }
});

test("a connection's messages keep their order, and wait for the end of a cut", () => {
  const scheduler = new Scheduler(() => undefined);
  const network = new Network(scheduler, new SeededRandom(1), () => 10);
  const arrived: string[] = [];
  const stream = network.stream("a", "b");
  for (let index = 0; index < 5; index += 1) stream.send(() => void arrived.push(`early ${index}`));
  network.cut("a", "b");
  stream.send(() => void arrived.push("late"));
  scheduler.runUntil(1_000);
  expect(arrived).toEqual([0, 1, 2, 3, 4].map((index) => `early ${index}`));
  network.mend("a", "b");
  scheduler.runUntil(2_000);
  expect(arrived.at(-1)).toBe("late");
});
