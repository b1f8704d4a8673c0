import { expect, test } from "bun:test";
import { StreamTurns, turnBytesMax } from "../../infra/host/stream-turns.ts";

/** Turns that a test takes. */
function turnsOf() {
  const due: (() => void)[] = [];
  const turns = new StreamTurns({ nextTurn: (callback) => void due.push(callback) });
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
  const half = turnBytesMax / 2;
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
  take("large", 3 * turnBytesMax);
  take("small", 1);
  expect(passed).toEqual(["large"]);
  await nextTurn();
  expect(passed).toEqual(["large", "small"]);
});
