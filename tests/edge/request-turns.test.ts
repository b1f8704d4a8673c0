import { expect, test } from "bun:test";
import {
  RequestTurns,
  requestTurnMsMax,
  requestWaitMaxMs,
  waitingRequestsMax,
} from "../../infra/edge/request-turns.ts";

/** A clock that goes on only while requests are served, and turns that a test takes. */
function turnsOf() {
  let nowMs = 0;
  const due: (() => void)[] = [];
  const turns = new RequestTurns({
    monotonicMs: () => nowMs,
    nextTurn: (callback) => void due.push(callback),
  });
  const served: string[] = [];
  const serve = (name: string, takesMs: number) => {
    served.push(name);
    nowMs += takesMs;
  };
  const ask = (name: string, takesMs: number) => {
    if (turns.isLong) void turns.wait().then(() => serve(name, takesMs));
    else serve(name, takesMs);
  };
  const nextTurn = async () => {
    for (const callback of due.splice(0)) callback();
    for (let n = 0; n < 200; n++) await undefined;
  };
  return { turns, ask, served, nextTurn, due };
}

test("E35 requests are served at once while a turn is short", () => {
  const { ask, served } = turnsOf();
  for (let n = 0; n < 100; n++) ask(String(n), 0.1);
  expect(served).toHaveLength(100);
});

test("E35 once a turn has lasted, what comes waits for the next ones, in order", async () => {
  const { ask, served, nextTurn, due } = turnsOf();
  for (const name of ["a", "b", "c", "d", "e"]) ask(name, requestTurnMsMax / 2);
  expect(served).toEqual(["a", "b"]);
  await nextTurn();
  expect(served).toEqual(["a", "b", "c", "d"]);
  ask("f", 0); // behind those who wait
  expect(served).toHaveLength(4);
  await nextTurn();
  expect(served).toEqual(["a", "b", "c", "d", "e", "f"]);
  await nextTurn();
  expect(due).toEqual([]);
  ask("g", 0);
  expect(served.at(-1)).toBe("g");
});

test("E35 one that takes longer than a turn is served alone, and the next is not kept for ever", async () => {
  const { ask, served, nextTurn } = turnsOf();
  ask("long", 1000);
  ask("next", 1000);
  ask("last", 1);
  await nextTurn();
  expect(served).toEqual(["long", "next"]);
  await nextTurn();
  expect(served).toEqual(["long", "next", "last"]);
});

test("E35 so many wait and no more", () => {
  const { ask, turns } = turnsOf();
  ask("long", requestTurnMsMax);
  for (let n = 0; n < waitingRequestsMax; n++) ask(String(n), 0);
  expect(() => turns.wait()).toThrow("Too many requests wait");
});

test("E35 a request that has waited for its turn for too long is told so, and whoever came later is served", async () => {
  const { turns, ask, served, nextTurn } = turnsOf();
  ask("first", requestTurnMsMax);
  ask("long", requestWaitMaxMs); // which keeps the next from being looked at
  const late = turns.wait().catch((error: unknown) => error);
  await nextTurn();
  ask("young", 0);
  await nextTurn();
  expect(await late).toMatchObject({ code: "host_full", retryAfterMs: 1000 });
  expect(served).toEqual(["first", "long", "young"]);
});
