import { expect, test } from "bun:test";
import { object } from "stateful-objects";
import { objectCalls } from "../../infra/host/object-calls.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { callsPerTurn, streamedBytesPerTurn, Turns } from "../../infra/host/turns.ts";

/** Turns that a test takes. */
function turnsOf() {
  const due: (() => void)[] = [];
  const turns = new Turns({ nextTurn: (callback) => void due.push(callback) }, streamedBytesPerTurn);
  const passed: string[] = [];
  const take = (name: string, bytes: number) => {
    const waits = turns.take(bytes);
    if (waits === undefined) passed.push(name);
    else void waits.then(() => passed.push(name));
  };
  const nextTurn = async () => {
    for (const callback of due.splice(0)) callback();
    await Promise.resolve();
  };
  return { take, passed, nextTurn, due };
}

test("H11 what streams pass on in one turn is limited; the rest has the next turns, in order", async () => {
  const { take, passed, nextTurn, due } = turnsOf();
  const half = streamedBytesPerTurn / 2;
  for (const name of ["a", "b", "c", "d", "e"]) take(name, half);
  expect(passed).toEqual(["a", "b"]);
  await nextTurn();
  expect(passed).toEqual(["a", "b", "c", "d"]);
  take("f", 1); // small, and yet behind those who wait
  await nextTurn();
  expect(passed).toEqual(["a", "b", "c", "d", "e", "f"]);
  await nextTurn();
  expect(due).toEqual([]);
});

test("H11 a chunk that is larger than a turn passes, and is a turn of its own", async () => {
  const { take, passed, nextTurn } = turnsOf();
  take("large", 3 * streamedBytesPerTurn);
  take("small", 1);
  expect(passed).toEqual(["large"]);
  await nextTurn();
  expect(passed).toEqual(["large", "small"]);
});

test("H11 a storm of calls lets others have their turns in between, and is made in order", async () => {
  const called: string[] = [];
  const turns: number[] = [];
  const calls = objectCalls(async (request) => {
    called.push(new URL(request.url).pathname);
    return new Response("called");
  }, new Turns(systemClock, callsPerTurn));
  const objects = calls([], () => undefined);
  const other = object("other").get("/", () => "here");
  const storm = Promise.all(Array.from({ length: 5 * callsPerTurn }, (_, n) => objects(other, `${n}`).get()));
  const isOver = storm.then(() => true);
  while (!(await Promise.race([isOver, new Promise((next) => setImmediate(next, false))])))
    turns.push(called.length);
  expect(turns.length).toBeGreaterThanOrEqual(4);
  for (const [index, count] of turns.entries())
    expect(count - (turns[index - 1] ?? 0)).toBeLessThanOrEqual(callsPerTurn);
  expect(called).toEqual(Array.from({ length: 5 * callsPerTurn }, (_, n) => `/other/${n}`));
});

test("H5 H11 what may wait for a turn is limited where nothing else limits it", async () => {
  const due: (() => void)[] = [];
  const turns = new Turns({ nextTurn: (callback) => void due.push(callback) }, 1, 2);
  expect(turns.take(1)).toBeUndefined();
  const waiting = [turns.take(1), turns.take(1)];
  expect(() => turns.take(1)).toThrow(expect.objectContaining({ code: "host_full", retryable: true }));
  due.shift()?.();
  await waiting[0];
  expect(turns.take(1)).toBeInstanceOf(Promise);
});
