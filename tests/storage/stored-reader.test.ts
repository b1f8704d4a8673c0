import { expect, test } from "bun:test";
import type { StoredKey, StoredRange } from "../../infra/lease/stored-objects.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { StoredReader } from "../../infra/storage/stored-reader.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const object = objectRef("box", "a");
const range: StoredRange = { object, start: "", end: undefined, reverse: false, limit: 10 };
const unavailable = () => new StatefulError("directory_unavailable", "no answer");

/** A directory whose values are their keys' bytes, and whose queries a test lets end. */
class Stored {
  readonly clock = new VirtualClock();
  readonly queries: string[][] = [];
  /** What each query does; default: it answers. */
  behaviour: () => Promise<void> = async () => undefined;
  readonly reader = new StoredReader(
    {
      read: async (keys: readonly StoredKey[]) => {
        this.queries.push(keys.map(({ key }) => key));
        await this.behaviour();
        return keys.map(({ key }) => (key === "none" ? undefined : Buffer.from(key)));
      },
      list: async () => {
        this.queries.push(["list"]);
        await this.behaviour();
        return { entries: [], hasMore: false };
      },
      messages: async () => {
        this.queries.push(["messages"]);
        await this.behaviour();
        return { messages: [], hasMore: false };
      },
      alarmsOf: async () => {
        this.queries.push(["alarms"]);
        await this.behaviour();
        return new Map();
      },
    },
    this.clock,
  );

  async read(...keys: readonly string[]): Promise<(string | undefined)[]> {
    const values = await Promise.all(keys.map((key) => this.reader.read({ object, key })));
    return values.map((value) => value && Buffer.from(value).toString());
  }
}

test("what is asked for in one turn travels in one query, and everybody gets their own", async () => {
  const stored = new Stored();
  const [first, second] = await Promise.all([stored.read("a", "none", "b"), stored.read("c", "a")]);
  expect([first, second]).toEqual([
    ["a", undefined, "b"],
    ["c", "a"],
  ]);
  expect(stored.queries).toEqual([["a", "none", "b", "c", "a"]]);
});

test("at most 8 lists at once; the rest waits, and a failure makes room like an answer", async () => {
  const stored = new Stored();
  const ends: PromiseWithResolvers<void>[] = [];
  stored.behaviour = () => {
    const end = Promise.withResolvers<void>();
    ends.push(end);
    return end.promise;
  };
  const lists = Array.from({ length: 11 }, () => stored.reader.list(range));
  const alarms = stored.reader.alarmsOf(object);
  await stored.clock.advance(1);
  expect(ends).toHaveLength(8);
  ends[0]?.reject(new StatefulError("internal", "no such table"));
  await expect(lists[0]).rejects.toMatchObject({ code: "internal" });
  await stored.clock.advance(1);
  expect(ends).toHaveLength(9);
  stored.behaviour = async () => undefined;
  for (const end of ends) end.resolve();
  expect(await Promise.all([...lists.slice(1), alarms])).toHaveLength(11);
  await stored.reader.list(range);
});

test("at most 500 keys in a query and 8 queries at once; the rest waits, and comes in order", async () => {
  const stored = new Stored();
  const held = Promise.withResolvers<void>();
  stored.behaviour = () => held.promise;
  const keys = Array.from({ length: 5_100 }, (_, index) => `k${index}`);
  const reading = stored.read(...keys);
  await stored.clock.advance(0);
  expect(stored.queries.map(({ length }) => length)).toEqual(Array.from({ length: 8 }, () => 500));
  held.resolve();
  expect(await reading).toEqual(keys);
  expect(stored.queries.flat()).toEqual(keys);
  expect(stored.queries).toHaveLength(11);
});

test("past 50,000 keys that wait a read is refused, and those that wait are read", async () => {
  const stored = new Stored();
  const held = Promise.withResolvers<void>();
  stored.behaviour = () => held.promise;
  const keys = Array.from({ length: 50_000 }, (_, index) => `k${index}`);
  const reading = stored.read(...keys);
  const refused = await stored.reader.read({ object, key: "more" }).catch((thrown) => thrown);
  expect(refused).toMatchObject({ code: "storage_backlog", retryAfterMs: 1000 });
  held.resolve();
  expect(await reading).toHaveLength(50_000);
  expect(await stored.read("later")).toEqual(["later"]);
});

test("a directory that does not answer is asked again, with growing pauses, for 10 s", async () => {
  for (const ask of [
    (stored: Stored) => stored.reader.read({ object, key: "a" }),
    (stored: Stored) => stored.reader.list(range),
    (stored: Stored) => stored.reader.alarmsOf(object),
  ]) {
    const stored = new Stored();
    stored.behaviour = () => Promise.reject(unavailable());
    let failure: unknown;
    ask(stored).catch((thrown) => {
      failure = thrown;
    });
    await stored.clock.advance(9_000);
    expect(failure).toBeUndefined();
    await stored.clock.advance(2_100);
    expect(failure).toMatchObject({ code: "directory_unavailable" });
    expect(stored.queries.length).toBeGreaterThan(10);
    expect(stored.queries.length).toBeLessThan(20);
    expect(stored.clock.timersLeft).toBe(0);
  }
});

test("one that answers again within that time is all the caller hears", async () => {
  const stored = new Stored();
  let failures = 3;
  stored.behaviour = async () => {
    if (failures-- > 0) throw unavailable();
  };
  const reading = stored.read("a", "b");
  await stored.clock.advance(1_000);
  expect(await reading).toEqual(["a", "b"]);
  expect(stored.queries).toHaveLength(4);
});

test("any other error is the answer, to all of that query and to nobody else", async () => {
  const stored = new Stored();
  let queries = 0;
  stored.behaviour = async () => {
    if (queries++ === 0) throw new Error("no such table");
  };
  const keys = Array.from({ length: 501 }, (_, index) => `k${index}`);
  const results = await Promise.allSettled(keys.map((key) => stored.reader.read({ object, key })));
  expect(results.filter(({ status }) => status === "rejected")).toHaveLength(500);
  expect(results.at(-1)?.status).toBe("fulfilled");
  expect(await stored.read("again")).toEqual(["again"]);
});

test("a query that hangs keeps no other from being sent", async () => {
  const stored = new Stored();
  const held = Promise.withResolvers<void>();
  stored.behaviour = () => held.promise;
  const hanging = stored.read("a");
  await stored.clock.advance(0);
  stored.behaviour = async () => undefined;
  expect(await stored.read("b")).toEqual(["b"]);
  held.resolve();
  expect(await hanging).toEqual(["a"]);
});
