import { describe, expect, test } from "bun:test";
import type { CounterInput, RegisterInput } from "../support/sequential-models.ts";
import { longestSilence, unavailability } from "./availability.ts";
import { checkCalls } from "./calls-check.ts";
import type { Call, CallOutcome } from "./operations.ts";

let made = 0;

function call(
  object: string,
  input: Call["input"],
  [calledAtMs, endedAtMs]: readonly [number, number],
  outcome: CallOutcome,
): Call {
  made += 1;
  return { object, edge: 0, label: `iad#${made}`, input, calledAtMs, endedAtMs, outcome };
}

const add = (span: readonly [number, number], outcome: CallOutcome) =>
  count(span, outcome, { kind: "add", by: 1 });
const read = (span: readonly [number, number], value: number) => count(span, ok(value), { kind: "read" });
const count = (span: readonly [number, number], outcome: CallOutcome, input: CounterInput) =>
  call("cell/a", { of: "count", input }, span, outcome);
const text = (span: readonly [number, number], value: string, input: RegisterInput) =>
  call("cell/a", { of: "text", input }, span, ok(value));
const inLife = (life: string, span: readonly [number, number], value: number) =>
  call("copy/a", { of: "count", input: { kind: "add", by: 1 } }, span, { ...ok(value), life });
const ok = (value: number | string) => ({ kind: "ok" as const, value, owner: "iad-1" });

const kindsIn = (...calls: readonly Call[]) => checkCalls(calls).offences.map(({ kind }) => kind);

describe("calls of a durable object", () => {
  test("number and text are two histories of one object, and both are right", () => {
    const found = checkCalls([
      add([0, 10], ok(1)),
      text([1, 11], "b", { kind: "write", value: "b" }),
      text([20, 21], "b", { kind: "swap", from: "b", to: "c" }),
      read([22, 23], 1),
      text([22, 24], "c", { kind: "read" }),
    ]);
    expect([found.offences, found.histories, found.undecided]).toEqual([[], 2, 0]);
  });

  test("an increment that was acknowledged and is gone", () => {
    expect(kindsIn(add([0, 10], ok(1)), read([20, 21], 0))).toEqual(["contradiction"]);
  });

  test("an increment that was refused, and counted", () => {
    expect(kindsIn(add([0, 10], { kind: "failed", code: "session_over" }), read([20, 21], 1))).toEqual([
      "contradiction",
    ]);
  });

  test("one whose outcome nobody knows counts late, or never, and once", () => {
    const lost = add([0, 10], { kind: "unknown", code: "timed out" });
    expect(kindsIn(lost, read([20, 21], 0), read([30, 31], 1))).toEqual([]);
    expect(kindsIn(lost, read([20, 21], 0))).toEqual([]);
    expect(kindsIn(lost, read([20, 21], 2))).toEqual(["contradiction"]);
  });

  test("what is told of a contradiction names the call, and what came before it", () => {
    const [offence] = checkCalls([add([0, 10], ok(1)), { ...read([20, 21], 7), label: "nrt#9" }]).offences;
    expect(offence?.client).toBe("cell/a/count");
    expect(offence?.text).toContain('nrt#9 {"kind":"read"} = 7 (20 to 21 ms)');
    expect(offence?.text).toContain("then it is 1");
  });
});

describe("lives of an object in memory", () => {
  test("one after the other, each from the beginning", () => {
    expect(
      kindsIn(inLife("one", [0, 10], 1), inLife("one", [11, 20], 2), inLife("two", [30, 40], 1)),
    ).toEqual([]);
  });

  test("an answer of the first that arrives after the second has answered was on its way", () => {
    expect(kindsIn(inLife("one", [0, 50], 1), inLife("two", [20, 30], 1))).toEqual([]);
  });

  test("two that answer in turns were alive at the same time", () => {
    const turns = [inLife("one", [0, 10], 1), inLife("two", [20, 30], 1), inLife("one", [40, 50], 2)];
    expect(kindsIn(...turns)).toEqual(["two copies"]);
  });

  test("one life that makes a number twice is two copies that share a past", () => {
    expect(kindsIn(inLife("one", [0, 10], 1), inLife("one", [20, 30], 1))).toEqual(["contradiction"]);
  });

  test("an increment that nobody answered may have been the last of a life that is over", () => {
    const lost = call("copy/a", { of: "count", input: { kind: "add", by: 1 } }, [11, 12], {
      kind: "unknown",
      code: "timed out",
    });
    expect(kindsIn(inLife("one", [0, 10], 1), lost, inLife("two", [30, 40], 1))).toEqual([]);
    expect(kindsIn(inLife("one", [0, 10], 1), lost, inLife("one", [30, 40], 3))).toEqual([]);
  });
});

describe("how long nobody was answered", () => {
  test("is the longest silence that touches the fault", () => {
    expect(longestSilence([0, 90, 150, 400, 450], { fromMs: 100, toMs: 500 })).toBe(250);
    expect(longestSilence([0, 90], { fromMs: 100, toMs: 500 })).toBe(400);
    expect(longestSilence([120, 700], { fromMs: 100, toMs: 500 })).toBe(380);
  });

  test("is told for objects wherever they are served, and for edges to which nothing was done", () => {
    const at = (edge: number, endedAtMs: number) => ({ ...read([endedAtMs - 1, endedAtMs], 0), edge });
    const windows = [{ fault: "kill-host", fromMs: 0, toMs: 1_000, struck: new Set([1]) }];
    const calls = [at(0, 100), at(0, 900), at(0, 1_000), at(1, 500), at(1, 1_000)];
    expect(unavailability([{ calls, windows }])).toEqual([
      {
        fault: "kill-host",
        times: 1,
        objects: { median: 400, worst: 400 },
        edges: { median: 800, worst: 800 },
      },
    ]);
  });
});
