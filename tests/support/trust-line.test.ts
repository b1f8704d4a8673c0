import { expect, test } from "bun:test";
import { trustLine } from "./trust-line.ts";

test("figures are one line: numbers as people write them, kinds with their sum, the most frequent first", () => {
  const figures = { runs: 1_020, faults: { cut: 2, move: 40 }, violations: {}, seconds: 0.25, of: "two" };
  expect(trustLine("a test", figures)).toBe(
    "trust: a test: runs 1,020; faults 42 (move 40, cut 2); violations 0; seconds 0.3; of two",
  );
});
