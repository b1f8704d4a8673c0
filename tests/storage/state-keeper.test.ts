import { expect, test } from "bun:test";
import { replaceState, StateKeeper, startingState } from "../../infra/storage/state-keeper.ts";
import { decodeRecord, encodeRecord } from "../../infra/storage/storage-codec.ts";

interface Setup {
  readonly record?: Uint8Array;
  readonly isStored?: boolean;
  readonly version?: number;
  readonly bytesMax?: number;
}

class Scene<State extends object> {
  readonly written: unknown[] = [];
  undone = 0;
  readonly keeper: StateKeeper;
  readonly state: State;

  constructor(state: State, { record, isStored = true, version = 1, bytesMax = 10_000 }: Setup = {}) {
    this.state = state;
    this.keeper = new StateKeeper({
      state,
      version,
      isStored,
      record,
      bytesMax,
      write: (bytes) => this.written.push(decodeRecord(bytes)),
      undone: () => {
        this.undone += 1;
      },
    });
  }
}

test("a change at any depth is noticed, and written once", () => {
  const scene = new Scene({
    a: 1,
    deep: { list: [new Map([["k", new Set([1])]])] },
    bytes: new Uint8Array(2),
  });
  scene.keeper.capture();
  expect(scene.written).toEqual([]);
  for (const change of [
    () => scene.state.deep.list[0]?.get("k")?.add(2),
    () => scene.state.bytes.fill(7),
    () => Object.assign(scene.state, { more: undefined }),
    () => Reflect.deleteProperty(scene.state, "more"),
    () => scene.state.deep.list.push(new Map()),
  ]) {
    change();
    scene.keeper.capture();
    scene.keeper.capture();
    expect(scene.written.splice(0)).toEqual([{ version: 1, state: structuredClone(scene.state) }]);
  }
});

test("what is as it was is not written, also where it was changed and changed back", () => {
  const scene = new Scene({ a: 1 });
  scene.state.a = 2;
  scene.state.a = 1;
  scene.keeper.capture();
  expect(scene.written).toEqual([]);
});

test("a stored record is what changes are measured by", () => {
  const record = new Uint8Array(encodeRecord({ version: 1, state: { a: 1 } }));
  const scene = new Scene({ a: 1, b: 2 }, { record });
  scene.keeper.capture(); // the class has a new field
  expect(scene.written).toEqual([{ version: 1, state: { a: 1, b: 2 } }]);
});

test("state that cannot be stored throws, writes nothing, and can be put back", () => {
  const scene = new Scene<{ a: number; odd?: unknown }>({ a: 1 }, { bytesMax: 100 });
  scene.state.a = 2;
  scene.keeper.capture();
  for (const odd of [
    () => 1,
    Symbol("s"),
    Promise.resolve(),
    new WeakMap(),
    "x".repeat(200),
    new Date().getTimezoneOffset,
  ]) {
    Object.assign(scene.state, { a: 3, odd });
    expect(() => scene.keeper.capture()).toThrow();
    scene.keeper.restore();
    expect(scene.state).toEqual({ a: 2 });
  }
  scene.keeper.capture();
  expect(scene.written).toEqual([{ version: 1, state: { a: 2 } }]);
});

test("a state over its limit says how large it is, and what to do", () => {
  const scene = new Scene({ text: "" }, { bytesMax: 100 });
  scene.state.text = "x".repeat(200);
  expect(() => scene.keeper.capture()).toThrow(
    expect.objectContaining({ code: "storage_limit", message: expect.stringContaining("limit is 100") }),
  );
});

test("a transaction that fails puts the state back in place, and says so only where it had changed", () => {
  const scene = new Scene({ a: 1, list: [1] });
  const { list } = scene.state;
  list.push(2); // before: it is saved with the beginning
  scene.keeper.begin();
  expect(scene.written).toHaveLength(1);
  scene.keeper.rollback();
  expect([scene.undone, scene.state.list === list]).toEqual([0, true]);
  scene.keeper.begin();
  scene.state.a = 9;
  scene.state.list = [];
  Object.assign(scene.state, { odd: () => 1 });
  scene.keeper.rollback();
  expect(scene.state).toEqual({ a: 1, list: [1, 2] });
  expect([scene.undone, scene.written.length]).toEqual([1, 1]);
  scene.keeper.begin();
  scene.state.a = 5;
  scene.keeper.commit();
  expect(scene.written.at(-1)).toEqual({ version: 1, state: { a: 5, list: [1, 2] } });
});

test("state that is not stored is put back as well, and never written", () => {
  const scene = new Scene({ a: 1 }, { isStored: false });
  scene.state.a = 2;
  scene.keeper.begin();
  scene.state.a = 3;
  scene.keeper.rollback();
  expect(scene.state).toEqual({ a: 2 });
  scene.keeper.begin();
  scene.state.a = 4;
  scene.keeper.commit();
  scene.keeper.capture();
  expect([scene.state.a, scene.written]).toEqual([4, []]);
});

test("state that is not stored and could not be put back is refused before it is changed", () => {
  const promise = Promise.resolve(1);
  const scene = new Scene({ promise }, { isStored: false });
  expect(() => scene.keeper.begin()).toThrow();
  expect(scene.state.promise).toBe(promise);
});

test("a version is written with the transaction that brings the data there, or not at all", () => {
  for (const isStored of [true, false]) {
    const scene = new Scene({ a: 1 }, { isStored });
    scene.keeper.begin();
    scene.keeper.setVersion(2);
    scene.keeper.rollback();
    scene.keeper.capture();
    expect(scene.written).toEqual([]);
    scene.keeper.begin();
    scene.keeper.setVersion(2);
    scene.keeper.commit();
    expect(scene.written).toEqual([isStored ? { version: 2, state: { a: 1 } } : { version: 2 }]);
  }
});

test.each<[string, object, object]>([
  ["an object", { a: 1, gone: 2 }, { a: 2, b: 3 }],
  ["a list", [1, 2, 3], [4]],
  ["a map", new Map([["a", 1]]), new Map([["b", 2]])],
  ["a set", new Set([1]), new Set([2, 3])],
])("%s becomes what is stored, and stays the same object", (_what, state, stored) => {
  replaceState(state, stored);
  expect(state).toEqual(stored);
});

test("an object starts with what is stored, and with its class's own value for a field that is not", () => {
  expect(startingState({ a: 1, b: 2 }, { a: 5 })).toEqual({ a: 5, b: 2 });
  expect(startingState({ a: 1 }, undefined)).toEqual({ a: 1 });
  expect(startingState(new Map([["a", 1]]), new Map([["b", 2]]))).toEqual(new Map([["b", 2]]));
  expect(startingState([1], [2, 3])).toEqual([2, 3]);
});
