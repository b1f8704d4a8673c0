import { expect, test } from "bun:test";
import { socketEcho } from "./measures/socket-echo.ts";
import { medianOf, percentileOf } from "./pace.ts";
import { tableOf } from "./table.ts";

test("a measure runs, and every figure of it is a line of the table", async () => {
  const figures = await socketEcho.run({ rounds: 1, seconds: 0.02 });
  // How fast anything is depends on the machine, and is never asserted.
  for (const { ours, reference, ratio } of figures) {
    expect(Math.min(ours, reference, ratio.median)).toBeGreaterThan(0);
  }
  expect(tableOf(figures).split("\n")).toHaveLength(figures.length + 2);
});

test("the median of an even number of values lies between the middle two", () => {
  expect([medianOf([3, 1, 2]), medianOf([4, 1, 3, 2]), medianOf([7])]).toEqual([2, 2.5, 7]);
});

test("a percentile is one of the values, and leaves no more than the rest above it", () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index);
  expect([percentileOf(values, 0.99), percentileOf([7], 0.99), percentileOf([1, 2], 0.5)]).toEqual([
    198, 7, 1,
  ]);
});
