import { expect, test } from "bun:test";
import fc from "fast-check";
import { jsonForm } from "../../infra/lib/json-form.ts";

test("what JSON can hold is as it was", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      // Members of one object are met once only here: fast-check shares none.
      expect(JSON.stringify(jsonForm(value))).toBe(JSON.stringify(value));
    }),
  );
});

test("anything at all becomes JSON that can be read again", () => {
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
  });
  fc.assert(
    fc.property(anything, (value) => {
      const text = JSON.stringify(jsonForm(value));
      if (value !== undefined) expect(JSON.parse(text)).toBeDefined();
    }),
  );
});

test("a cycle, also through a Map or a Set, is told by the path of what it comes back to", () => {
  const inner = new Map<string, unknown>();
  const value = { list: [1, new Set<unknown>([inner])] };
  inner.set("up", value);
  inner.set("self", inner);
  expect(jsonForm(value)).toEqual({
    list: [
      1,
      {
        Set: [
          {
            Map: [
              ["up", { Reference: "$" }],
              ["self", { Reference: "$.list[1][0]" }],
            ],
          },
        ],
      },
    ],
  });
});

test("objects that share their members do not grow", () => {
  let value: unknown = "leaf";
  for (let depth = 0; depth < 60; depth += 1) value = [value, value];
  expect(JSON.stringify(jsonForm(value)).length).toBeLessThan(20_000);
});

test("what is nested too deep is cut", () => {
  let value: unknown = "leaf";
  for (let depth = 0; depth < 100_000; depth += 1) value = { value };
  expect(JSON.stringify(jsonForm(value))).toContain('{"Cut":"nested deeper than 200"}');
});

test("names that mean something to JavaScript are names", () => {
  const value = JSON.parse('{"__proto__":{"polluted":1},"toJSON":"text","constructor":2}');
  expect(JSON.stringify(jsonForm(value))).toBe(
    '{"__proto__":{"polluted":1},"toJSON":"text","constructor":2}',
  );
  expect(JSON.stringify(jsonForm({ toJSON: () => "gone" }))).toBe('{"toJSON":{"Function":"toJSON"}}');
});

test("each type is named", () => {
  class Point {
    x = 1;
  }
  const forms: readonly (readonly [unknown, unknown])[] = [
    [12n, { BigInt: "12" }],
    [Number.POSITIVE_INFINITY, { Number: "Infinity" }],
    [new Date(Number.NaN), { Date: "invalid" }],
    [/a/gi, { RegExp: "/a/gi" }],
    [new TypeError("no"), { Error: { name: "TypeError", message: "no" } }],
    [new Uint16Array([1]), { Uint16Array: "AQA=" }],
    [new ArrayBuffer(1), { ArrayBuffer: "AA==" }],
    [new DataView(new ArrayBuffer(1)), { DataView: "AA==" }],
    [Symbol("s"), { Symbol: "s" }],
    [new Point(), { x: 1 }],
    [[undefined], [null]],
    [undefined, undefined],
  ];
  for (const [value, form] of forms) expect(jsonForm(value)).toEqual(form);
});
