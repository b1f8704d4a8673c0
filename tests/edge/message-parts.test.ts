import { expect, test } from "bun:test";
import fc from "fast-check";
import { Assembly, assembledLengthMax, partLengthMax, partsOf } from "../../infra/edge/message-parts.ts";

function again(payload: string | Uint8Array): string | Uint8Array {
  const { leading, last } = partsOf(payload);
  const assembly = new Assembly();
  for (const part of leading) {
    expect(part.length).toBeLessThanOrEqual(partLengthMax);
    // A part must survive UTF-8 by itself.
    if (typeof part === "string") expect(part.isWellFormed()).toBe(true);
    assembly.add(part);
  }
  const whole = assembly.whole(last);
  expect(assembly.whole("next")).toBe("next");
  return typeof whole === "string" ? whole : new Uint8Array(whole);
}

test("a message is the same after it was taken apart, whatever stands at the cuts", () => {
  for (const before of [0, 1, 2, partLengthMax - 2, partLengthMax - 1, partLengthMax])
    for (const repeats of [0, 1, 3, partLengthMax]) {
      const text = "x".repeat(before) + "😀".repeat(repeats);
      expect(again(text) === text).toBe(true);
    }
  for (const length of [0, 1, partLengthMax, partLengthMax + 1, 2 * partLengthMax, 2 * partLengthMax + 1]) {
    const bytes = new Uint8Array(length).map((_, index) => index % 251);
    const whole = again(bytes);
    expect(whole instanceof Uint8Array && Buffer.compare(whole, bytes)).toBe(0);
  }
});

test("a short message is one part, the very same", () => {
  fc.assert(fc.property(fc.string(), (text) => expect(partsOf(text)).toEqual({ leading: [], last: text })));
});

test("neither end makes more of it than may be", () => {
  expect(() => partsOf("x".repeat(assembledLengthMax + 1))).toThrow("bytes at most");
  const assembly = new Assembly();
  const part = "x".repeat(assembledLengthMax / 2);
  assembly.add(part);
  assembly.add(part);
  expect(() => assembly.add("x")).toThrow("bytes at most");
});
