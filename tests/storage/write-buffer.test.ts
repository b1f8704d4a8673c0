import { expect, test } from "bun:test";
import {
  type ObjectWrites,
  recordKey,
  type StoredAlarm,
  type StoredMessage,
  type TopicWrites,
} from "../../infra/lease/stored-objects.ts";
import { alarmBytes, rowBytes } from "../../infra/lease/write-queue.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { pendingLimits } from "../../infra/storage/storage-limits.ts";
import { type BrokenWrites, WriteBuffer } from "../../infra/storage/write-buffer.ts";

const bytes = (...values: number[]) => new Uint8Array(values);
const ref = objectRef("box", "a");
const rowOf = (key: string) => rowBytes(ref, key);
const alarm = (dueAtMs: number): StoredAlarm => ({
  dueAtMs,
  attempt: 0,
  schedule: "",
  payload: bytes(),
  parked: false,
  lastError: "",
});

/** One buffer, and the line of commits as a test plays it. */
class Scene {
  readonly broken: BrokenWrites[] = [];
  sends = 0;
  committed = 0;
  readonly waiting = { bytes: 0 };
  readonly buffer: WriteBuffer;

  constructor(firstRecord?: Uint8Array) {
    this.buffer = new WriteBuffer(
      {
        ref,
        firstRecord: () => firstRecord,
        waiting: this.waiting,
        send: () => {
          this.sends += 1;
        },
        committed: () => {
          this.committed += 1;
        },
        broken: (cause) => this.broken.push(cause),
      },
      "session-1",
      1,
    );
  }

  put(key: string, value: Uint8Array | null, isStaged = false): void {
    this.buffer.putAll([[key, value]], isStaged);
  }

  take(session = "session-1"): Omit<ObjectWrites, "object"> | undefined {
    const writes = this.buffer.take(session);
    if (writes === undefined) return undefined;
    const { object: _, ...rest } = writes;
    return rest;
  }

  arrive(): void {
    this.buffer.committed();
    this.buffer.told();
  }
}

const writesOf = (
  values: Record<string, Uint8Array | null>,
  {
    epoch = 1,
    clears = false,
    alarms = {},
    messages = {},
  }: {
    epoch?: number;
    clears?: boolean;
    alarms?: Record<string, StoredAlarm | null>;
    messages?: Record<string, TopicWrites>;
  } = {},
) => ({
  ...{ epoch, clears, values: new Map(Object.entries(values)), alarms: new Map(Object.entries(alarms)) },
  messages: new Map(Object.entries(messages)),
});

test("several changes of a key between two commits are one write, the last", () => {
  const scene = new Scene();
  scene.put("a", bytes(1));
  scene.put("a", bytes(2));
  scene.put("b", bytes(1));
  scene.put("b", null);
  expect(scene.buffer.changedUpTo).toBe(4);
  expect(scene.take()).toEqual(writesOf({ a: bytes(2), b: null }));
  scene.arrive();
  expect([scene.buffer.durableUpTo, scene.buffer.isClean, scene.committed]).toEqual([4, true, 1]);
  expect(scene.take()).toBeUndefined();
});

test("what changes while a commit travels goes with the next, and is not durable before", () => {
  const scene = new Scene();
  scene.put("a", bytes(1));
  scene.take();
  scene.put("a", bytes(2));
  scene.put("b", bytes(1));
  expect(scene.take()).toBeUndefined();
  expect([scene.buffer.durableUpTo, scene.buffer.holds("a"), scene.buffer.isClean]).toEqual([0, true, false]);
  const { sends } = scene;
  scene.arrive();
  expect(scene.sends).toBe(sends + 1);
  expect(scene.buffer.durableUpTo).toBe(1);
  expect(scene.take()).toEqual(writesOf({ a: bytes(2), b: bytes(1) }));
  scene.arrive();
  expect([scene.buffer.durableUpTo, scene.buffer.holds("a")]).toEqual([3, false]);
});

test("a clear takes with it what waited, and not what travels, the record or the alarms", () => {
  const scene = new Scene();
  scene.put("travels", bytes(1));
  scene.take();
  scene.put("waits", bytes(1));
  scene.buffer.putRecord(bytes(9), true);
  scene.buffer.putAlarm("x", alarm(1), false);
  scene.buffer.clear(false);
  scene.put("after", bytes(2));
  scene.arrive();
  expect(scene.take()).toEqual(
    writesOf({ [recordKey]: bytes(9), after: bytes(2) }, { clears: true, alarms: { x: alarm(1) } }),
  );
  scene.arrive();
  expect(scene.buffer.isClean).toBe(true);
});

test("a clear alone is a change to be written", () => {
  const scene = new Scene();
  scene.buffer.clear(false);
  expect([scene.sends, scene.buffer.isClean]).toEqual([1, false]);
  expect(scene.take()).toEqual(writesOf({}, { clears: true }));
});

test("paused with a commit in flight: all of it is sent again by the next session, with what came since on top", () => {
  const scene = new Scene();
  scene.put("a", bytes(1));
  scene.put("b", bytes(1));
  scene.buffer.putAlarm("x", alarm(1), false);
  scene.take();
  scene.put("b", bytes(2));
  scene.put("c", bytes(3));
  scene.buffer.putAlarm("x", null, false);
  scene.buffer.pause();
  expect(scene.take()).toBeUndefined();
  scene.arrive(); // the answer of the session that is over
  expect([scene.buffer.durableUpTo, scene.buffer.isClean]).toEqual([0, false]);
  scene.put("d", bytes(4));
  const { sends } = scene;
  scene.buffer.resume("session-2", 7);
  expect(scene.sends).toBe(sends + 1);
  expect(scene.take("session-1")).toBeUndefined();
  expect(scene.take("session-2")).toEqual(
    writesOf({ a: bytes(1), b: bytes(2), c: bytes(3), d: bytes(4) }, { epoch: 7, alarms: { x: null } }),
  );
  scene.arrive();
  expect([scene.buffer.durableUpTo, scene.buffer.isClean]).toEqual([scene.buffer.changedUpTo, true]);
});

test("a clear that was in flight is sent again before what came since; one that came since drops what was in flight", () => {
  const scene = new Scene();
  scene.buffer.clear(false);
  scene.put("a", bytes(1));
  scene.take();
  scene.put("b", bytes(2));
  scene.buffer.pause();
  scene.buffer.resume("session-2", 2);
  expect(scene.take("session-2")).toEqual(writesOf({ a: bytes(1), b: bytes(2) }, { epoch: 2, clears: true }));
  scene.buffer.putRecord(bytes(9), true);
  scene.buffer.clear(false);
  scene.buffer.pause();
  scene.buffer.resume("session-3", 3);
  expect(scene.take("session-3")).toEqual(writesOf({ [recordKey]: bytes(9) }, { epoch: 3, clears: true }));
});

test("paused again and again, nothing is lost", () => {
  const scene = new Scene();
  for (let round = 1; round <= 5; round += 1) {
    scene.put(`k${round}`, bytes(round));
    scene.put("last", bytes(round));
    if (round % 2 === 0) scene.take(`session-${round}`);
    scene.buffer.pause();
    scene.buffer.resume(`session-${round + 1}`, round + 1);
  }
  const { values } = scene.take("session-6") ?? writesOf({});
  expect([...values.keys()].toSorted()).toEqual(["k1", "k2", "k3", "k4", "k5", "last"]);
  expect(values.get("last")).toEqual(bytes(5));
});

test("while paused nothing is asked for, and everything is once it goes on", () => {
  const scene = new Scene();
  scene.buffer.pause();
  scene.put("a", bytes(1));
  expect(scene.sends).toBe(0);
  scene.buffer.resume("session-1", 1);
  expect(scene.sends).toBe(1);
});

test("staged changes wait for the end of their transaction, are no change before, and one afterwards", () => {
  const scene = new Scene();
  scene.put("a", bytes(1));
  scene.take();
  scene.arrive();
  scene.buffer.begin();
  scene.put("a", bytes(2), true);
  scene.buffer.clear(true);
  scene.put("b", bytes(3), true);
  scene.buffer.putAlarm("x", alarm(1), true);
  expect([scene.buffer.changedUpTo, scene.buffer.isClean, scene.take()]).toEqual([1, true, undefined]);
  expect(scene.buffer.holds("b")).toBe(true);
  scene.put("c", bytes(4)); // somebody else's, as the state is
  scene.buffer.commit();
  expect(scene.buffer.changedUpTo).toBe(3);
  expect(scene.take()).toEqual(writesOf({ b: bytes(3) }, { clears: true, alarms: { x: alarm(1) } }));
});

test("staged changes that are rolled back leave what waits as it was", () => {
  const scene = new Scene();
  scene.put("a", bytes(1));
  scene.buffer.begin();
  scene.put("a", bytes(2), true);
  scene.buffer.clear(true);
  scene.buffer.rollback();
  expect(scene.buffer.changedUpTo).toBe(1);
  expect(scene.take()).toEqual(writesOf({ a: bytes(1) }));
});

test("a transaction that changed nothing is no change", () => {
  const scene = new Scene();
  scene.buffer.begin();
  scene.buffer.commit();
  expect([scene.buffer.changedUpTo, scene.sends, scene.buffer.isClean]).toEqual([0, 0, true]);
});

test("past its bytes a put is refused and changes nothing; what travels counts, and its arrival makes room", () => {
  const scene = new Scene();
  const half = new Uint8Array(pendingLimits.bytesMax / 2 - 200);
  scene.put("a", half);
  scene.take();
  scene.put("b", half);
  const before = scene.buffer.changedUpTo;
  const more: [string, Uint8Array][] = [
    ["c", bytes(1)],
    ["d", half],
  ];
  expect(() => scene.buffer.putAll(more, false)).toThrow(expect.objectContaining({ code: "storage_limit" }));
  expect([scene.buffer.changedUpTo, scene.buffer.holds("c")]).toEqual([before, false]);
  scene.put("b", half); // in the place of what waits
  scene.arrive();
  scene.buffer.putAll(more, false);
  expect(scene.take()?.values.size).toBe(3);
});

test("past its keys a put is refused; a transaction has the same room", () => {
  const scene = new Scene();
  const keys = Array.from({ length: pendingLimits.keysMax }, (_, index) => [`k${index}`, bytes(1)] as const);
  scene.buffer.begin();
  scene.buffer.putAll(keys, true);
  expect(() => scene.put("more", bytes(1), true)).toThrow(expect.objectContaining({ code: "storage_limit" }));
  scene.put("k7", null, true);
  scene.buffer.rollback();
  scene.buffer.putAll(keys, false);
  expect(() => scene.put("more", bytes(1))).toThrow(expect.objectContaining({ code: "storage_limit" }));
  expect(scene.buffer.pendingKeys).toBe(pendingLimits.keysMax);
});

test("long keys count like values: a commit must fit in one message", () => {
  const scene = new Scene();
  const count = Math.ceil(pendingLimits.bytesMax / 2_000);
  const keys = Array.from(
    { length: count },
    (_, index) => [`${index}`.padStart(2_000, "k"), bytes()] as const,
  );
  expect(() => scene.buffer.putAll(keys, false)).toThrow(expect.objectContaining({ code: "storage_limit" }));
});

test("bytes that wait are counted right, whatever is put, replaced, deleted and sent again", () => {
  const scene = new Scene();
  scene.put("aa", new Uint8Array(10));
  scene.put("aa", new Uint8Array(4));
  scene.put("é", null);
  const rows = rowOf("aa") + rowOf("é");
  expect(scene.buffer.pendingBytes).toBe(rows + 4);
  scene.take();
  scene.put("aa", new Uint8Array(5));
  expect(scene.buffer.pendingBytes).toBe(rows + 4 + rowOf("aa") + 5);
  scene.buffer.pause();
  expect(scene.buffer.pendingBytes).toBe(rows + 5);
  scene.buffer.putAlarm("x", alarm(1), false);
  scene.buffer.putRecord(bytes(1, 2), true);
  scene.buffer.clear(false);
  expect(scene.buffer.pendingBytes).toBe(alarmBytes(ref, "x", alarm(1)) + rowOf(recordKey) + 2);
});

test("what grows on its way counts as what it travels as, and alarms count as well", () => {
  const scene = new Scene();
  const count = Math.ceil(pendingLimits.bytesMax / 8_000);
  const keys = Array.from({ length: count }, (_, index) => [`${index}${'"'.repeat(2_000)}`, null] as const);
  expect(() => scene.buffer.putAll(keys, false)).toThrow(expect.objectContaining({ code: "storage_limit" }));
  scene.put("a", new Uint8Array(pendingLimits.bytesMax - 20_000));
  const large = { ...alarm(1), payload: new Uint8Array(16_000) };
  scene.buffer.putAlarm("x", large, false);
  scene.buffer.putAlarm("x", large, false);
  expect(() => scene.buffer.putAlarm("y", large, false)).toThrow(
    expect.objectContaining({ code: "storage_limit" }),
  );
  expect([...(scene.take()?.alarms.keys() ?? [])]).toEqual(["x"]);
});

test("fenced and refused are told once it is known, and nothing after the end", () => {
  const scene = new Scene();
  scene.put("a", bytes(1));
  scene.take();
  scene.buffer.fenced();
  const cause = new StatefulError("internal", "no such column");
  scene.buffer.refused(cause);
  expect(scene.broken.splice(0)).toEqual([{ kind: "fenced" }, { kind: "refused", cause }]);
  scene.buffer.close();
  scene.buffer.fenced();
  scene.buffer.refused(cause);
  scene.arrive();
  const { sends } = scene;
  scene.put("b", bytes(1));
  expect([scene.broken, scene.committed, scene.sends - sends, scene.take()]).toEqual([[], 0, 0, undefined]);
});

test("a record that nobody waits for is written, and holds nobody back", () => {
  const scene = new Scene();
  scene.buffer.putRecord(bytes(1), false);
  expect([scene.buffer.changedUpTo, scene.buffer.isClean, scene.sends]).toEqual([0, false, 1]);
  expect(scene.take()).toEqual(writesOf({ [recordKey]: bytes(1) }));
});

test("an object's first write carries its record, once, also where that write has to be sent again", () => {
  const scene = new Scene(bytes(7));
  expect(scene.take()).toBeUndefined();
  scene.put("a", bytes(1));
  expect(scene.take()).toEqual(writesOf({ a: bytes(1), [recordKey]: bytes(7) }));
  scene.buffer.pause();
  scene.buffer.resume("session-2", 2);
  expect(scene.take("session-2")).toEqual(writesOf({ a: bytes(1), [recordKey]: bytes(7) }, { epoch: 2 }));
  scene.arrive();
  scene.put("a", bytes(2));
  expect(scene.take("session-2")).toEqual(writesOf({ a: bytes(2) }, { epoch: 2 }));

  const newer = new Scene(bytes(7));
  newer.put("a", bytes(1));
  newer.buffer.putRecord(bytes(8), true);
  expect(newer.take()).toEqual(writesOf({ a: bytes(1), [recordKey]: bytes(8) }));
});

test("what waits is counted for the whole host, and no longer when it is stored, fenced or dropped", () => {
  const scene = new Scene();
  scene.put("a", new Uint8Array(1000));
  const row = rowOf("a");
  expect(scene.waiting.bytes).toBe(row + 1000);
  scene.put("a", new Uint8Array(10));
  expect(scene.waiting.bytes).toBe(row + 10);
  scene.take();
  scene.put("b", new Uint8Array(20));
  expect(scene.waiting.bytes).toBe(row + 10 + row + 20);
  scene.buffer.committed();
  expect(scene.waiting.bytes).toBe(row + 20);
  scene.buffer.pause();
  expect(scene.waiting.bytes).toBe(row + 20);
  scene.buffer.close();
  expect(scene.waiting.bytes).toBe(0);
  scene.put("c", new Uint8Array(20)); // by a handle that outlived it
  expect(scene.waiting.bytes).toBe(0);
});

// -- messages of topics

const message = (place: number, text = `${place}`): StoredMessage => ({
  ...{ place, history: "h", form: "text", publishedAtMs: 1 },
  value: new TextEncoder().encode(text),
});
const places = (writes: Omit<ObjectWrites, "object"> | undefined, topic: string) => [
  writes?.messages.get(topic)?.keepFrom,
  writes?.messages.get(topic)?.puts.map(({ place }) => place),
];

test("messages of a topic wait in their order; what is to go before it was written is not", () => {
  const scene = new Scene();
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [message(1), message(2)] });
  scene.buffer.putMessages("news", { keepFrom: 2, puts: [message(3)] });
  scene.buffer.putMessages("chat", { keepFrom: 0, puts: [message(1)] });
  expect([scene.buffer.changedUpTo, scene.buffer.pendingKeys]).toEqual([3, 3]);
  const news = { keepFrom: 2, puts: [message(2), message(3)] };
  expect(scene.take()).toEqual(
    writesOf({}, { messages: { news, chat: { keepFrom: 0, puts: [message(1)] } } }),
  );
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [message(4)] });
  scene.arrive();
  expect([scene.buffer.durableUpTo, places(scene.take(), "news")]).toEqual([3, [0, [4]]]);
  scene.arrive();
  expect([scene.buffer.durableUpTo, scene.buffer.isClean, scene.buffer.pendingBytes]).toEqual([4, true, 0]);
});

test("a trim alone is written, and nobody waits for it", () => {
  const scene = new Scene();
  scene.buffer.putMessages("news", { keepFrom: 5, puts: [] });
  expect([scene.sends, scene.buffer.changedUpTo, scene.buffer.isClean]).toEqual([1, 0, false]);
  expect(places(scene.take(), "news")).toEqual([5, []]);
});

test("S5 paused with a commit in flight, messages are sent again as one set, and again", () => {
  const scene = new Scene();
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [message(1), message(2)] });
  const lost = scene.take();
  scene.buffer.putMessages("news", { keepFrom: 2, puts: [message(3)] });
  scene.buffer.pause();
  for (const epoch of [2, 3]) {
    scene.buffer.resume(`session-${epoch}`, epoch);
    const again = scene.take(`session-${epoch}`);
    expect([again?.epoch, ...places(again, "news")]).toEqual([epoch, 2, [2, 3]]);
    scene.buffer.pause();
  }
  expect(places(lost, "news")).toEqual([0, [1, 2]]); // as it left
});

test("neither a clear nor a transaction touches messages", () => {
  const scene = new Scene();
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [message(1)] });
  scene.buffer.clear(false);
  scene.buffer.begin();
  scene.put("a", bytes(1), true);
  scene.buffer.clear(true);
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [message(2)] });
  scene.buffer.rollback();
  expect(places(scene.take(), "news")).toEqual([0, [1, 2]]);
  scene.arrive();
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [message(3)] });
  scene.buffer.begin();
  scene.put("a", bytes(1), true);
  scene.buffer.commit();
  const writes = scene.take();
  expect([places(writes, "news"), writes?.values.size]).toEqual([[0, [3]], 1]);
});

test("messages share the room of an object's changes, from when they are said", () => {
  const scene = new Scene();
  const half = pendingLimits.bytesMax / 2;
  scene.buffer.reserve(half);
  scene.put("a", new Uint8Array(half - 1_000));
  const full = expect.objectContaining({ code: "storage_limit" });
  expect(() => scene.buffer.reserve(1_000)).toThrow(full);
  expect(() => scene.put("b", new Uint8Array(1_000))).toThrow(full);
  scene.buffer.unreserve(1, half);
  const value = new Uint8Array(half - 1_000);
  scene.buffer.putMessages("news", { keepFrom: 0, puts: [{ ...message(1), value }] });
  expect(scene.waiting.bytes).toBe(scene.buffer.pendingBytes);
  expect(() => scene.put("b", new Uint8Array(2_000))).toThrow(full);
  scene.take();
  expect(() => scene.buffer.reserve(2_000)).toThrow(full);
  scene.arrive();
  scene.buffer.reserve(half);
  for (let count = 1; count < pendingLimits.keysMax; count += 1) scene.buffer.reserve(0);
  expect(() => scene.buffer.reserve(0)).toThrow(full);
});
