import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkRecord,
  decodeRecord,
  decodeValue,
  encodeRecord,
  encodeValue,
  NotCloneableError,
} from "../../infra/storage/storage-codec.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const bytesMax = 10_000_000;
const again = (value: unknown) => decodeValue(encodeValue(value, "The value", bytesMax));

/** Whatever JSON cannot say, nested; without what the documentation excepts. */
const leaf = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.integer(),
  fc.double().map((number) => (Object.is(number, -0) ? 0 : number)),
  fc.bigInt(),
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array(),
  fc.float32Array(),
  fc.bigInt64Array(),
);
/** Sets and keys of maps: objects in their place would be compared by what they are, and not by what they hold. */
const primitive = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.integer(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
);
const name = fc
  .oneof(
    fc.constantFrom(
      "a",
      "b",
      "c",
      "constructor",
      "toString",
      "hasOwnProperty",
      "toJSON",
      "then",
      "length",
      "1",
      "",
    ),
    fc.string({ unit: "grapheme" }),
  )
  .filter((text) => text !== "__proto__" && text !== "__keys__"); // both are refused
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie("tree"), { maxLength: 5 }),
    fc.dictionary(name, tie("tree"), { maxKeys: 6, noNullPrototype: true }),
    fc.array(primitive, { maxLength: 4 }).map((items) => new Set(items)),
    fc.array(fc.tuple(primitive, tie("tree")), { maxLength: 4 }).map((entries) => new Map(entries)),
  ),
}));

describe(`values, SEED=${seed}`, () => {
  test("come back as the structured clone algorithm would have copied them", () => {
    fc.assert(
      fc.property(tree, (value) => {
        expect(again(value)).toStrictEqual(structuredClone(value));
      }),
      { seed, numRuns: 1_000 },
    );
  });

  test("in any order, with any other before them: each is readable by itself", () => {
    fc.assert(
      fc.property(fc.array(tree, { maxLength: 5 }), (values) => {
        const encoded = values.map((value) => encodeValue(value, "The value", bytesMax));
        const decoded = encoded.toReversed().map(decodeValue).toReversed();
        expect(decoded).toStrictEqual(structuredClone(values));
      }),
      { seed, numRuns: 300 },
    );
  });

  test("that have changed have other bytes, and those that have not have the same", () => {
    fc.assert(
      fc.property(tree, fc.integer(), (value, n) => {
        const state = { value, n };
        const before = new Uint8Array(encodeRecord({ version: 1, state }));
        expect(Buffer.compare(encodeRecord({ version: 1, state }), before)).toBe(0);
        state.n += 1;
        expect(Buffer.compare(encodeRecord({ version: 1, state }), before)).not.toBe(0);
      }),
      { seed, numRuns: 300 },
    );
  });
});

test("what is large, or has many shapes, comes back", () => {
  const shapes = Array.from({ length: 5_000 }, (_, index) => ({
    [`s${index}`]: { [`t${index % 70}`]: index },
  }));
  const large = Object.fromEntries(Array.from({ length: 70_000 }, (_, index) => [`k${index}`, index]));
  const map = new Map(Array.from({ length: 70_000 }, (_, index) => [index, { [`s${index % 50}`]: index }]));
  for (const value of [[...shapes, ...shapes], large, map])
    expect(Bun.deepEquals(again(value), value, true)).toBe(true);
});

test("a value that is made of a few others over and over is kept in the time that those take", () => {
  let value: unknown = { leaf: 1 };
  const levels = 30; // 2 ** 30 ways lead to the leaf
  for (let level = 0; level < levels; level += 1)
    value = level % 2 ? [value, value] : { one: value, other: value };
  const record = { version: 1, state: { value } };
  const startMs = performance.now();
  const bytes = encodeValue(value, "it", 1_000_000);
  expect(encodeRecord(record).length).toBeGreaterThan(levels);
  expect(performance.now() - startMs).toBeLessThan(5_000);
  let part = decodeValue(bytes);
  for (let level = levels - 1; level >= 0; level -= 1) {
    const [one, other] = Object.values(part as object); // as it was made
    expect(one).toBe(other);
    part = one;
  }
  expect(part).toEqual({ leaf: 1 });
});

test("an error keeps its name, message and cause", () => {
  const copy = again(new TypeError("wrong")) as Error; // it is what was encoded
  expect([copy instanceof TypeError, copy.name, copy.message]).toEqual([true, "TypeError", "wrong"]);
});

test("a class that extends Map or Set comes back as one", () => {
  class Scores extends Map<string, number> {}
  class Tags extends Set<string> {}
  expect(again([new Scores([["a", 1]]), new Tags(["x"])])).toEqual([new Map([["a", 1]]), new Set(["x"])]);
});

test("bytes that share a buffer come back as bytes, and what is decoded pins nothing larger", () => {
  const buffer = new Uint8Array(1_000).buffer;
  const copy = again(new Uint8Array(buffer, 0, 2)) as Uint8Array; // it is what was encoded
  expect(copy.buffer.byteLength).toBeLessThan(100);
  expect(encodeValue(1, "The value", bytesMax).buffer.byteLength).toBe(1);
});

test.each<[string, unknown]>([
  ["a function", () => 1],
  ["a symbol", Symbol("s")],
  ["a promise", Promise.resolve()],
  ["a WeakMap", new WeakMap()],
  ["a boxed number", Object(1)],
  ["a boxed text", Object("a")],
  ["a boxed boolean", Object(false)],
  ["a blob", new Blob([])],
  ["numbers of 16 bits", new Float16Array([1.5])],
  ["a name that the format has taken", [{ a: 1, __keys__: 2 }, { a: 1 }]],
  ["the name __proto__", JSON.parse('{"a":{"__proto__":1}}')],
])("%s is refused, wherever it stands", (_what, value) => {
  for (const put of [value, [value], { deep: { er: value } }, new Map([[1, value]]), new Set([value])])
    expect(() => encodeValue(put, "The value", bytesMax)).toThrow(NotCloneableError);
});

test("those names are refused as fields only", () => {
  const texts = {
    names: ["__keys__", "__proto__"],
    map: new Map([["__keys__", "__proto__"]]),
    bytes: Buffer.from("__keys__"),
  };
  expect(again(texts)).toEqual({ ...texts, bytes: new Uint8Array(Buffer.from("__keys__")) });
});

test("a value over its limit is refused with its name and size", () => {
  expect(() => encodeValue("x".repeat(20), 'The value of "a"', 10)).toThrow(
    expect.objectContaining({
      code: "storage_limit",
      message: expect.stringContaining('The value of "a" takes 2'),
    }),
  );
});

test("a record keeps version and state, and a state that is not what would come back is refused", () => {
  expect(decodeRecord(encodeRecord({ version: 7, state: { a: [1] } }))).toEqual({
    version: 7,
    state: { a: [1] },
  });
  expect(decodeRecord(encodeRecord({ version: 7 }))).toEqual({ version: 7 });
  for (const odd of [Promise.resolve(1), new WeakMap(), new Request("http://client.example")]) {
    const record = { version: 1, state: { odd } };
    encodeRecord(record);
    expect(() => checkRecord(record)).toThrow(NotCloneableError);
  }
});

/** Its packer finds what it knows of fields by their names, and once went on from there to what all arrays inherit. */
test("S9 no names of fields, in whatever order, are a way to what all values inherit", () => {
  const names = ["__keys__", "__proto__", "constructor", "prototype", "polluted"];
  const before = [Object, Array, Function, Map].map((one) => Reflect.ownKeys(one.prototype).length);
  const objects = names.flatMap((a) =>
    names.flatMap((b) => names.map((c) => `{"a":1,"${a}":2,"${b}":3,"${c}":4}`)),
  );
  for (const json of objects) {
    for (const value of [
      JSON.parse(json),
      new Error("e", { cause: JSON.parse(json) }),
      new Map([[1, JSON.parse(json)]]),
    ]) {
      for (const encode of [
        () => encodeValue(value, "It", bytesMax),
        () => encodeRecord({ version: 1, state: value }),
      ]) {
        encodeValue({ a: 1 }, "It", bytesMax); // so that the packer has a note of its own there
        try {
          encode();
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(NotCloneableError);
        }
      }
    }
  }
  const after = [Object, Array, Function, Map].map((one) => Reflect.ownKeys(one.prototype).length);
  for (const one of [Object, Array]) Reflect.deleteProperty(one.prototype, "polluted"); // for those tests that follow
  expect(after).toEqual(before);
});

/** A host encodes the values of all its objects: what one of them sends must not spoil those of the others. */
test("a value that is refused has no consequences for those that follow", () => {
  const odd = [{ a: 1, __keys__: 2 }, { a: 1 }];
  const fails = { a: 1, __keys__: [], b: Symbol("s") };
  const ordinary = [{ a: 1 }, { a: 1, b: 2 }, { a: { a: 1 } }];
  for (const spoil of [
    () => encodeValue(odd, "The value", bytesMax),
    () => encodeValue(fails, "The value", bytesMax),
    () => encodeRecord({ version: 1, state: odd }),
    () => encodeRecord({ version: 1, state: fails }),
    () => encodeValue({ text: "__keys__" }, "The value", bytesMax),
  ]) {
    try {
      spoil();
    } catch {
      // what the test is about is what comes afterwards
    }
    expect(again(ordinary)).toEqual(ordinary);
    expect(decodeRecord(encodeRecord({ version: 2, state: { a: 1 } }))).toEqual({
      version: 2,
      state: { a: 1 },
    });
  }
});

/** Bytes of the first release: they must stay readable, whatever becomes of the library. */
test("what was stored once is read for ever", () => {
  const value = {
    name: "a",
    set: new Set([1]),
    when: new Date(5),
    big: 2n ** 70n,
    map: new Map([["k", [1, 2]]]),
  };
  expect(decodeValue(Buffer.from(firstRelease, "hex"))).toEqual(value);
  expect(Buffer.from(encodeValue(value, "The value", bytesMax)).toString("hex")).toBe(firstRelease);
});

const firstRelease =
  "d4724095a46e616d65a3736574a47768656ea3626967a36d6170a161d473009101d7ff01312d0000000000d8420000000000000040000000000000000081a16b920102";
