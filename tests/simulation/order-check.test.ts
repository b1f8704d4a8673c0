import { describe, expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import type { Operation, Question } from "./checks/history.ts";
import { judgeOrder } from "./checks/order-check.ts";

const key = "ledger/a";

function answered(
  question: Question,
  [invokedAtMs, returnedAtMs]: readonly [number, number],
  total: number,
  exchanged?: boolean,
): Operation {
  const outcome = { kind: "answered", total, ...(exchanged !== undefined && { exchanged }) } as const;
  return { key, question, invokedAtMs, returnedAtMs, outcome };
}

function unknown(question: Question, invokedAtMs: number): Operation {
  return { key, question, invokedAtMs, returnedAtMs: Number.POSITIVE_INFINITY, outcome: { kind: "unknown" } };
}

const read: Question = { kind: "read" };
const add = (by: number): Question => ({ kind: "add", op: `op${by}`, by });
const exchange = (expected: number, next: number): Question => ({
  kind: "exchange",
  op: "x",
  expected,
  next,
});

describe("histories that are right", () => {
  const histories: Record<string, Operation[]> = {
    "one after the other": [answered(add(3), [0, 1], 3), answered(read, [2, 3], 3)],
    "two at once, either way round": [
      answered(add(3), [0, 9], 8),
      answered(add(5), [1, 8], 5),
      answered(read, [2, 7], 5),
    ],
    "a read that began before the change it does not see": [
      answered(add(3), [0, 5], 3),
      answered(read, [1, 9], 0),
    ],
    "an unknown one that happened later": [
      unknown(add(3), 0),
      answered(read, [5, 6], 0),
      answered(read, [7, 8], 3),
    ],
    "an unknown one that never happened": [
      unknown(add(3), 0),
      answered(read, [5, 6], 0),
      answered(add(4), [7, 8], 4),
    ],
    "an exchange that did not fit": [answered(add(3), [0, 1], 3), answered(exchange(2, 9), [2, 3], 3, false)],
    "an exchange that did": [answered(exchange(0, 9), [0, 1], 9, true), answered(read, [2, 3], 9)],
  };
  for (const [name, history] of Object.entries(histories))
    test(name, () => expect(judgeOrder(history).kind).toBe("linearizable"));
});

describe("histories that are wrong", () => {
  const histories: Record<string, Operation[]> = {
    "a change that is lost": [answered(add(3), [0, 1], 3), answered(read, [2, 3], 0)],
    "a change that is there twice": [answered(add(3), [0, 1], 3), answered(read, [2, 3], 6)],
    "a change that comes and goes": [
      unknown(add(3), 0),
      answered(read, [1, 2], 3),
      answered(read, [3, 4], 0),
    ],
    "a stale read": [answered(add(3), [0, 1], 3), answered(add(4), [2, 3], 7), answered(read, [4, 5], 3)],
    "two copies that count on their own": [answered(add(3), [0, 1], 3), answered(add(4), [2, 3], 4)],
    "both of two exchanges from the same value": [
      answered(exchange(0, 5), [0, 9], 5, true),
      answered(exchange(0, 7), [0, 9], 7, true),
    ],
    "an answer from before the question": [answered(read, [0, 1], 3), answered(add(3), [2, 3], 3)],
    "an unknown change seen before it was asked for": [answered(read, [0, 1], 3), unknown(add(3), 2)],
  };
  for (const [name, history] of Object.entries(histories))
    test(name, () => expect(judgeOrder(history).kind).toBe("violated"));
});

test("what was refused, and a read that nobody was told of, are no part of it", () => {
  const refused = { ...unknown(add(3), 0), outcome: { kind: "refused" } } as const;
  expect(judgeOrder([refused, unknown(read, 1), answered(read, [5, 6], 0)]).kind).toBe("linearizable");
  expect(judgeOrder([refused, answered(read, [5, 6], 3)]).kind).toBe("violated");
});

test("the answer that no order explains is told", () => {
  const history = [answered(add(3), [0, 1], 3), answered(read, [2, 3], 7), answered(add(4), [4, 5], 7)];
  const verdict = judgeOrder(history);
  expect(verdict.kind === "violated" && verdict.what).toContain(
    '{"kind":"read"}, asked at 2 and answered {"total":7} at 3',
  );
});

const seed = seedFrom("LINEARIZABLE_SEED");

test(`whatever one sum answers is right, and with one answer changed it is not (LINEARIZABLE_SEED=${seed})`, () => {
  const random = new SeededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const history = historyOf(random);
    expect(judgeOrder(history).kind).toBe("linearizable");
    const index = history.findIndex(({ outcome }) => outcome.kind === "answered");
    if (index < 0) continue;
    // By something that no sum of what is added comes to.
    const wrong = history.map((operation, at) =>
      at === index && operation.outcome.kind === "answered"
        ? { ...operation, outcome: { ...operation.outcome, total: operation.outcome.total + 0.5 } }
        : operation,
    );
    expect(judgeOrder(wrong).kind).toBe("violated");
  }
});

/** What clients of one sum are told who ask at random, and sometimes hear nothing. */
function historyOf(random: SeededRandom): Operation[] {
  let total = 0;
  const operations: Operation[] = [];
  for (let atMs = 0; atMs < 40; atMs += 1) {
    // It happens at this very ms; it was asked for before, and is answered later.
    const times = [atMs - 5 * random.next(), atMs + 5 * random.next()] as const;
    const question = random.pick([
      read,
      add(random.between(1, 1_000_000)),
      exchange(total, random.between(1, 1000)),
    ]);
    const isLost = random.isLucky(0.15);
    if (isLost && random.isLucky(0.5)) {
      operations.push(unknown(question, times[0])); // and never happened
      continue;
    }
    if (question.kind === "add") total += question.by;
    if (question.kind === "exchange") total = question.next;
    const exchanged = question.kind === "exchange" ? true : undefined;
    operations.push(isLost ? unknown(question, times[0]) : answered(question, times, total, exchanged));
  }
  return operations;
}
