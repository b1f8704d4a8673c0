import { expect, test } from "bun:test";
import { namesOption, numberOption, seedOption, wholeNumberOption } from "./command-options.ts";

test("numbers are taken within their bounds", () => {
  expect(numberOption("--minutes", "0.5", { max: 10 })).toBe(0.5);
  expect(wholeNumberOption("--runs", "0")).toBe(0);
  expect(wholeNumberOption("--runs", "100", { min: 1, max: 100 })).toBe(100);
  expect(seedOption("The seed", "4294967295")).toBe(4_294_967_295);
  expect(seedOption("The seed", undefined)).toBeGreaterThanOrEqual(0);
});

test.each(["", " ", "x", "1x", "-1", "101", "NaN", "Infinity"])(
  "%j is none of them, which names the option",
  (text) => {
    expect(() => numberOption("--minutes", text, { max: 100 })).toThrow(
      `--minutes is "${text}"; it must be a number from 0 to 100.`,
    );
    expect(() => wholeNumberOption("--runs", text, { max: 100 })).toThrow("--runs");
  },
);

test("a whole number has no fraction", () => {
  expect(() => wholeNumberOption("--runs", "1.5")).toThrow(
    '--runs is "1.5"; it must be a whole number of 0 or more.',
  );
});

test("a list names what is known, or nothing is left out", () => {
  const known = ["kill", "freeze"] as const;
  expect(namesOption("--faults", undefined, known)).toEqual(known);
  expect(namesOption("--faults", "freeze", known)).toEqual(["freeze"]);
  expect(() => namesOption("--faults", "freeze,rain", known)).toThrow(
    '--faults has "rain", which is none of kill, freeze.',
  );
});
