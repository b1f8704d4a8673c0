import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkKey, compareKeys, endOfPrefix, keyAfter } from "../../infra/storage/storage-key.ts";
import { keyBytesMax } from "../../infra/storage/storage-limits.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const bytesOf = (text: string) => Buffer.from(text, "utf8");
const edges = [
  "\u0001",
  "\u007f",
  "\u0080",
  "\u07ff",
  "\u0800",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "\u{10000}",
  "\u{10ffff}",
];
/** Text that often shares a beginning, and often has what lies at the edges of an encoding. */
const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom("a", "b", ...edges),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  ),
  maxLength: 6,
});
const check = <Values extends [unknown, ...unknown[]]>(property: fc.IProperty<Values>) =>
  fc.assert(property, { seed, numRuns: 2_000 });

describe(`keys, SEED=${seed}`, () => {
  test("are compared as the bytes of their UTF-8 are", () => {
    check(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(bytesOf(a), bytesOf(b)));
      }),
    );
  });

  test("of one prefix lie between it and its end, and no others do", () => {
    check(
      fc.property(text, text, (prefix, key) => {
        const end = endOfPrefix(prefix);
        const isBetween = compareKeys(key, prefix) >= 0 && (end === undefined || compareKeys(key, end) < 0);
        expect(isBetween).toBe(key.startsWith(prefix));
      }),
    );
  });

  test("are behind their prefix, however far they go on", () => {
    check(
      fc.property(text, text, (prefix, rest) => {
        const end = endOfPrefix(prefix);
        if (end !== undefined) expect(compareKeys(prefix + rest, end)).toBeLessThan(0);
      }),
    );
  });

  test("have a next one, with no key between the two", () => {
    check(
      fc.property(text, text, (key, other) => {
        if (other.includes("\0") || key.includes("\0")) return;
        expect(compareKeys(key, keyAfter(key))).toBeLessThan(0);
        expect(compareKeys(other, key) > 0).toBe(compareKeys(other, keyAfter(key)) >= 0);
      }),
    );
  });
});

test.each<[string, string | undefined]>([
  ["", undefined],
  ["a", "b"],
  ["a\uffff", "a\u{10000}"],
  ["\ud7ff", "\ue000"],
  ["a\u{10ffff}", "b"],
  ["\u{10ffff}\u{10ffff}", undefined],
])("the end of the prefix %j is %j", (prefix, end) => {
  expect(endOfPrefix(prefix)).toBe(end);
});

test.each<[string, unknown]>([
  ["nothing", undefined],
  ["a number", 1],
  ["an object with a text", Object("a")],
  ["an empty text", ""],
  ["U+0000", "a\0"],
  ["a lone surrogate", "a\udc00"],
  ["surrogates in the wrong order", "\udc00\ud800"],
])("%s is no key", (_what, key) => {
  expect(() => checkKey(key)).toThrow(expect.objectContaining({ code: "bad_request" }));
});

test("a key's limit counts the bytes of its UTF-8", () => {
  for (const [letter, bytes] of [
    ["a", 1],
    ["é", 2],
    ["\uffff", 3],
    ["\u{10000}", 4],
  ] as const) {
    const most = Math.floor(keyBytesMax / bytes);
    expect(checkKey(letter.repeat(most))).toBeUndefined();
    expect(() => checkKey(letter.repeat(most + 1))).toThrow(
      expect.objectContaining({ code: "storage_limit" }),
    );
  }
});
