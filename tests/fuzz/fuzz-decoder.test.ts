import { expect, test } from "bun:test";
import { SeededRandom } from "../support/seeded-random.ts";
import { fuzzDecoder, type Target } from "./fuzz-decoder.ts";
import { WhatAllInherit } from "./what-all-inherit.ts";

/** One that takes whatever is thrown for a refusal. */
const lenient: Target = { name: "lenient", valid: () => "{}", read: () => ({}), refuses: () => true };

function failuresOf(more: Partial<Target>): string[] {
  const { failures } = fuzzDecoder({ ...lenient, ...more }, new SeededRandom(1), (inputs) => inputs >= 60);
  return failures.map(({ what }) => what.split("\n", 1)[0] ?? "");
}

test("a target that reads everything well is content", () => expect(failuresOf({})).toEqual([]));

test("what is left behind is a failure, also where the target would take it for a refusal", () => {
  let reads = 0;
  const read = () => {
    reads += 1;
  };
  const check = () => {
    if (reads > 55) throw new Error("something is left");
  };
  expect(failuresOf({ read, check })).toEqual(["Error: something is left"]);
});

test("so is a value that inherits from what came with it", () => {
  const read = () => [Object.create({ admin: true })];
  expect(failuresOf({ read })[0]).toBe("What was read inherits from something that came with it.");
});

test("what was read may refer to itself, again and again", () => {
  const all: unknown[] = [];
  for (let count = 0; count < 50; count += 1)
    all.push(
      all,
      Array.from({ length: 50 }, () => all),
    );
  expect(failuresOf({ read: () => all })).toEqual([]);
});

test.each(
  [Object, Array, String, Function, Map, Set, Promise].map((one) => [one.name, one.prototype] as const),
)("so is something that is added to what every %s inherits, or replaced there", (name, prototype) => {
  const before = new WhatAllInherit();
  const { toString: original } = prototype;
  try {
    Reflect.set(prototype, "polluted", 1);
    expect(failuresOf({})).toContain(`${name}.prototype.polluted has changed by then.`);
    Reflect.deleteProperty(prototype, "polluted");
    if (Object.hasOwn(prototype, "toString")) Reflect.set(prototype, "toString", () => "another");
    const isReplaced = Object.hasOwn(prototype, "toString");
    expect(before.changes()).toEqual(isReplaced ? [`${name}.prototype.toString`] : []);
  } finally {
    Reflect.deleteProperty(prototype, "polluted");
    if (Object.hasOwn(prototype, "toString")) Reflect.set(prototype, "toString", original);
  }
  expect(before.changes()).toEqual([]);
});

test("and something that is added to what every function sees", () => {
  Reflect.set(globalThis, "polluted", 1);
  try {
    expect(failuresOf({})).toContain("globalThis.polluted has changed by then.");
  } finally {
    Reflect.deleteProperty(globalThis, "polluted");
  }
});
