import { describe, expect, test } from "bun:test";
import { sizeOf } from "../../infra/host/value-size.ts";

const mebibyte = 1024 * 1024;

function times<Item>(length: number, make: (index: number) => Item): Item[] {
  return Array.from({ length }, (_, index) => make(index));
}

test("H21: the size of a value is an estimate, within a factor of 2.5 of what the engine's heap grows by", async () => {
  const measuring = Bun.spawn([process.execPath, `${import.meta.dir}/heap-of-values.ts`], { stdout: "pipe" });
  const ratios: Record<string, number> = JSON.parse(await new Response(measuring.stdout).text());
  expect(Object.keys(ratios).length).toBeGreaterThan(5);
  for (const [kind, ratio] of Object.entries(ratios)) {
    expect(ratio, kind).toBeGreaterThan(0.4);
    expect(ratio, kind).toBeLessThan(2.5);
  }
});

describe("H21: however large a value is, only so much of it is looked at", () => {
  test("a small one is looked at whole", () => {
    const size = sizeOf({ title: "x", lines: times(100, (n) => ({ n })) });
    expect(size).toMatchObject({ isExtrapolated: false, nodes: 1 + 2 + 100 + 100 });
  });

  test("a large one in samples, whose sum is near that of the whole", () => {
    const large = times(40_000, (n) => ({ id: n, author: { name: `author ${n % 7}` }, marks: [n, n + 1] }));
    const whole = sizeOf(large, Number.POSITIVE_INFINITY);
    const sampled = sizeOf(large);
    expect(whole.isExtrapolated).toBe(false);
    expect(sampled.isExtrapolated).toBe(true);
    expect(sampled.bytes / whole.bytes).toBeGreaterThan(0.7);
    expect(sampled.bytes / whole.bytes).toBeLessThan(1.4);
    expect(sampled.nodes).toBeLessThan(50_000);
  });

  test("one that is deep on all sides", () => {
    const tree = (depth: number): object =>
      depth === 0 ? { leaf: `leaf ${depth}` } : { left: tree(depth - 1), right: tree(depth - 1), depth };
    const deep = tree(16);
    const ratio = sizeOf(deep).bytes / sizeOf(deep, Number.POSITIVE_INFINITY).bytes;
    expect(ratio).toBeGreaterThan(0.3);
    expect(ratio).toBeLessThan(3);
  });

  test("a chain is at least as large as the part that was seen", () => {
    let chain: object | undefined;
    for (let link = 0; link < 50_000; link += 1) chain = { next: chain, link };
    const size = sizeOf(chain);
    expect(size.bytes).toBeGreaterThan((10_000 / 2) * 32);
    expect(size.nodes).toBeLessThan(100_000);
  });

  test("an array of a length that nothing fills takes nothing", () => {
    expect(sizeOf({ sparse: new Array(1e9) }).bytes).toBeLessThan(1024);
  });
});

describe("H21: what is referred to from several places is counted once", () => {
  test("an object, a cycle, a long text", () => {
    const shared = { bytes: new Uint8Array(mebibyte) };
    const page = Buffer.alloc(mebibyte, "p").toString();
    const state: Record<string, unknown> = { one: shared, other: shared, pages: times(50, () => page) };
    state.self = state;
    const { bytes } = sizeOf(state);
    expect(bytes).toBeGreaterThan(2 * mebibyte);
    expect(bytes).toBeLessThan(2.1 * mebibyte);
  });
});

test("H21: what is no object costs what it is, and what throws is thrown", () => {
  expect(sizeOf(1).bytes).toBe(0);
  expect(sizeOf(undefined).bytes).toBe(0);
  expect(sizeOf("abc").bytes).toBeLessThan(100);
  expect(sizeOf(() => 1).bytes).toBeGreaterThan(0);
  const broken = {
    get broken() {
      throw new RangeError("not now");
    },
  };
  expect(() => sizeOf(broken)).toThrow("not now");
});
