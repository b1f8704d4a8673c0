import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { type ObjectStorage, object, type StorageKeys, type StorageListOptions } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { compareKeys } from "../../infra/storage/storage-key.ts";
import type { DirectoryRig } from "../contracts/directory-cluster.ts";
import { fileRig, memoryRig } from "../contracts/directory-rigs.ts";
import { StorageHost, storageOf } from "../support/storage-host.ts";

/**
 * Random calls on an object's storage, and on a plain Map: both must answer the same. Calls of one step are made at once,
 * each by an event of its own, and are answered in the order in which they were made. An object begins with more keys than
 * come with its lease, so that some of them are known and some are not.
 */
const box = object("box", { durability: "storage", state: (): { log: number[] } => ({ log: [] }) });
/** Of which nothing comes with the lease. */
const cache = object("cache", { state: (): { log: number[] } => ({ log: [] }) });
/** Whose bytes are counted, and which has room for all that the test puts. */
const counted = object("counted", { limits: { storageBytesMax: 1_000_000 } });

const firstKeys = Array.from({ length: 200 }, (_, index) => `k${String(index).padStart(3, "0")}`);
const someKeys = [
  "a",
  "k000",
  "k001",
  "k050",
  "k127",
  "k128",
  "k150",
  "k199",
  "k2",
  "é",
  "\uffff",
  "\u{10000}",
];

type Model = Map<string, unknown>;

type Call =
  | { readonly kind: "get" | "delete"; readonly key: string }
  | { readonly kind: "getMany" | "deleteMany"; readonly keys: readonly string[] }
  | { readonly kind: "put"; readonly entries: readonly (readonly [string, unknown])[] }
  | { readonly kind: "list"; readonly options: StorageListOptions }
  | { readonly kind: "deleteAll" };

type Step =
  | { readonly kind: "calls"; readonly calls: readonly Call[] }
  | {
      readonly kind: "transaction";
      readonly calls: readonly Call[];
      readonly note: number;
      readonly fails: boolean;
    }
  | { readonly kind: "restart" }
  | { readonly kind: "sync" };

const key = fc.constantFrom(...someKeys);
const keys = fc.array(key, { maxLength: 5 });
const value = fc.oneof(
  fc.integer(),
  fc.string(),
  fc.constant(null),
  fc.record({ deep: fc.array(fc.integer()) }),
);
const bound = fc.option(fc.constantFrom("", "a", "k", "k1", "k128", "k15", "\uffff"), { nil: undefined });
const options = fc
  .record({
    prefix: bound,
    start: bound,
    end: bound,
    limit: fc.option(fc.nat(80), { nil: undefined }),
    reverse: fc.boolean(),
  })
  .map((all) => Object.fromEntries(Object.entries(all).filter(([, one]) => one !== undefined)));
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom("get" as const, "delete" as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("getMany" as const, "deleteMany" as const), keys }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      entries: fc.array(fc.tuple(key, value), { maxLength: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("list" as const), options }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteAll" as const) }) },
);
const calls = fc.array(call, { minLength: 1, maxLength: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("calls" as const), calls }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("transaction" as const),
      calls,
      note: fc.nat(),
      fails: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sync" as const) }) },
);

function perform(storage: StorageKeys, one: Call): Promise<unknown> {
  switch (one.kind) {
    case "get":
      return storage.get(one.key);
    case "getMany":
      return storage.getMany(one.keys).then((found) => [...found]);
    case "put":
      return storage.putMany(one.entries);
    case "delete":
      return storage.delete(one.key);
    case "deleteMany":
      return storage.deleteMany(one.keys);
    case "list":
      return storage.list(one.options).then((found) => [...found]);
    case "deleteAll":
      return storage.deleteAll();
  }
}

function expected(model: Model, one: Call): unknown {
  switch (one.kind) {
    case "get":
      return model.get(one.key);
    case "getMany":
      return [...new Map(one.keys.filter((name) => model.has(name)).map((name) => [name, model.get(name)]))];
    case "put":
      for (const [name, put] of one.entries) model.set(name, put);
      return undefined;
    case "delete":
      return model.delete(one.key);
    case "deleteMany":
      return one.keys.filter((name) => model.delete(name)).length;
    case "list":
      return listed(model, one.options);
    case "deleteAll":
      model.clear();
      return undefined;
  }
}

function listed(model: Model, { prefix = "", start = "", end, limit, reverse }: StorageListOptions): unknown {
  const inRange = [...model].filter(
    ([name]) =>
      name.startsWith(prefix) &&
      compareKeys(name, start) >= 0 &&
      (end === undefined || compareKeys(name, end) < 0),
  );
  inRange.sort(([a], [b]) => compareKeys(a, b));
  return (reverse ? inRange.reverse() : inRange).slice(0, limit);
}

class Scene {
  readonly #host: StorageHost;
  #activation: Activation;
  #model: Model = new Map(firstKeys.map((name) => [name, name]));
  #log: number[] = [];

  static async begin(host: StorageHost, className: string, id: string): Promise<Scene> {
    const activation = await host.live(className, id);
    await storageOf(activation).putMany(firstKeys.map((name) => [name, name] as const));
    return new Scene(host, await host.restart(activation));
  }

  private constructor(host: StorageHost, activation: Activation) {
    this.#host = host;
    this.#activation = activation;
  }

  async take(one: Step): Promise<void> {
    switch (one.kind) {
      case "calls": {
        const answers = await Promise.all(one.calls.map((each) => perform(this.#event(), each)));
        expect(answers).toEqual(one.calls.map((each) => expected(this.#model, each)));
        return;
      }
      case "transaction":
        return this.#transaction(one);
      case "restart":
        return this.restart();
      case "sync":
        return this.#event().sync();
    }
  }

  async end(): Promise<void> {
    await this.restart();
    expect([...(await this.#event().list())]).toEqual(listed(this.#model, {}) as [string, unknown][]); // what `listed` makes
    await this.#host.table.stop(this.#activation, "idle");
  }

  async restart(): Promise<void> {
    this.#activation = await this.#host.restart(this.#activation);
    if (this.#activation.ref.className === "cache") this.#log = [];
    this.#checkState();
  }

  async #transaction({ calls: inside, note, fails }: Step & { kind: "transaction" }): Promise<void> {
    const model = new Map(this.#model);
    const failure = new Error("undo");
    const state = this.#activation.state as { log?: number[] }; // what the classes make
    const run = this.#event().transaction(async (tx) => {
      for (const each of inside) expect(await perform(tx, each)).toEqual(expected(model, each));
      state.log?.push(note);
      if (fails) throw failure;
    });
    // Made while it runs, by another event: answered with what was there at its end.
    const behind = this.#event().list();
    expect(await run.catch((thrown) => thrown)).toBe(fails ? failure : undefined);
    if (!fails) {
      this.#model = model;
      this.#log.push(note);
    }
    expect([...(await behind)]).toEqual(listed(this.#model, {}) as [string, unknown][]); // what `listed` makes
    this.#checkState();
  }

  #checkState(): void {
    const { log } = this.#activation.state as { log?: number[] }; // what the classes make
    if (log) expect(log).toEqual(this.#log);
  }

  #event(): ObjectStorage {
    return storageOf(this.#activation);
  }
}

for (const [name, startRig, runs] of [
  ["memory", memoryRig, 150],
  ["file", fileRig, 15],
] as const) {
  let rig: DirectoryRig;
  let directory: Directory;
  let host: StorageHost;
  let objects = 0;
  beforeAll(async () => {
    rig = await startRig();
    directory = rig.connect();
    host = await StorageHost.start(directory, [box, cache, counted]);
  });
  afterAll(async () => {
    await host.stop();
    await rig.disconnect(directory);
    await rig.stop();
  });

  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  test(`over ${name}, storage answers as a Map would, SEED=${seed}`, async () => {
    const steps = fc.array(step, { minLength: 1, maxLength: 25 });
    const className = fc.constantFrom("box", "cache", "counted");
    await fc.assert(
      fc.asyncProperty(className, steps, async (ofClass, all) => {
        objects += 1;
        const scene = await Scene.begin(host, ofClass, `object-${objects}`);
        for (const one of all) await scene.take(one);
        await scene.end();
      }),
      { seed, numRuns: runs, endOnFailure: false },
    );
  }, 60_000);
}
