import { describe, expect, test } from "bun:test";
import { guardedObjects } from "../../infra/host/guarded-objects.ts";
import {
  type ActivationMemory,
  type HeldMemory,
  MemoryAccounts,
  socketBytesOf,
} from "../../infra/host/memory-account.ts";
import { MemoryCheck, memoryCheckLimits } from "../../infra/host/memory-check.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { object } from "../../infra/object/index.ts";
import { classDefinition } from "../../infra/object/object.ts";
import { StorageCache } from "../../infra/storage/storage-cache.ts";
import { LogBook } from "./object-host.ts";

const mebibyte = 1024 * 1024;

function held(changes: Partial<HeldMemory> = {}): HeldMemory {
  return {
    ref: objectRef("room", "a"),
    state: {},
    memoryHint: undefined,
    storageBytes: 0,
    socketBytes: 0,
    topicBytes: 0,
    pendingBytes: 0,
    ...changes,
  };
}

function definitionOf(options: Parameters<typeof object>[1]) {
  const definition = classDefinition(object("room", options));
  if (definition === undefined) throw new Error("not a class");
  return definition;
}

describe("H20: the account of an activation", () => {
  test("is the sum of its parts", () => {
    const accounts = new MemoryAccounts(new LogBook());
    const memory = accounts.of(
      held({
        state: { page: new Uint8Array(mebibyte) },
        memoryHint: () => 5,
        storageBytes: 10,
        socketBytes: 20,
        topicBytes: 30,
        pendingBytes: 40,
      }),
    );
    const { stateBytes, totalBytes, ...others } = memory;
    expect(others).toEqual({
      storageBytes: 10,
      socketBytes: 20,
      topicBytes: 30,
      pendingBytes: 40,
      hintBytes: 5,
    });
    expect(stateBytes).toBeWithin(mebibyte, 1.01 * mebibyte);
    expect(totalBytes).toBe(stateBytes + 105);
  });

  test("counts what waits on sockets, and each socket itself", () => {
    const socket = (bytes: number) => ({ carrier: { bufferedBytes: () => bytes } });
    expect(socketBytesOf([])).toBe(0);
    const one = socketBytesOf([socket(0)]);
    expect(one).toBeGreaterThan(0);
    expect(socketBytesOf([socket(1000), socket(0), socket(-1)])).toBe(3 * one + 1000);
  });

  test("counts a cached key with what it takes beside its bytes, and lets go of it when it is forgotten", () => {
    const cache = new StorageCache(new Map(), true);
    expect(cache.memoryBytes).toBe(0);
    cache.write("key", new Uint8Array(100));
    expect(cache.memoryBytes).toBeGreaterThan(103);
    cache.write("key", null);
    expect(cache.memoryBytes).toBe(0);
  });

  test("takes the class's hint, which is given the state", () => {
    const { memoryHint } = definitionOf({
      state: () => ({ pages: 3 }),
      memoryHint: (state) => (state as { pages: number }).pages * 4096, // the class's own state
    });
    const accounts = new MemoryAccounts(new LogBook());
    expect(accounts.of(held({ state: { pages: 3 }, memoryHint })).hintBytes).toBe(3 * 4096);
  });

  const broken: Readonly<Record<string, () => number>> = {
    throws: () => {
      throw new Error("no idea");
    },
    "is negative": () => -1,
    "is not a number": () => Number.NaN,
    "is without end": () => Number.POSITIVE_INFINITY,
    "is a promise": () => Promise.resolve(1) as unknown as number, // what an author may do all the same
  };
  for (const [how, memoryHint] of Object.entries(broken)) {
    test(`counts a hint that ${how} as 0, and logs it once`, () => {
      const log = new LogBook();
      const accounts = new MemoryAccounts(log);
      for (let time = 0; time < 3; time += 1) expect(accounts.of(held({ memoryHint })).hintBytes).toBe(0);
      expect(log.entries.map(({ level, event }) => [level, event])).toEqual([
        ["error", "memory.hint_failed"],
      ]);
    });
  }

  test("counts a state that cannot be read as 0, and logs it once for the class", () => {
    const log = new LogBook();
    const accounts = new MemoryAccounts(log);
    const state = {
      get broken() {
        throw new Error("not now");
      },
    };
    for (const id of ["a", "b"])
      expect(accounts.of(held({ ref: objectRef("room", id), state })).totalBytes).toBe(0);
    expect(log.entries.map(({ event }) => event)).toEqual(["memory.state_unreadable"]);
  });
});

describe("H22: what a class may say of memory", () => {
  test("without a word there is no limit and no hint", () => {
    const { limits, memoryHint } = definitionOf({});
    expect(limits.memoryBytesMax).toBe(Number.POSITIVE_INFINITY);
    expect(memoryHint).toBeUndefined();
  });

  test("a limit is a whole number above 0, or Infinity", () => {
    expect(definitionOf({ limits: { memoryBytesMax: 1000 } }).limits.memoryBytesMax).toBe(1000);
    for (const memoryBytesMax of [0, -1, 1.5, Number.NaN])
      expect(() => definitionOf({ limits: { memoryBytesMax } })).toThrow("limits.memoryBytesMax");
  });
});

interface Checked {
  readonly ref: ObjectRef;
  readonly isLive: boolean;
  readonly memoryBytesMax: number;
  heldMemory(): HeldMemory;
  looks: number;
}

function activation(
  id: string,
  memoryBytesMax: number,
  changes: Partial<HeldMemory> & { isLive?: boolean } = {},
): Checked {
  const ref = objectRef("room", id);
  const { isLive = true, ...memory } = changes;
  const checked: Checked = {
    ref,
    isLive,
    memoryBytesMax,
    looks: 0,
    heldMemory: () => {
      checked.looks += 1;
      return held({ ref, ...memory });
    },
  };
  return checked;
}

class Check {
  readonly log = new LogBook();
  readonly stopped: { readonly key: string; readonly cause: StatefulError }[] = [];
  readonly check: MemoryCheck<Checked>;

  constructor(activations: readonly Checked[]) {
    this.check = new MemoryCheck<Checked>({
      accounts: new MemoryAccounts(this.log),
      log: this.log,
      activations: () => activations,
      stop: ({ ref }, cause) => this.stopped.push({ key: ref.key, cause }),
    });
  }
}

describe("H22: an object over its class's memoryBytesMax", () => {
  test("is stopped with an error that names the class, the figure, the limit and what to do", () => {
    const state = { page: new Uint8Array(3 * mebibyte) };
    const { check, stopped, log } = new Check([
      activation("small", 2 * mebibyte),
      activation("large", 2 * mebibyte, { state, storageBytes: 1000 }),
    ]);
    check.look(0);
    expect(stopped.map(({ key }) => key)).toEqual(["room/large"]);
    const cause = stopped[0]?.cause;
    expect(cause).toBeInstanceOf(StatefulError);
    expect(cause).toMatchObject({ code: "memory_limit", status: 507, closeCode: 1011, retryable: false });
    expect(cause?.message).toContain(
      'room/large was stopped: it holds 3.00 MiB of memory, most of it state (3.00 MiB), and class "room" allows 2.00 MiB',
    );
    expect(cause?.message).toContain("Keep what grows in storage");
    const [entry] = log.entries;
    expect(entry).toMatchObject({ level: "error", event: "object.memory_limit" });
    const account: Partial<ActivationMemory> = { storageBytes: 1000, socketBytes: 0 };
    expect(entry?.fields).toMatchObject({ object: "room/large", memoryBytesMax: 2 * mebibyte, ...account });
  });

  test("is one whose class has a limit, and which lives", () => {
    const state = { page: new Uint8Array(mebibyte) };
    const unlimited = activation("unlimited", Number.POSITIVE_INFINITY, { state });
    const ending = activation("ending", 1, { state, isLive: false });
    const { check, stopped } = new Check([unlimited, ending]);
    check.look(0);
    expect(stopped).toEqual([]);
    expect([unlimited.looks, ending.looks]).toEqual([0, 0]);
  });

  test("is found within a few seconds: each is looked at once in that time, not with every look", () => {
    const one = activation("a", mebibyte);
    const { check } = new Check([one]);
    for (let atMs = 0; atMs < 3 * memoryCheckLimits.intervalMs; atMs += 1000) {
      check.look(atMs);
      check.look(atMs + 1); // a round that has ended is not begun again before its time
    }
    expect(one.looks).toBe(3);
  });

  test("is found among many: a look does only so much, and the next goes on from there", () => {
    const state = { lines: Array.from({ length: 5000 }, (_, n) => n) };
    const many = Array.from({ length: 20 }, (_, n) => activation(`${n}`, mebibyte, { state }));
    const { check } = new Check(many);
    const looked = () => many.filter(({ looks }) => looks > 0).length;
    check.look(0);
    expect(looked()).toBe(4); // 5,000 values each, of 20,000
    check.look(1000);
    expect(looked()).toBe(8);
    for (let look = 2; look < 6; look += 1) check.look(1000 * look);
    expect(many.every(({ looks }) => looks === 1)).toBe(true);
  });
});

describe("H24: an activation, as the guard sees it", () => {
  function guarded(changes: { isLive?: boolean; isIdle?: boolean; touched?: boolean } = {}) {
    const told: string[] = [];
    const activation = { isLive: true, isIdle: true, touched: false, idleSinceMs: 3000, ...changes };
    const ref = objectRef("room", "a");
    const state = { page: new Uint8Array(1000) };
    const [one] = guardedObjects([{ ...activation, ref, heldMemory: () => held({ ref, state }) }], {
      accounts: new MemoryAccounts(new LogBook()),
      monotonicMs: () => 10_000,
      sleep: async () => void told.push("sleep"),
      mayMove: () => true,
      move: async () => told.push("move") > 0,
    });
    return { one, told };
  }

  test("has been idle since nothing has happened to it", async () => {
    const { one, told } = guarded();
    expect(one).toMatchObject({ key: "room/a", idleForMs: 7000, mayMove: true });
    expect(one?.memory().totalBytes).toBeWithin(1000, 2000);
    await one?.sleep();
    expect(await one?.move()).toBe(true);
    expect(told).toEqual(["sleep", "move"]);
  });

  test("is not put to sleep where something happens to it by now", async () => {
    for (const changes of [{ isIdle: false }, { touched: true }]) {
      const { one, told } = guarded(changes);
      expect(one?.idleForMs).toBeUndefined();
      await one?.sleep();
      expect(told).toEqual([]);
    }
  });

  test("is not there where it does not live", () => {
    expect(guarded({ isLive: false }).one).toBeUndefined();
  });
});
