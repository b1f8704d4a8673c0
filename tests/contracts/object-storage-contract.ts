import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object, type ObjectStorage, StatefulError } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { cacheLimits } from "../../infra/storage/storage-limits.ts";
import { compareKeys } from "../../infra/storage/storage-key.ts";
import { type DirectoryCall, HeldDirectory } from "../support/held-directory.ts";
import { StorageHost, storageOf } from "../support/storage-host.ts";
import type { DirectoryRig } from "./directory-cluster.ts";

const box = object("box", {
  state: () => ({ count: 0, tags: new Set<string>() }),
  durability: "storage",
  onAlarm: () => undefined,
});
/** Keeps nothing by itself, so nothing comes with its lease: every key is read when it is asked for. */
const cache = object("cache", { state: (): { notes: string[] } => ({ notes: [] }) });
const small = object("small", { durability: "storage", limits: { valueBytesMax: 1_000 } });
const counted = object("counted", { durability: "storage", limits: { storageBytesMax: 1_000 } });
const classes = [box, cache, small, counted];

let names = 0;
const newId = () => `object-${names++}`;

/** What `storage` promises an author (infra/object/storage.ts), whatever is under it. */
export function objectStorageContract(name: string, startRig: () => Promise<DirectoryRig>): void {
  describe(name, () => {
    let rig: DirectoryRig;
    let connection: Directory;
    let directory: HeldDirectory;
    let host: StorageHost;

    beforeAll(async () => {
      rig = await startRig();
      connection = rig.connect();
      directory = new HeldDirectory(connection);
      host = await StorageHost.start(directory, classes);
    }, 30_000);
    afterAll(async () => {
      await host.stop();
      await rig.disconnect(connection);
      await rig.stop();
    });

    const start = (className = "box") => host.live(className, newId());
    const started = async (className = "box") => storageOf(await start(className));
    const sent = (...calls: readonly DirectoryCall[]) =>
      calls.reduce((sum, call) => sum + (directory.sent.get(call) ?? 0), 0);
    /** How often `run` asked the directory for what is stored. */
    const readsOf = async (run: () => Promise<unknown>) => {
      const before = sent("read", "list", "alarmsOf");
      await run();
      return sent("read", "list", "alarmsOf") - before;
    };
    /** Keeps commits from arriving while `run` goes on; then lets them go. */
    const holdingCommits = async (run: () => Promise<void>) => {
      const held = Promise.withResolvers<void>();
      directory.request = (call) => (call === "commit" ? held.promise : Promise.resolve());
      try {
        await run();
      } finally {
        directory.request = () => Promise.resolve();
        held.resolve();
      }
    };
    /** The same before and after a restart of the object: from memory, and from the directory. */
    const warmAndCold = async (activation: Activation, check: (storage: ObjectStorage) => Promise<void>) => {
      await check(storageOf(activation));
      const again = await host.restart(activation);
      await check(storageOf(again));
      await check(storageOf(again));
      return again;
    };

    // -- the calls

    test("what is put is there, in memory and after a restart, and what is not is undefined", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.put("a", 1);
      await storage.putMany([
        ["b", "two"],
        ["c", null],
      ]);
      await storage.putMany({ d: { four: 4 }, e: false });
      await storage.putMany(new Map([["f", 0]]));
      await warmAndCold(activation, async (cold) => {
        expect(await cold.get("a")).toBe(1);
        expect(await cold.get("c")).toBeNull();
        expect(await cold.get("z")).toBeUndefined();
        expect([...(await cold.getMany(["z", "f", "d", "a", "d"]))]).toEqual([
          ["f", 0],
          ["d", { four: 4 }],
          ["a", 1],
        ]);
        expect([...(await cold.list()).keys()]).toEqual(["a", "b", "c", "d", "e", "f"]);
      });
    });

    test("the last of several values for one key in one putMany counts", async () => {
      const activation = await start();
      await storageOf(activation).putMany([
        ["a", 1],
        ["b", 2],
        ["a", 3],
      ]);
      await warmAndCold(activation, async (storage) =>
        expect(await storage.list()).toEqual(
          new Map([
            ["a", 3],
            ["b", 2],
          ]),
        ),
      );
    });

    test("delete says whether the key existed, deleteMany how many did", async () => {
      const activation = await start();
      await storageOf(activation).putMany({ a: 1, b: 2, c: 3, d: 4 });
      const storage = storageOf(await host.restart(activation));
      expect(await storage.delete("a")).toBe(true);
      expect(await storage.delete("a")).toBe(false);
      expect(await storage.delete("never")).toBe(false);
      expect(await storage.deleteMany(["b", "a", "c", "b"])).toBe(2);
      expect(await storage.deleteMany([])).toBe(0);
      await warmAndCold(await host.restart(activation), async (cold) =>
        expect(await cold.list()).toEqual(new Map([["d", 4]])),
      );
    });

    test("peek answers what is in memory, undefined where it would have to be read", async () => {
      const activation = await start("cache");
      await storageOf(activation).putMany({ a: [1], gone: 2 });
      await storageOf(activation).delete("gone");
      expect(storageOf(activation).peek("a")).toEqual({ value: [1] });
      expect(storageOf(activation).peek("gone")).toEqual({ value: undefined });
      const cold = storageOf(await host.restart(activation));
      expect(cold.peek("a")).toBeUndefined();
      await cold.getMany(["a", "never"]);
      expect(cold.peek("a")).toEqual({ value: [1] });
      expect(cold.peek("never")).toEqual({ value: undefined });
    });

    test("deleteAll deletes every key, and neither state nor alarms", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.putMany({ a: 1, b: 2 });
      activation.alarms.set("later", { afterMs: 3_600_000 });
      Object.assign(activation.state, { count: 7 });
      await storage.sync();
      await storage.deleteAll();
      await storage.put("c", 3);
      const again = await warmAndCold(activation, async (cold) => {
        expect(await cold.list()).toEqual(new Map([["c", 3]]));
        expect(await cold.get("a")).toBeUndefined();
      });
      expect(again.state).toMatchObject({ count: 7 });
      expect(again.alarms.list().map((alarm) => alarm.name)).toEqual(["later"]);
    });

    test("sync resolves when what was written is in the directory, and not before", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      let isSynced = false;
      let syncing: Promise<void> | undefined;
      await holdingCommits(async () => {
        await storage.put("a", 1);
        syncing = storage.sync().then(() => {
          isSynced = true;
        });
        await storage.get("a");
        expect(isSynced).toBe(false);
        expect(await connection.read([{ object: activation.ref, key: "a" }])).toEqual([undefined]);
      });
      await syncing;
      const [stored] = await connection.read([{ object: activation.ref, key: "a" }]);
      expect(stored).toBeInstanceOf(Uint8Array);
      await storage.sync(); // with nothing to write
    });

    // -- values

    test("values of every cloneable kind come back as they went in", async () => {
      const activation = await start();
      const values = everyKind();
      await storageOf(activation).putMany(values);
      await warmAndCold(activation, async (storage) => {
        const stored = await storage.getMany(Object.keys(values));
        for (const [kind, value] of Object.entries(values))
          expect([kind, stored.get(kind)]).toStrictEqual([kind, structuredClone(value)]);
      });
    });

    test("cycles and shared parts keep their shape", async () => {
      const activation = await start();
      const shared = { id: 1 };
      const ring: Record<string, unknown> = { first: shared, second: shared };
      ring.self = ring;
      const map = new Map<unknown, unknown>([["ring", ring]]);
      map.set(map, new Set([map]));
      await storageOf(activation).put("map", map);
      await warmAndCold(activation, async (storage) => {
        const found = await storage.get<typeof map>("map");
        const copy = found?.get("ring") as typeof ring; // it is what was put there
        expect(copy.self).toBe(copy);
        expect(copy.first).toBe(copy.second);
        const set = found?.get(found) as Set<unknown>; // it is what was put there
        expect([...set]).toEqual([found]);
      });
    });

    test("what the documentation says is not kept becomes what it says", async () => {
      const activation = await start();
      const holes = [1, 2, 3];
      delete holes[1];
      await storageOf(activation).put("odd", { zero: -0, holes, text: "a\ud800b" });
      await warmAndCold(activation, async (storage) =>
        expect(await storage.get<object>("odd")).toStrictEqual({
          zero: 0,
          holes: [1, undefined, 3],
          text: expect.stringMatching(/^a\ufffd+b$/),
        }),
      );
    });

    test("a date that is none stays such", async () => {
      const activation = await start();
      await storageOf(activation).put("date", [new Date(Number.NaN)]);
      await warmAndCold(activation, async (storage) =>
        expect((await storage.get<Date[]>("date"))?.map((date) => date.getTime())).toEqual([Number.NaN]),
      );
    });

    test("an instance of a class comes back as its own fields, whatever methods it has", async () => {
      class Point {
        readonly x = 1;
        toJSON() {
          return "elsewhere";
        }
      }
      const activation = await start();
      await storageOf(activation).put("point", { at: new Point() });
      await warmAndCold(activation, async (storage) =>
        expect(await storage.get<object>("point")).toStrictEqual({ at: { x: 1 } }),
      );
    });

    test.each(Object.entries(notStorable()))(
      "S6 %s is refused, and nothing has changed",
      async (_what, value) => {
        const activation = await start();
        const storage = storageOf(activation);
        await storage.putMany({ a: 1, b: 2 });
        for (const put of [
          () => storage.put("a", value),
          () => storage.put("a", { deep: [value] }),
          () => storage.putMany({ b: 3, c: new Map([["x", value]]) }),
          () => storage.transaction((tx) => tx.put("a", [value])),
        ])
          expect(await failureOf(put())).toBeInstanceOf(Error);
        await warmAndCold(activation, async (cold) =>
          expect(await cold.list()).toEqual(
            new Map([
              ["a", 1],
              ["b", 2],
            ]),
          ),
        );
      },
    );

    test("undefined is no value", async () => {
      const storage = await started();
      expect(await failureOf(storage.put("a", undefined))).toMatchObject({ code: "bad_request" });
      expect(await failureOf(storage.putMany({ b: 1, c: undefined }))).toMatchObject({ code: "bad_request" });
      expect(await storage.list()).toEqual(new Map());
    });

    test("values are copied going in and coming out", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      const value = { list: [1], bytes: new Uint8Array([1, 2]) };
      const putting = storage.put("a", value);
      value.list.push(2);
      value.bytes[0] = 9;
      await putting;
      const expected = { list: [1], bytes: new Uint8Array([1, 2]) };
      const read = async (from: ObjectStorage) => [
        await from.get<typeof value>("a"),
        from.peek<typeof value>("a")?.value,
        (await from.getMany<typeof value>(["a"])).get("a"),
        (await from.list<typeof value>()).get("a"),
      ];
      await warmAndCold(activation, async (from) => {
        for (const copy of await read(from)) {
          expect(copy).toEqual(expected);
          copy?.list.push(3);
          copy?.bytes.fill(7);
        }
        for (const copy of await read(from)) expect(copy).toEqual(expected);
      });
    });

    // -- keys and limits

    test.each<[string, unknown, string]>([
      ["an empty key", "", "bad_request"],
      ["a key with U+0000", "a\0b", "bad_request"],
      ["a key with a lone surrogate", "a\ud800", "bad_request"],
      ["a number", 7, "bad_request"],
      ["undefined", undefined, "bad_request"],
      ["a key of 2,049 bytes", "x".repeat(2_049), "storage_limit"],
      ["a key of 1,025 letters of two bytes", "é".repeat(1_025), "storage_limit"],
    ])("S6 %s is refused everywhere, and nothing has changed", async (_what, wrong, code) => {
      const storage = await started();
      await storage.put("a", 1);
      const key = wrong as string; // what the compiler would refuse
      for (const call of [
        () => storage.get(key),
        () => storage.getMany(["a", key]),
        () => storage.put(key, 2),
        () =>
          storage.putMany([
            ["a", 2],
            [key, 2],
          ]),
        () => storage.delete(key),
        () => storage.deleteMany(["a", key]),
      ])
        expect(await failureOf(call())).toMatchObject({ code });
      expect(() => storage.peek(key)).toThrow(expect.objectContaining({ code }));
      expect(await storage.list()).toEqual(new Map([["a", 1]]));
    });

    test("keys of exactly 2,048 bytes, and of every odd kind, are keys", async () => {
      const activation = await start();
      const keys = [
        "x".repeat(2_048),
        "é".repeat(1_024),
        " ",
        "%_'\"\\",
        "\u0001",
        "🜚/../",
        "__proto__",
        "\ufeff",
      ];
      await storageOf(activation).putMany(keys.map((key) => [key, key] as const));
      await warmAndCold(activation, async (storage) => {
        const stored = await storage.list<string>();
        expect([...stored.keys()]).toEqual(keys.toSorted(compareKeys));
        for (const [key, value] of stored) expect(value).toBe(key);
        expect((await storage.getMany(keys)).size).toBe(keys.length);
      });
    });

    test("S6 a value past its limit is refused, and nothing has changed", async () => {
      const activation = await start("small");
      const storage = storageOf(activation);
      await storage.put("a", "x".repeat(900));
      const tooLarge = "x".repeat(1_001);
      expect(await failureOf(storage.put("a", tooLarge))).toMatchObject({ code: "storage_limit" });
      expect(await failureOf(storage.putMany({ b: 1, c: tooLarge }))).toMatchObject({
        code: "storage_limit",
      });
      await warmAndCold(activation, async (cold) =>
        expect(await cold.list()).toEqual(new Map([["a", "x".repeat(900)]])),
      );
    });

    test("a value of nearly 2 MiB comes back after a restart, read on demand", async () => {
      const activation = await start();
      const value = new Uint8Array(2 * 1024 * 1024 - 100).fill(7);
      await storageOf(activation).put("large", value);
      await warmAndCold(activation, async (storage) => {
        expect(Buffer.compare((await storage.get<Uint8Array>("large")) ?? new Uint8Array(), value)).toBe(0);
        expect([...(await storage.list()).keys()]).toEqual(["large"]);
      });
      const refused = storageOf(await host.live("box", activation.ref.id)).put(
        "larger",
        new Uint8Array(2 ** 21),
      );
      expect(await failureOf(refused)).toMatchObject({ code: "storage_limit" });
    });

    test("more than 10,000 keys in one call are refused", async () => {
      const storage = await started();
      const keys = Array.from({ length: 10_001 }, (_, index) => `k${index}`);
      for (const call of [
        () => storage.getMany(keys),
        () => storage.deleteMany(keys),
        () => storage.putMany(keys.map((key) => [key, 1] as const)),
      ])
        expect(await failureOf(call())).toMatchObject({ code: "storage_limit" });
    });

    test("storageBytesMax counts what is stored, what is replaced and what is deleted", async () => {
      const activation = await start("counted");
      const storage = storageOf(activation);
      const value = new Uint8Array(400);
      await storage.putMany({ a: value, b: value });
      expect(await failureOf(storage.put("c", value))).toMatchObject({ code: "storage_limit" });
      await storage.put("a", value);
      await storage.delete("a");
      await storage.put("c", value);
      const again = storageOf(await host.restart(activation));
      expect(await failureOf(again.put("d", value))).toMatchObject({ code: "storage_limit" });
      expect(await again.deleteMany(["b", "c"])).toBe(2);
      await again.putMany({ d: value, e: value });
      await again.deleteAll();
      await again.putMany({ f: value, g: value });
      const failure = again.transaction(async (tx) => {
        await tx.deleteAll();
        await tx.putMany({ h: value, i: value });
        throw new Error("undo");
      });
      expect(await failureOf(failure)).toMatchObject({ message: "undo" });
      expect(await failureOf(again.put("j", value))).toMatchObject({ code: "storage_limit" });
      await warmAndCold(await host.live("counted", activation.ref.id), async (cold) =>
        expect([...(await cold.list()).keys()]).toEqual(["f", "g"]),
      );
    });

    test("puts that are made side by side all count for storageBytesMax", async () => {
      const storage = await started("counted");
      const puts = Array.from({ length: 20 }, (_, n) => storage.put(`k${n}`, new Uint8Array(200)));
      const outcomes = await Promise.allSettled(puts);
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
      expect((await storage.list()).size).toBe(4);
    });

    test("what is deleted, and not committed yet, takes nothing of storageBytesMax", async () => {
      const value = new Uint8Array(900);
      for (const remove of [
        (storage: ObjectStorage) => storage.deleteAll(),
        (storage: ObjectStorage) => storage.delete("a"),
      ]) {
        const activation = await start("counted");
        await storageOf(activation).put("a", value);
        const storage = storageOf(await host.restart(activation));
        await holdingCommits(async () => {
          await remove(storage);
          await storage.put("b", value);
        });
        await storage.sync();
        await storage.put("b", value);
      }
    });

    test("a put that is refused for what waits already takes nothing of storageBytesMax", async () => {
      // The limit of what may wait is reached first.
      const roomy = object("counted", { durability: "storage", limits: { storageBytesMax: 20_000_000 } });
      host.install(roomy);
      const storage = await started("counted");
      const values = Object.fromEntries(
        Array.from({ length: 5 }, (_, n) => [`k${n}`, new Uint8Array(2_000_000)]),
      );
      for (let round = 0; round < 6; round += 1)
        expect(await failureOf(storage.putMany(values))).toMatchObject({
          code: "storage_limit",
          message: expect.stringContaining("wait to be written"),
        });
      host.install(counted);
    });

    // -- ranges

    const orderedKeys = [
      "\ufffe",
      "a",
      "a\u0001",
      "a/",
      "a/1",
      "a/2",
      "a0",
      "b",
      "é",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "\u{10000}",
      "\u{10ffff}",
    ];

    test("lists are in the order of the keys' UTF-8 bytes, in every range and in both directions", async () => {
      const activation = await start();
      await storageOf(activation).putMany(orderedKeys.map((key) => [key, key] as const));
      const sorted = orderedKeys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      const bounds = [undefined, "", "a", "a/", "a/15", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}"];
      const check = async (storage: ObjectStorage) => {
        for (const start of bounds)
          for (const end of bounds)
            for (const reverse of [false, true]) {
              const inRange = sorted.filter(
                (key) =>
                  (start === undefined || compareKeys(key, start) >= 0) &&
                  (end === undefined || compareKeys(key, end) < 0),
              );
              const expected = reverse ? inRange.toReversed() : inRange;
              const options = {
                ...(start !== undefined && { start }),
                ...(end !== undefined && { end }),
                reverse,
              };
              expect([options, [...(await storage.list(options)).keys()]]).toEqual([options, expected]);
              const two = await storage.list({ ...options, limit: 2 });
              expect([options, [...two.keys()]]).toEqual([options, expected.slice(0, 2)]);
            }
        for (const prefix of ["", "a", "a/", "\uffff", "\u{10ffff}", "zz"]) {
          const expected = sorted.filter((key) => key.startsWith(prefix));
          expect([prefix, [...(await storage.list({ prefix })).keys()]]).toEqual([prefix, expected]);
        }
        const within = { prefix: "a", start: "a/", end: "a0", reverse: true };
        expect([...(await storage.list(within)).keys()]).toEqual(["a/2", "a/1", "a/"]);
        expect((await storage.list({ limit: 0 })).size).toBe(0);
      };
      await check(storageOf(activation));
      await check(storageOf(await host.restart(activation)));
    });

    test("the same ranges, where nothing is in memory", async () => {
      const activation = await start("cache");
      await storageOf(activation).putMany(orderedKeys.map((key) => [key, key] as const));
      const sorted = orderedKeys.toSorted(compareKeys);
      const cold = storageOf(await host.restart(activation));
      expect([...(await cold.list({ start: "a/", reverse: true, limit: 3 })).keys()]).toEqual(
        sorted.toReversed().slice(0, 3),
      );
      expect([...(await cold.list({ prefix: "\uffff" })).keys()]).toEqual(["\uffff"]);
      expect([...(await cold.list()).keys()]).toEqual(sorted);
      expect([...(await cold.list({ start: "\u{10000}" })).keys()]).toEqual(["\u{10000}", "\u{10ffff}"]);
    });

    test.each<[string, object]>([
      ["a limit below 0", { limit: -1 }],
      ["a limit that is no number", { limit: Number.NaN }],
      ["a limit that is no whole number", { limit: 70.5 }],
      ["a bound with a lone surrogate", { start: "\ud83d" }],
      ["a prefix with a lone surrogate", { prefix: "\ud83d" }],
      ["an end with a lone surrogate", { end: "\ude00" }],
    ])("%s is refused, warm and cold", async (_what, options) => {
      const activation = await start("cache");
      await storageOf(activation).putMany({ "😀": 1, a: 2 });
      await warmAndCold(activation, async (storage) =>
        expect(await failureOf(storage.list(options))).toMatchObject({ code: "bad_request" }),
      );
    });

    test("a range may begin behind a key, as pages do", async () => {
      const activation = await start("cache");
      await storageOf(activation).putMany({ a: 1, b: 2, c: 3 });
      await warmAndCold(activation, async (storage) => {
        expect([...(await storage.list({ start: "a\0" })).keys()]).toEqual(["b", "c"]);
        expect([...(await storage.list({ start: "a\u0001" })).keys()]).toEqual(["b", "c"]);
        expect([...(await storage.list({ start: "a", end: "b\0" })).keys()]).toEqual(["a", "b"]);
        expect((await storage.list({ start: "c", end: "a" })).size).toBe(0);
      });
    });

    // -- memory

    test("S8 small storage comes with the lease: nothing is read for what is there, nor for what is not", async () => {
      const activation = await start();
      await storageOf(activation).putMany({ a: 1, b: 2 });
      await host.table.stop(activation, "idle");
      const again = await host.live("box", activation.ref.id);
      const reads = await readsOf(async () => {
        const storage = storageOf(again);
        await storage.get("a");
        await storage.getMany(["a", "nothing"]);
        expect((await storage.list({ prefix: "b" })).size).toBe(1);
        await storage.delete("nothing");
        await storage.deleteMany(["a", "never"]);
      });
      expect(reads).toBe(0);
    });

    test("S8 a cold start of a durable object costs one commit and no read", async () => {
      const activation = await start();
      await storageOf(activation).putMany({ a: 1 });
      Object.assign(activation.state, { count: 1 });
      await host.table.stop(activation, "idle");
      await storageOf(await start()).sync(); // what was in flight has arrived: the release of the lease
      const before = new Map(directory.sent);
      const again = await host.live("box", activation.ref.id);
      const calls = [...directory.sent].filter(
        ([call, count]) => call !== "renew" && count !== before.get(call),
      );
      expect(calls.map(([call, count]) => [call, count - (before.get(call) ?? 0)])).toEqual([["commit", 1]]);
      expect(again.state).toMatchObject({ count: 1 });
      expect(storageOf(again).peek("a")).toEqual({ value: 1 });
    });

    test("large storage is read on demand: 5,000 keys", async () => {
      const activation = await start();
      const key = (index: number) => `k${String(index).padStart(5, "0")}`;
      const all = Array.from({ length: 5_000 }, (_, index) => [key(index), index] as const);
      await storageOf(activation).putMany(all);
      const again = await host.restart(activation);
      const storage = storageOf(again);
      expect(await readsOf(() => storage.get(key(4_321)))).toBe(1);
      expect(await readsOf(() => storage.get(key(4_321)))).toBe(0);
      expect(await storage.get(key(5_000))).toBeUndefined();
      const some = [key(9), key(4_999), key(6_000), key(2_000)];
      expect([...(await storage.getMany(some)).values()]).toEqual([9, 4_999, 2_000]);
      expect([...(await storage.list({ start: key(100), limit: 3 })).values()]).toEqual([100, 101, 102]);
      expect([...(await storage.list({ prefix: "k0499", reverse: true, limit: 2 })).values()]).toEqual([
        4_999, 4_998,
      ]);
      await storage.put(key(2_500), "changed");
      expect(await storage.delete(key(2_501))).toBe(true);
      expect(await storage.delete(key(5_001))).toBe(false);
      const expected = new Map<string, unknown>(all);
      expected.set(key(2_500), "changed");
      expected.delete(key(2_501));
      expect(await storage.list()).toEqual(expected);
      expect([...(await storage.list({ reverse: true })).keys()]).toEqual([...expected.keys()].toReversed());
      expect(await storageOf(await host.restart(again)).list()).toEqual(expected);
    });

    test("what is not committed yet is in every answer: puts, deletes, deleteAll and what follows it", async () => {
      const activation = await start("cache");
      const keys = Array.from({ length: 300 }, (_, index) => `k${String(index).padStart(3, "0")}`);
      await storageOf(activation).putMany(keys.map((key) => [key, "old"] as const));
      const again = await host.restart(activation);
      const storage = storageOf(again);
      const model = new Map(keys.map((key) => [key, "old"]));
      const agree = async () => {
        const sorted = [...model].toSorted(([a], [b]) => compareKeys(a, b));
        expect([...(await storage.list())]).toEqual(sorted);
        expect([...(await storage.list({ reverse: true, limit: 70 }))]).toEqual(
          sorted.toReversed().slice(0, 70),
        );
        expect([...(await storage.list({ limit: 70 }))]).toEqual(sorted.slice(0, 70));
      };
      await holdingCommits(async () => {
        await storage.put("k0005", "new");
        await storage.put("k299", "new");
        await storage.put("zz", "new");
        expect(await storage.deleteMany(keys.slice(0, 100))).toBe(100);
        for (const key of keys.slice(0, 100)) model.delete(key);
        for (const key of ["k0005", "k299", "zz"]) model.set(key, "new");
        await agree();
        await storage.deleteAll();
        model.clear();
        await agree();
        await storage.putMany({ k005: "after", b: "after" });
        model.set("k005", "after").set("b", "after");
        await agree();
        expect(await storage.get("k200")).toBeUndefined();
        expect(await storage.delete("k201")).toBe(false);
      });
      await agree();
      await storage.sync();
      await agree();
      expect(await storageOf(await host.restart(again)).list()).toEqual(new Map([...model].sort()));
    });

    test("memory is bounded, and answers are right beyond it", async () => {
      const activation = await start();
      const size = 40_000;
      const count = Math.ceil((2 * cacheLimits.bytesMax) / size);
      const value = (index: number) => new Uint8Array(size).fill(index);
      const key = (index: number) => `k${String(index).padStart(3, "0")}`;
      for (let index = 0; index < count; index += 1) {
        await storageOf(activation).put(key(index), value(index));
        if (index % 50 === 0) await storageOf(activation).sync();
      }
      await storageOf(activation).sync();
      await storageOf(activation).get(key(0));
      const indexes = Array.from({ length: count }, (_, index) => index);
      await warmAndCold(activation, async (storage) => {
        for (const index of indexes)
          expect((await storage.get<Uint8Array>(key(index)))?.at(-1)).toBe(index % 256);
        const many = await storage.getMany<Uint8Array>(indexes.map(key));
        expect([...many.values()].map((bytes) => bytes[0])).toEqual(indexes.map((index) => index % 256));
        expect([...(await storage.list()).keys()]).toEqual(indexes.map(key));
      });
    });

    test("a delete that waits for its turn deletes what has been dropped from memory meanwhile", async () => {
      const activation = await start("cache");
      const keys = Array.from({ length: 130 }, (_, index) => `k${String(index).padStart(3, "0")}`);
      for (const key of keys) {
        await storageOf(activation).put(key, new Uint8Array(50_000));
        await storageOf(activation).sync();
      }
      const again = await host.restart(activation);
      const event = () => storageOf(again);
      await event().getMany(["k000", "k001"]);
      const results = await Promise.all([
        event().getMany(keys.slice(2)), // fills memory, which is made room in when its turn is over
        event().get("k100"),
        event().delete("k000"),
        event().getMany(["k001", "never"]),
      ]);
      expect(results[2]).toBe(true);
      expect([...results[3].keys()]).toEqual(["k001"]);
      expect([...(await event().list({ limit: 1 })).keys()]).toEqual(["k001"]);
    });

    // -- transactions

    test("a transaction's result, its reads of its own writes, and what is there afterwards", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.putMany({ a: 1, b: 2, c: 3 });
      const result = await storage.transaction(async (tx) => {
        await tx.put("a", ((await tx.get<number>("a")) ?? 0) + 10);
        expect(await tx.delete("b")).toBe(true);
        await tx.putMany({ d: 4 });
        expect(tx.peek("d")).toEqual({ value: 4 });
        expect(await tx.get("b")).toBeUndefined();
        return [...(await tx.list())];
      });
      expect(result).toEqual([
        ["a", 11],
        ["c", 3],
        ["d", 4],
      ]);
      await warmAndCold(activation, async (cold) => expect([...(await cold.list())]).toEqual(result));
    });

    test("S3 a transaction is one commit: keys, state and alarms", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.sync();
      const commits = sent("commit");
      await storage.transaction(async (tx) => {
        await tx.put("a", 1);
        Object.assign(activation.state, { count: 5 });
        await tx.get("nothing");
        activation.alarms.set("soon", { afterMs: 3_600_000 });
        await tx.putMany({ b: 2, c: 3 });
      });
      await storage.sync();
      expect(sent("commit") - commits).toBe(1);
      const again = await warmAndCold(activation, async (cold) => expect((await cold.list()).size).toBe(3));
      expect(again.state).toMatchObject({ count: 5 });
      expect(again.alarms.get("soon")).toBeDefined();
    });

    test("S3 a transaction that throws leaves keys, state and alarms as they were, in memory and in the directory", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.putMany({ a: 1, b: 2 });
      Object.assign(activation.state, { count: 3, tags: new Set(["x"]) });
      activation.alarms.set("kept", { afterMs: 3_600_000 }, "payload");
      activation.alarms.set("changed", { afterMs: 3_600_000 });
      const dueAt = activation.alarms.get("changed")?.dueAt;
      await storage.sync();
      const failure = new Error("undo");
      const run = storage.transaction(async (tx) => {
        await tx.put("a", 9);
        await tx.delete("b");
        await tx.put("c", 9);
        Object.assign(activation.state, { count: 9, more: true });
        (activation.state as { tags: Set<string> }).tags.add("y"); // the class's state
        activation.alarms.set("new", { afterMs: 3_600_000 });
        activation.alarms.set("changed", { afterMs: 1 });
        activation.alarms.delete("kept");
        await tx.deleteAll();
        await tx.put("d", 9);
        throw failure;
      });
      expect(await run.catch((thrown) => thrown)).toBe(failure);
      const check = async (now: Activation) => {
        expect([...(await storageOf(now).list())]).toEqual([
          ["a", 1],
          ["b", 2],
        ]);
        expect(now.state).toEqual({ count: 3, tags: new Set(["x"]) });
        expect(now.alarms.list().map((alarm) => [alarm.name, alarm.payload])).toEqual(
          expect.arrayContaining([
            ["kept", "payload"],
            ["changed", undefined],
          ]),
        );
        expect(now.alarms.list()).toHaveLength(2);
        expect(now.alarms.get("changed")?.dueAt).toEqual(dueAt);
      };
      await check(activation);
      await check(await host.restart(activation));
    });

    test("a class that keeps its state in memory has it back too when a transaction throws", async () => {
      const activation = await start("cache");
      const state = activation.state as { notes: string[] }; // what the class makes
      state.notes.push("before");
      const run = storageOf(activation).transaction(() => {
        state.notes.push("inside");
        throw new Error("undo");
      });
      expect(await failureOf(run)).toMatchObject({ message: "undo" });
      expect(activation.state).toBe(state);
      expect(state.notes).toEqual(["before"]);
    });

    test("a key that was only read, and one that was written before, are as before after a rollback", async () => {
      const activation = await start("cache");
      await storageOf(activation).putMany({ read: 1, written: 2, deleted: 3 });
      const again = await host.restart(activation);
      const storage = storageOf(again);
      await storage.put("written", "pending");
      const run = storage.transaction(async (tx) => {
        await tx.get("read");
        await tx.put("written", "inside");
        await tx.delete("deleted");
        await tx.put("fresh", 1);
        throw new Error("undo");
      });
      expect(await failureOf(run)).toMatchObject({ message: "undo" });
      await warmAndCold(again, async (cold) =>
        expect([...(await cold.list())]).toEqual([
          ["deleted", 3],
          ["read", 1],
          ["written", "pending"],
        ]),
      );
    });

    test("S3 nobody else sees a transaction before its end, nor gets in between", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.put("n", 0);
      const inside = Promise.withResolvers<void>();
      const release = Promise.withResolvers<void>();
      const run = storage.transaction(async (tx) => {
        await tx.put("n", 1);
        inside.resolve();
        await release.promise;
        await tx.put("n", (await tx.get<number>("n")) === 1 ? 2 : -1);
      });
      await inside.promise;
      const seen: unknown[] = [];
      const others = [
        storageOf(activation)
          .get("n")
          .then((value) => seen.push(value)),
        storageOf(activation).put("n", 3),
        storageOf(activation)
          .list()
          .then((all) => seen.push(all.get("n"))),
      ];
      expect(storageOf(activation).peek("n")).toBeUndefined();
      expect(seen).toEqual([]);
      release.resolve();
      await run;
      await Promise.all(others);
      expect(seen).toEqual([2, 3]);
    });

    test("transactions run one after the other, however many are asked for at once", async () => {
      const activation = await start("cache");
      const increments = Array.from({ length: 20 }, () =>
        storageOf(activation).transaction(async (tx) => {
          const count = (await tx.get<number>("n")) ?? 0;
          await new Promise((resolve) => setImmediate(resolve));
          await tx.put("n", count + 1);
        }),
      );
      await Promise.all(increments);
      await warmAndCold(activation, async (storage) => expect(await storage.get<number>("n")).toBe(20));
    });

    test("calls on `storage` inside are the transaction's own", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.put("a", 1);
      const run = storage.transaction(async (tx) => {
        await storage.put("a", 2);
        expect(await tx.get("a")).toBe(2);
        await tx.put("b", 1);
        expect(await storageOf(activation).get("b")).toBe(1);
        expect(storage.peek("b")).toEqual({ value: 1 });
        await storage.deleteMany(["a"]);
        throw new Error("undo");
      });
      expect(await failureOf(run)).toMatchObject({ message: "undo" });
      expect(await storage.list()).toEqual(new Map([["a", 1]]));
    });

    test("transactions do not nest, and sync inside one would wait for itself: both are refused", async () => {
      const storage = await started();
      await storage.transaction(async (tx) => {
        await tx.put("a", 1);
        expect(await failureOf(storage.transaction(() => 1))).toMatchObject({ code: "bad_request" });
        expect(await failureOf(storage.sync())).toMatchObject({ code: "bad_request" });
      });
      expect(await storage.get("a")).toBe(1);
    });

    test("calls after the end of a transaction are refused, and what it did not wait for changes nothing", async () => {
      const activation = await start("cache");
      await storageOf(activation).putMany({ a: 1, b: 2, c: 3 });
      const again = await host.restart(activation);
      const storage = storageOf(again);
      const leftovers: Promise<unknown>[] = [];
      let kept: { put(key: string, value: unknown): Promise<void> } | undefined;
      const run = storage.transaction(async (tx) => {
        kept = tx;
        leftovers.push(tx.delete("a"), tx.deleteMany(["b", "c"])); // both must be read first
        throw new Error("undo");
      });
      const settled = run.catch(() => Promise.allSettled(leftovers));
      const results = (await settled) as PromiseSettledResult<unknown>[]; // of the leftovers
      expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
      expect(await failureOf(kept?.put("a", 9))).toMatchObject({ code: "bad_request" });
      await warmAndCold(again, async (cold) =>
        expect(await cold.list()).toEqual(
          new Map([
            ["a", 1],
            ["b", 2],
            ["c", 3],
          ]),
        ),
      );
    });

    test("a transaction whose state is too large at its end changes nothing", async () => {
      const activation = await start();
      Object.assign(activation.state, { count: 1 });
      const run = storageOf(activation).transaction(async (tx) => {
        await tx.put("a", 1);
        Object.assign(activation.state, { count: 2, blob: new Uint8Array(3 * 1024 * 1024) });
      });
      expect(await failureOf(run)).toMatchObject({ code: "storage_limit" });
      expect(activation.state).toEqual({ count: 1, tags: new Set() });
      await warmAndCold(activation, async (storage) => expect((await storage.list()).size).toBe(0));
    });

    test("an activation that ends in the middle of a transaction stores nothing of it", async () => {
      const activation = await start();
      const storage = storageOf(activation);
      await storage.put("a", 1);
      await storage.sync();
      const inside = Promise.withResolvers<void>();
      const run = storage.transaction(async (tx) => {
        await tx.put("a", 2);
        inside.resolve();
        await new Promise(() => undefined);
      });
      await inside.promise;
      const failures = Promise.all([failureOf(run), failureOf(storageOf(activation).get("a"))]);
      activation.end(new StatefulError("session_over", "it ended"));
      expect(await failures).toMatchObject([{ code: "session_over" }, { code: "session_over" }]);
      const [stored] = await connection.read([{ object: activation.ref, key: "a" }]);
      const other = await start();
      await storageOf(other).put("a", 1);
      await storageOf(other).sync();
      const [one] = await connection.read([{ object: other.ref, key: "a" }]);
      expect(stored).toEqual(one);
    });

    test("a transaction of many long keys is written like any other", async () => {
      const activation = await start();
      const key = (index: number) => `${"k".repeat(2_000)}${index}`;
      const entries = Array.from({ length: 3_000 }, (_, index) => [key(index), index] as const);
      await storageOf(activation).transaction((tx) => tx.putMany(entries));
      await storageOf(activation).sync();
      const again = storageOf(await host.restart(activation));
      expect((await again.list({ limit: 10_000 })).size).toBe(3_000);
    });

    // -- versions

    const release = (version: number, migrate?: (...args: never[]) => unknown) =>
      object("data", {
        durability: "storage",
        version,
        state: (): { names: string[]; migrated?: number } => ({ names: [] }),
        ...(migrate && { migrate: migrate as () => void }), // a test's own parameters
      });

    test("migrate runs once, in a transaction, before onStart, with the state; and never for a new object", async () => {
      const calls: number[] = [];
      const second = release(2, async (storage: ObjectStorage, from: number, state: { names: string[] }) => {
        calls.push(from);
        await storage.put("b", await storage.get("a"));
        await storage.delete("a");
        state.names.push("migrated");
      });
      host.install(release(1));
      const activation = await host.live("data", newId());
      await storageOf(activation).put("a", 1);
      (activation.state as { names: string[] }).names.push("old"); // the class's state
      host.install(second);
      const again = await host.restart(activation);
      expect(calls).toEqual([1]);
      expect(again.state).toEqual({ names: ["old", "migrated"] });
      const last = await warmAndCold(again, async (storage) =>
        expect([...(await storage.list())]).toEqual([["b", 1]]),
      );
      await host.restart(last);
      expect(calls).toEqual([1]);

      const fresh = await host.live("data", newId());
      await storageOf(fresh).put("x", 1);
      await host.restart(await host.restart(fresh));
      expect(calls).toEqual([1]);
    });

    test.each(["memory", "snapshot", "storage"] as const)(
      "an object that a class of version 3 began is of version 3 (%s)",
      async (durability) => {
        const calls: number[] = [];
        const third = object("third", {
          durability,
          version: 3,
          migrate: (_storage, from) => void calls.push(from),
        });
        host.install(third);
        const activation = await host.live("third", newId());
        await storageOf(activation).put("a", 1);
        await host.restart(await host.restart(activation));
        expect(calls).toEqual([]);
      },
    );

    test("a class that keeps its state in memory migrates its keys, once", async () => {
      const calls: number[] = [];
      host.install(object("plain", {}));
      const activation = await host.live("plain", newId());
      await storageOf(activation).put("a", 1);
      host.install(
        object("plain", {
          version: 5,
          async migrate(storage, from) {
            calls.push(from);
            await storage.put("a", 2);
          },
        }),
      );
      const again = await warmAndCold(await host.restart(activation), async (storage) =>
        expect(await storage.get<number>("a")).toBe(2),
      );
      await host.restart(again);
      expect(calls).toEqual([1]);
    });

    test("a migration that throws refuses the start and leaves everything; the next try begins anew", async () => {
      let isBroken = true;
      const calls: number[] = [];
      host.install(release(1));
      const activation = await host.live("data", newId());
      await storageOf(activation).putMany({ a: 1, b: 2 });
      (activation.state as { names: string[] }).names.push("old"); // the class's state
      await host.table.stop(activation, "idle");
      host.install(
        release(3, async (storage: ObjectStorage, from: number, state: { names: string[] }) => {
          calls.push(from);
          await storage.deleteAll();
          await storage.put("c", 3);
          state.names.push("new");
          if (isBroken) throw new Error("half-way");
        }),
      );
      expect(await failureOf(host.live("data", activation.ref.id))).toMatchObject({ code: "start_failed" });
      host.install(release(1));
      const old = await host.live("data", activation.ref.id);
      expect([...(await storageOf(old).list())]).toEqual([
        ["a", 1],
        ["b", 2],
      ]);
      expect(old.state).toEqual({ names: ["old"] });
      await host.table.stop(old, "idle");
      isBroken = false;
      host.install(
        release(3, async (storage: ObjectStorage, from: number) => {
          calls.push(from);
          await storage.put("c", 3);
        }),
      );
      const migrated = await host.live("data", activation.ref.id);
      expect((await storageOf(migrated).list()).size).toBe(3);
      expect(calls).toEqual([1, 1]);
    });

    test("data of a newer version is not touched: the object does not start", async () => {
      host.install(release(4));
      const activation = await host.live("data", newId());
      await storageOf(activation).put("a", 1);
      Object.assign(activation.state, { names: ["new"] });
      await host.table.stop(activation, "idle");
      for (const version of [1, 3]) {
        host.install(release(version));
        const refused = host.live("data", activation.ref.id);
        expect(await failureOf(refused)).toMatchObject({
          code: "start_failed",
          message: expect.stringContaining("version 4"),
        });
      }
      host.install(release(4));
      const again = await host.live("data", activation.ref.id);
      expect(again.state).toEqual({ names: ["new"] });
    });
  });
}

/**
 * What the promise rejects with; undefined where it does not. Not `expect(…).rejects`, which runs the loop inside of itself:
 * what a Worker says meanwhile is not heard.
 */
function failureOf(promise: Promise<unknown> | undefined): Promise<unknown> | undefined {
  return promise?.then(
    () => undefined,
    (thrown) => thrown,
  );
}

/** One of every kind, nested. */
function everyKind(): Record<string, unknown> {
  return {
    text: "naïve 🜚 \u0000 text",
    "long text": "x".repeat(70_000),
    "no text": "",
    numbers: [
      0,
      1,
      -1,
      127,
      128,
      255,
      256,
      65_535,
      65_536,
      2 ** 31,
      2 ** 32,
      2 ** 53,
      -(2 ** 53),
      0.1,
      1e308,
      5e-324,
    ],
    "no numbers": [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    bigints: [0n, -1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, 12_345_678_901_234_567_890n, -(2n ** 200n)],
    booleans: [true, false],
    null: null,
    undefined: { inside: undefined, list: [undefined] },
    dates: [new Date(0), new Date(-1), new Date(8.64e15), new Date(1_700_000_000_123)],
    expression: /a[b-d]+\/"/giu,
    map: new Map<unknown, unknown>([
      ["a", new Map([[1, { deep: new Set([1n]) }]])],
      [2, null],
      [Number.NaN, "not a number"],
      [true, undefined],
    ]),
    set: new Set<unknown>(["a", 1, null, undefined]),
    "empty ones": [{}, [], new Map(), new Set(), new Uint8Array(0), new ArrayBuffer(0)],
    bytes: new Uint8Array([0, 1, 255]),
    "part of bytes": new Uint8Array([9, 1, 2, 9]).subarray(1, 3),
    buffer: new Uint8Array([1, 2, 3]).buffer,
    view: new DataView(new Uint8Array([1, 2, 3, 4]).buffer),
    "typed arrays": [
      new Int8Array([-1]),
      new Uint8ClampedArray([1]),
      new Int16Array([-300]),
      new Uint16Array([300]),
      new Int32Array([-70_000]),
      new Uint32Array([70_000]),
      new Float32Array([1.5]),
      new Float64Array([Math.PI]),
      new BigInt64Array([-5n]),
      new BigUint64Array([5n]),
    ],
    "records alike": Array.from({ length: 50 }, (_, id) => ({
      id,
      name: `n${id}`,
      flags: { on: id % 2 === 0 },
    })),
    "a large record": Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`field-${index}`, index]),
    ),
    "odd names": { "": 1, "1": 2, constructor: 3, toString: 4, length: 5, toJSON: 6, "a.b": 8 },
    "class's own": Object.assign(Object.create(null), { a: 1 }),
    deep: Array.from({ length: 200 }).reduce<unknown>((inner) => ({ inner }), "bottom"),
  };
}

/** What cannot be kept: said at once, instead of found out when it is read. */
function notStorable(): Record<string, unknown> {
  return {
    "a function": () => 1,
    "a method": { run: () => 1 },
    "a class": class {},
    "a symbol": Symbol("s"),
    "a promise": Promise.resolve(1),
    "a WeakMap": new WeakMap(),
    "a WeakRef": new WeakRef({}),
    "a boxed number": Object(1),
    "a boxed text": Object("x"),
    "a blob": new Blob(["x"]),
    "a field that the format has taken": JSON.parse('[{"a":1,"__keys__":2},{"a":1}]'),
    "a field called __proto__": JSON.parse('{"__proto__":{"a":1}}'),
    "a request": new Request("http://client.example"),
    "a generator": (function* () {
      yield 1;
    })(),
  };
}
