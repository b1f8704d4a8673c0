import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { followMovesPerMinute, MoveBudget } from "../../infra/placement/move-budget.ts";

const minuteMs = 60_000;

/** When moves began, of those that wanted to begin at these times. */
function begun(budget: MoveBudget, times: Iterable<number>): number[] {
  return [...times].filter((nowMs) => budget.take(nowMs));
}

function largestInAMinute(times: readonly number[]): number {
  return Math.max(
    0,
    ...times.map((from) => times.filter((time) => time >= from && time < from + minuteMs).length),
  );
}

function* everyMs(stepMs: number, untilMs: number): Generator<number> {
  for (let nowMs = 0; nowMs < untilMs; nowMs += stepMs) yield nowMs;
}

describe("P15 never a storm", () => {
  for (const perMinute of [1, 2, followMovesPerMinute, 60]) {
    test(`P15 ten thousand that want to move: ${perMinute} in the first minute, then no more`, () => {
      const times = begun(new MoveBudget(perMinute, 0), everyMs(10, 10 * minuteMs));
      expect(largestInAMinute(times)).toBe(perMinute);
      expect(times.length).toBeWithin((10 * perMinute * 5) / 6, 10 * perMinute + 1);
    });
  }

  test("P15 only a part of a minute's moves at once, also after a long rest", () => {
    const budget = new MoveBudget(30, 0);
    expect(begun(budget, Array(100).fill(0))).toHaveLength(5);
    expect(begun(budget, Array(100).fill(60 * minuteMs))).toHaveLength(5);
  });

  test("P15 says how long to wait, and that is right", () => {
    const budget = new MoveBudget(30, 0);
    expect(budget.waitMs(0)).toBe(0);
    while (budget.take(0)) expect(budget.waitMs(0)).toBeGreaterThanOrEqual(0);
    const waitMs = budget.waitMs(0);
    expect(waitMs).toBeCloseTo(minuteMs / 26, 6);
    expect(budget.take(waitMs - 1)).toBe(false);
    expect(budget.take(waitMs + 0.001)).toBe(true);
  });

  test("P15 no budget moves nothing, ever", () => {
    for (const none of [0, 0.9, -5, Number.NaN]) {
      const budget = new MoveBudget(none, 0);
      expect(begun(budget, everyMs(1000, 10 * minuteMs))).toEqual([]);
      expect(budget.waitMs(minuteMs)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("P15 in no minute more than the budget, however they come, also when time goes back", () => {
    const anyTimes = fc.array(fc.oneof(fc.nat(30), fc.nat(5000), fc.integer({ min: -2000, max: 90_000 })), {
      maxLength: 300,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), anyTimes, (perMinute, waits) => {
        let nowMs = 0;
        let latestMs = 0;
        const budget = new MoveBudget(perMinute, 0);
        const moved: number[] = [];
        for (const waitMs of waits) {
          nowMs += waitMs;
          latestMs = Math.max(latestMs, nowMs);
          // What counts is the time that has passed, and a clock that goes back has not passed any.
          if (budget.take(nowMs)) moved.push(latestMs);
        }
        expect(largestInAMinute(moved)).toBeLessThanOrEqual(perMinute);
      }),
    );
  });
});
