import { afterEach, expect, test } from "bun:test";
import { StatefulError } from "../../infra/lib/errors.ts";
import { lineLengthMax } from "../../infra/storage/storage-limits.ts";
import { StorageLine } from "../../infra/storage/storage-line.ts";

/** One line; turns pass when a test says so. */
class Scene {
  readonly steps: string[] = [];
  locks = 0;
  transactions = 0;
  applied = 0;
  readonly #turns: (() => void)[] = [];
  readonly line = new StorageLine({
    gate: {
      lock: (isTransaction) => {
        this.locks += 1;
        if (isTransaction) this.transactions += 1;
      },
      unlock: (isTransaction) => {
        this.locks -= 1;
        if (isTransaction) this.transactions -= 1;
      },
    },
    nextTurn: (callback) => this.#turns.push(callback),
    applied: () => {
      this.applied += 1;
    },
    idle: () => undefined,
  });

  constructor() {
    scenes.push(this);
  }

  /** What was called happens, and what awaits it runs. */
  async settle(): Promise<string[]> {
    await this.#settle();
    return this.steps.splice(0);
  }

  async turn(): Promise<string[]> {
    await this.#settle();
    for (const callback of this.#turns.splice(0)) callback();
    return this.settle();
  }

  async #settle(): Promise<void> {
    for (let round = 0; round < 20; round += 1) await Promise.resolve();
  }

  /** A read that ends at once, or when `held` does. */
  read(caller: object | undefined, name: string, held?: Promise<unknown>): Promise<unknown> {
    return this.line.read(caller, () => {
      this.steps.push(name);
      return held;
    });
  }

  write(caller: object | undefined, name: string): Promise<unknown> {
    return this.line.write(caller, () => this.steps.push(name));
  }

  get turnsDue(): number {
    return this.#turns.length;
  }
}

const scenes: Scene[] = [];
afterEach(async () => {
  for (const scene of scenes.splice(0)) {
    while (scene.turnsDue > 0) await scene.turn();
    expect([scene.locks, scene.transactions, isApplied(scene.line), await scene.settle()]).toEqual([
      0,
      0,
      true,
      [],
    ]);
  }
});

const [a, b, c] = [{ event: "a" }, { event: "b" }, { event: "c" }];

test("a write with nobody reading happens at once, in the same turn, and takes no lock", () => {
  const scene = new Scene();
  void scene.write(a, "write");
  expect([scene.steps.splice(0), scene.locks, isApplied(scene.line)]).toEqual([["write"], 0, true]);
});

test("a read holds the line until what awaits it has run, and is extended by reading on", async () => {
  const scene = new Scene();
  const work = (async () => {
    await scene.read(a, "a reads");
    await scene.write(a, "a writes");
    await scene.read(a, "a reads on");
    await scene.write(a, "a writes again");
  })();
  const others = [scene.read(b, "b reads"), scene.write(c, "c writes")];
  expect(scene.locks).toBe(1);
  expect(await scene.settle()).toEqual(["a reads", "a writes", "a reads on", "a writes again"]);
  expect(await scene.turn()).toEqual(["b reads"]);
  expect(await scene.turn()).toEqual(["c writes"]);
  await Promise.all([work, ...others]);
});

test("while a read is open its event's other calls go on, and nobody else's", async () => {
  const scene = new Scene();
  const held = Promise.withResolvers<void>();
  void scene.read(a, "a reads", held.promise);
  void scene.read(a, "a reads at once");
  void scene.write(b, "b writes");
  void scene.write(a, "a writes");
  expect(await scene.turn()).toEqual(["a reads", "a reads at once", "a writes"]);
  expect(isApplied(scene.line)).toBe(false); // b's write is still to come
  held.resolve();
  expect(await scene.turn()).toEqual(["b writes"]);
  expect([isApplied(scene.line), scene.applied]).toEqual([true, 1]);
});

test("those who wait come in their order, writes and reads alike", async () => {
  const scene = new Scene();
  void scene.read(a, "a");
  void scene.write(b, "b 1");
  void scene.write(c, "c 1");
  void scene.read(b, "b 2");
  void scene.write(c, "c 2");
  expect(await scene.settle()).toEqual(["a"]);
  expect(await scene.turn()).toEqual(["b 1", "c 1", "b 2"]);
  expect(await scene.turn()).toEqual(["c 2"]);
});

test("a caller without a token is a stranger to itself", async () => {
  const scene = new Scene();
  void scene.read(undefined, "one");
  void scene.read(undefined, "two");
  void scene.write(undefined, "three");
  expect(await scene.settle()).toEqual(["one"]);
  expect(await scene.turn()).toEqual(["two"]);
  expect(await scene.turn()).toEqual(["three"]);
});

test("an update is not applied before it has ended, whatever becomes of it", async () => {
  const scene = new Scene();
  const held = Promise.withResolvers<void>();
  const update = scene.line
    .update(a, () => held.promise)
    .catch((thrown) => scene.steps.push(String(thrown.message)));
  expect(isApplied(scene.line)).toBe(false);
  held.reject(new Error("could not read"));
  expect(await scene.settle()).toEqual(["could not read"]);
  expect([isApplied(scene.line), scene.applied]).toEqual([true, 1]);
  await update;
});

test("a transaction has the line to itself; its own calls go through, those of its event wait", async () => {
  const scene = new Scene();
  const held = Promise.withResolvers<void>();
  const tx = {};
  void scene.line.transaction(undefined, tx, async () => {
    scene.steps.push("begins");
    await scene.read(tx, "reads inside");
    await held.promise;
    await scene.write(tx, "writes inside");
  });
  void scene.write(a, "a writes");
  void scene.line.transaction(undefined, {}, () => void scene.steps.push("the next"));
  expect([await scene.turn(), scene.transactions]).toEqual([["begins", "reads inside"], 1]);
  held.resolve();
  expect(await scene.settle()).toEqual(["writes inside"]);
  expect(await scene.turn()).toEqual(["a writes", "the next"]);
  expect(isApplied(scene.line)).toBe(true);
});

test("a read or a transaction that throws lets the next one in", async () => {
  const scene = new Scene();
  const failed = [
    scene.line.read(a, () => {
      throw new Error("a");
    }),
    scene.line.transaction(undefined, b, () => Promise.reject(new Error("b"))),
    scene.line.write(c, () => {
      throw new Error("c");
    }),
  ].map((call) => call.catch((thrown) => scene.steps.push(thrown.message)));
  expect(await scene.settle()).toEqual(["a"]);
  expect(await scene.turn()).toEqual(["b"]);
  expect(await scene.turn()).toEqual(["c"]);
  await Promise.all(failed);
});

test("the gate stays locked from one reader to the next: nobody slips in between", async () => {
  const scene = new Scene();
  void scene.read(a, "a");
  void scene.read(b, "b");
  await scene.turn();
  expect(scene.locks).toBe(1);
  await scene.turn();
  expect(scene.locks).toBe(0);
  scene.steps.splice(0);
});

test("past its length a call is refused, and those that wait are not", async () => {
  const scene = new Scene();
  void scene.read(a, "a");
  const waiting = Array.from({ length: lineLengthMax }, () => scene.line.write(b, () => undefined));
  const refused = scene.line.write(b, () => undefined);
  expect(await refused.catch(({ code }) => code)).toBe("storage_backlog");
  await scene.turn();
  expect(await Promise.all(waiting)).toHaveLength(lineLengthMax);
  scene.steps.splice(0);
});

test("closed: those who wait and those who come later get the first cause, and nothing of theirs runs", async () => {
  const scene = new Scene();
  const held = Promise.withResolvers<void>();
  void scene.read(a, "a", held.promise).catch(() => undefined);
  const waiting = [
    scene.read(b, "b"),
    scene.write(c, "c"),
    scene.line.transaction(undefined, {}, () => undefined),
  ];
  const codes = Promise.all(waiting.map((call) => call.catch(({ code }) => code)));
  scene.line.close(new StatefulError("fenced", "first"));
  scene.line.close(new StatefulError("not_owner", "second"));
  const late = [scene.write(a, "a again"), scene.read(c, "c again")].map((call) =>
    call.catch(({ code }) => code),
  );
  expect(await codes).toEqual(["fenced", "fenced", "fenced"]);
  expect(await Promise.all(late)).toEqual(["fenced", "fenced"]);
  held.resolve();
  expect(await scene.turn()).toEqual(["a"]);
});

function isApplied(line: StorageLine): boolean {
  return line.appliedUpTo === line.issued;
}
