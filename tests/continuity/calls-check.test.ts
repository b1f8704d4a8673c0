import { expect, test } from "bun:test";
import { type Call, type CallAllowance, checkCalls, type Outcome } from "./calls-check.ts";
import type { CountedAll, Run } from "./objects/_talk.ts";
import type { OffenceKind } from "./offence.ts";

const strict: CallAllowance = { failures: [], mayForget: false };
const afterCrash: CallAllowance = { failures: "any", mayForget: false };

function call(n: number, outcome: Outcome, sentAtMs = n * 10, client = "h"): Call {
  return { client, n, edge: "iad-1", sentAtMs, endedAtMs: sentAtMs + 5, outcome };
}

function counted(value: number, life = "l1"): Outcome {
  return { kind: "counted", value, life, owner: "iad-1" };
}
const unknown: Outcome = { kind: "unknown", code: "502 outcome_unknown" };
const refused: Outcome = { kind: "refused", code: "503 session_over" };

function final(runs: Run[], twice: string[] = []): CountedAll {
  const count = runs.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  return { life: "l1", count, counted: { h: runs }, twice };
}

function kinds(calls: readonly Call[], all: CountedAll, allowed = afterCrash): OffenceKind[] {
  return checkCalls(calls, all, allowed).offences.map(({ kind }) => kind);
}

const three = [call(1, counted(1)), call(2, counted(2)), call(3, counted(3))];

test("each increment that was acknowledged, counted once, is no offence", () => {
  expect(checkCalls(three, final([[1, 3]]), strict)).toMatchObject({
    ...{ offences: [], counted: 3, unknown: 0, longestWithoutSuccessMs: 10 },
  });
});

test("one that was acknowledged and is not there is lost, unless the object may forget", () => {
  expect(kinds(three, final([[1, 2]]))).toEqual(["lost"]);
  expect(
    kinds(
      three,
      final([
        [1, 1],
        [3, 3],
      ]),
    ),
  ).toEqual(["lost"]);
  expect(kinds(three, final([]), { failures: "any", mayForget: true })).toEqual([]);
});

test("one that was counted twice, by its number, is repeated", () => {
  expect(kinds(three, final([[1, 3]], ["h#2"]))).toEqual(["repeated"]);
});

test("one whose outcome is unknown may be there or not, and is counted apart", () => {
  const calls = [call(1, counted(1)), call(2, unknown)];
  expect(kinds(calls, final([[1, 1]]))).toEqual([]);
  expect(checkCalls(calls, final([[1, 2]]), afterCrash)).toMatchObject({
    ...{ offences: [], counted: 1, unknown: 1, unknownCounted: 1 },
    failures: new Map([["502 outcome_unknown", 1]]),
  });
});

test("one that was refused and is there, or that nobody sent, is invented", () => {
  expect(kinds([call(1, refused)], final([]))).toEqual([]);
  expect(kinds([call(1, refused)], final([[1, 1]]))).toEqual(["invented"]);
  expect(kinds(three, final([[1, 4]]))).toEqual(["invented"]);
});

test("a failure is an offence where none, or not this one, may be seen", () => {
  expect(kinds([call(1, refused), call(2, unknown)], final([]), strict)).toEqual(["refused", "refused"]);
  expect(kinds([call(1, refused)], final([]), { failures: ["503 session_over"], mayForget: false })).toEqual(
    [],
  );
});

test("two that make the same value of one life show two copies; of two lives they do not", () => {
  const twins = [call(1, counted(1), 0), call(1, counted(1), 0, "i")];
  const all: CountedAll = { life: "l1", count: 2, counted: { h: [[1, 1]], i: [[1, 1]] }, twice: [] };
  expect(kinds(twins, all)).toEqual(["forked"]);
  expect(kinds([call(1, counted(1), 0), call(1, counted(1, "l2"), 0, "i")], all)).toEqual([]);
});

test("a value that is smaller than one that was told before it was sent shows a state that went back", () => {
  expect(kinds([call(1, counted(5)), call(2, counted(4))], final([[1, 2]]))).toEqual(["rolled back"]);
  // At once: either order is right.
  expect(kinds([call(1, counted(2), 10), call(2, counted(1), 11)], final([[1, 2]]))).toEqual([]);
});

test("a count that is not the number of increments in it is told", () => {
  expect(kinds(three, { ...final([[1, 3]]), count: 4 })).toEqual(["forked"]);
});
