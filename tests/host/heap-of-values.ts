import { heapStats } from "bun:jsc";
import { sizeOf } from "../../infra/host/value-size.ts";

/**
 * Run as a process of its own, in which nothing else allocates: prints, for each kind of value, what `sizeOf` says as a ratio
 * to what the engine's heap grows by.
 */
function times<Item>(length: number, make: (index: number) => Item): Item[] {
  return Array.from({ length }, (_, index) => make(index));
}

const makers: Readonly<Record<string, () => unknown>> = {
  "records in an array": () => times(50_000, (n) => ({ id: n, name: `message ${n}`, read: n % 2 === 0 })),
  numbers: () => ({ readings: times(500_000, (n) => n * 1.5) }),
  "texts of one byte a character": () => times(100, (n) => Buffer.from("a".repeat(50_000) + n).toString()),
  "texts of two bytes a character": () => times(100, (n) => Buffer.from("ж".repeat(50_000) + n).toString()),
  "a Map of records": () => new Map(times(30_000, (n) => [`user-${n}`, { seen: n, tags: ["a", "b"] }])),
  "a Set": () => new Set(times(50_000, (n) => `member-${n}`)),
  "an object used as a table": () => Object.fromEntries(times(30_000, (n) => [`key-${n}`, { at: n }])),
  "Maps in a Map": () => new Map(times(100, (n) => [n, new Map(times(500, (at) => [at, { at }]))])),
  "bytes in pieces": () => times(100, () => new Uint8Array(50_000)),
  "dates and big numbers": () => times(30_000, (n) => ({ at: new Date(n), id: 2n ** 100n + BigInt(n) })),
};

/** What is measured, and what is let go only between two kinds. */
let kept: unknown[] = [];

async function heapBytes(): Promise<number> {
  for (let round = 0; round < 2; round += 1) {
    await new Promise((resolve) => setImmediate(resolve)); // off the stack, which the collector takes for references
    Bun.gc(true);
  }
  return heapStats().heapSize;
}

async function ratioOf(make: () => unknown): Promise<number> {
  const before = await heapBytes();
  const value = make();
  kept.push(value);
  return sizeOf(value).bytes / ((await heapBytes()) - before);
}

const ratios: Record<string, number> = {};
for (const [name, make] of Object.entries(makers)) {
  kept = [make()]; // what the first of its kind needs besides
  const measured = [await ratioOf(make), await ratioOf(make), await ratioOf(make)].sort((a, b) => a - b);
  ratios[name] = measured[1] ?? Number.NaN; // the middle one: now and then a collection falls into a measure
}
console.log(JSON.stringify(ratios));
