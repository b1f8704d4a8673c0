import { beforeEach, expect, test } from "bun:test";
import type { Commit, CommitAnswer, Directory, HeldLease } from "../../infra/lease/directory.ts";
import { DirectoryTime } from "../../infra/lease/directory-time.ts";
import { LeaseLine } from "../../infra/lease/lease-line.ts";
import type { MoveOutcome } from "../../infra/lease/leases.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { SessionLife } from "../../infra/lease/session-life.ts";
import type { ObjectWrites } from "../../infra/lease/stored-objects.ts";
import { writeBatchLimits, type WriteSource } from "../../infra/lease/write-queue.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { HeldDirectory } from "../support/held-directory.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const limits = { batchItemsMax: 10, queueItemsMax: 20, waitMs: 1_000 };
const validMs = 8_000;
const [one, two] = [objectRef("room", "one"), objectRef("room", "two")];
const lostAnswer = new StatefulError("directory_unavailable", "the answer was lost");

let clock: VirtualClock;
let directory: MemoryDirectory;
let road: HeldDirectory;
let life: SessionLife;
let line: LeaseLine;
let commits: Commit[];

beforeEach(async () => {
  clock = new VirtualClock();
  directory = new MemoryDirectory(clock);
  road = new HeldDirectory(directory);
  life = await openLife("first");
  commits = [];
  line = lineOf(recording(road));
});

test("L6 what is asked for in one turn travels in one commit, and what comes meanwhile in the next", async () => {
  const gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  const first = [line.acquire(one, "free"), line.acquire(two, "free")];
  await clock.advance(1);
  const second = [3, 4, 5].map((n) => line.acquire(objectRef("room", `${n}`), "free"));
  line.release({ object: objectRef("room", "six"), epoch: 1 });
  await clock.advance(1);
  expect(commits).toHaveLength(1);
  gate.resolve();
  for (const lease of await Promise.all([...first, ...second])) expect(lease?.session).toBe(life.id);
  expect(commits.map((commit) => [commit.slot, commit.acquire.length, commit.release.length])).toEqual([
    [1, 2, 0],
    [2, 3, 1],
  ]);
});

test("L6 the same object asked for twice before it leaves is taken once", async () => {
  const [first, second] = await Promise.all([line.acquire(one, "mine"), line.acquire(one, "free")]);
  expect(first).toEqual(second);
  expect(commits[0]?.acquire).toEqual([{ object: one, when: "free" }]);
});

test("L6 an unknown outcome is settled by the same slot, and nobody is answered before", async () => {
  let lost = 0;
  road.answer = async () => {
    if (lost++ < 3) throw lostAnswer;
  };
  let isAnswered = false;
  const acquired = line.acquire(one, "free").then((lease) => {
    isAnswered = true;
    return lease;
  });
  await clock.advance(1);
  expect([lost, isAnswered]).toEqual([1, false]);
  await clock.advance(500);
  expect((await acquired)?.session).toBe(life.id);
  expect(commits.map((commit) => commit.slot)).toEqual([1, 1, 1, 1]);
});

test("L6 an acquisition that timed out and lands late, after its slot was settled, changes nothing", async () => {
  const late = Promise.withResolvers<void>();
  const landed = Promise.withResolvers<void>();
  let requests = 0;
  // The first copy is lost to its sender and arrives when `late` opens; the second one gets through.
  const slow: Directory["commit"] = async (commit) => {
    if (requests++ > 0) return road.commit(commit);
    void late.promise.then(() => directory.commit(commit)).then(() => landed.resolve());
    throw lostAnswer;
  };
  line = lineOf(slow);
  const acquired = line.acquire(one, "free");
  await clock.advance(500);
  const lease = await acquired;
  line.release({ object: one, epoch: lease?.epoch ?? 0 });
  await clock.advance(1);
  const other = await otherTakes(one);
  late.resolve();
  await landed.promise;
  expect((await directory.find([one])).get(one.key)).toEqual(other);
});

test("L6 a commit that the database refuses fails its callers, and its slot is claimed empty", async () => {
  let refusals = 0;
  road.request = async (call) => {
    if (call === "commit" && refusals++ === 0) throw new Error("datatype mismatch");
  };
  const refused = line.acquire(one, "free");
  refused.catch(() => undefined);
  await clock.advance(500);
  expect(await codeOf(refused)).toBe("internal");
  expect(commits.map((commit) => [commit.slot, commit.acquire.length])).toEqual([
    [1, 1],
    [1, 0],
  ]);
  expect((await line.acquire(two, "free"))?.session).toBe(life.id);
});

test("L6 the queue is bounded", async () => {
  road.request = () => new Promise(() => undefined);
  void line.acquire(one, "free").catch(() => undefined);
  await clock.advance(1);
  const waiting = Array.from({ length: limits.queueItemsMax }, (_, n) =>
    line.acquire(objectRef("room", `${n}`), "free"),
  );
  for (const acquired of waiting) acquired.catch(() => undefined);
  expect(await codeOf(line.acquire(two, "free"))).toBe("queue_full");
});

test("L6 a caller waits for so long and no longer, and what nobody wants any more does not travel", async () => {
  const gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  const travelling = codeOf(line.acquire(one, "free"));
  await clock.advance(1);
  const queued = codeOf(line.acquire(two, "free"));
  await clock.advance(limits.waitMs);
  expect(await Promise.all([travelling, queued])).toEqual(["directory_unavailable", "directory_unavailable"]);
  gate.resolve();
  await line.settled();
  expect(commits.flatMap((commit) => commit.acquire)).toEqual([{ object: one, when: "free" }]);
});

test("L1 L6 an acquisition that lands when nobody waits for it any more is given back, unless somebody asks again", async () => {
  let gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  const given = codeOf(line.acquire(one, "free"));
  await clock.advance(limits.waitMs);
  expect(await given).toBe("directory_unavailable");
  gate.resolve();
  await line.settled();
  expect((await directory.find([one])).get(one.key)).toBeUndefined();
  expect((await otherTakes(one))?.session).toBe("other");

  gate = Promise.withResolvers<void>();
  const late = codeOf(line.acquire(two, "free"));
  await clock.advance(limits.waitMs - 1);
  const again = line.acquire(two, "free");
  await clock.advance(1);
  expect(await late).toBe("directory_unavailable");
  gate.resolve();
  const lease = await again;
  await line.settled();
  expect((await directory.find([two])).get(two.key)).toEqual({ session: life.id, epoch: lease?.epoch ?? 0 });
});

test("L1 what is disowned is free, whatever its epoch; what is asked for meanwhile, or is another's, is not touched", async () => {
  const other = await otherTakes(two);
  await line.acquire(one, "free");
  line.disown(one);
  line.disown(two);
  await line.settled();
  expect((await directory.find([one])).get(one.key)).toBeUndefined();
  expect((await directory.find([two])).get(two.key)).toEqual(other);

  await line.acquire(one, "free");
  line.disown(one);
  const joined = await line.acquire(one, "free");
  line.disown(one);
  await Promise.resolve();
  const after = await line.acquire(one, "free");
  await line.settled();
  expect(after?.epoch).toBeGreaterThanOrEqual(joined?.epoch ?? 0);
  expect((await directory.find([one])).get(one.key)).toEqual({ session: life.id, epoch: after?.epoch ?? 0 });
});

test("L1 L2 a draining host still adopts, goes on with its own, and leaves nothing that it was refused in its own name", async () => {
  const won = await line.acquire(one, "free");
  const next = sessionNamed("next");
  const { position } = await directory.openSession(next);
  life = new SessionLife("next", clock, validMs, () => undefined);
  life.see(position);
  await directory.renew({ ...next, draining: true, seen: position });
  line = lineOf(recording(road));
  const adopted = await line.adopt({ object: one, fromSession: "first", fromEpoch: won?.epoch ?? 0 });
  expect(adopted?.session).toBe("next");
  const mine = await line.acquire(one, "mine");
  expect(mine).toMatchObject({ session: "next", alive: true });
  expect(mine?.epoch).toBeGreaterThan(adopted?.epoch ?? 0);
  await line.settled();
  expect((await directory.find([one])).get(one.key)).toMatchObject({ session: "next" });
  expect(await codeOf(line.acquire(two, "mine"))).toBe("host_draining");
  expect(await codeOf(line.acquire(one, "free"))).toBe("host_draining");
  await line.settled();
  expect((await directory.find([one])).get(one.key)).toBeUndefined();
});

test("L3 L6 when the session is over every waiting caller is told, and nothing is sent any more", async () => {
  road.request = () => new Promise(() => undefined);
  const travelling = codeOf(line.acquire(one, "free"));
  await clock.advance(1);
  const queued = codeOf(line.acquire(two, "free"));
  life.end("unconfirmed");
  expect(await Promise.all([travelling, queued])).toEqual(["session_over", "session_over"]);
  expect(await codeOf(line.acquire(one, "free"))).toBe("session_over");
  line.release({ object: one, epoch: 1 });
  await clock.advance(validMs);
  expect(commits).toHaveLength(1);
});

test("L3 L6 a lease that is learned of after the session ran out is not handed out", async () => {
  const gate = Promise.withResolvers<void>();
  road.answer = () => gate.promise;
  const late = codeOf(line.acquire(one, "free"));
  await clock.advance(limits.waitMs / 2);
  clock.freeze(validMs);
  gate.resolve();
  expect(await late).toBe("session_over");
});

test("L9 in a quarantine callers learn when to come back, and still who owns what", async () => {
  const other = await otherTakes(two);
  const copy = directory.copy();
  await line.acquire(objectRef("room", "three"), "free");
  directory.restore(copy);
  expect(await codeOf(line.acquire(one, "free"))).toBe("session_over");
  expect(life.overReason).toBe("directory_lost_memory");
  life = await openLife("second");
  line = lineOf(recording(road));
  expect(await codeOf(line.acquire(one, "free"))).toBe("directory_recovering");
  expect(await codeOf(line.acquire(two, "free"))).toBe("directory_recovering");
  expect((await directory.find([two])).get(two.key)).toEqual(other);
});

test("L6 what objects write in one turn travels in one commit, beside leases", async () => {
  const [first, second] = [await writerOf(one), await writerOf(two)];
  commits = [];
  first.put("a", "1");
  second.put("b", "2");
  first.put("c", "3");
  const acquired = line.acquire(objectRef("room", "three"), "free");
  line.release({ object: objectRef("room", "four"), epoch: 1 });
  await acquired;
  await line.settled();
  expect(commits).toHaveLength(1);
  expect(commits[0]?.writes.map(({ object }) => object)).toEqual([one, two]);
  expect([first.heard, second.heard]).toEqual([["committed"], ["committed"]]);
  expect(await storedKeys(one)).toEqual(["a", "c"]);
});

test("L6 what is written while a commit is in flight gathers, and a source is asked once per commit", async () => {
  const [first, second] = [await writerOf(one), await writerOf(two)];
  commits = [];
  const gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  first.put("a", "1");
  await clock.advance(1);
  for (const value of ["2", "3", "4"]) {
    first.put("a", value);
    second.put("b", value);
    await clock.advance(1);
  }
  expect([commits.length, first.takes, second.takes]).toEqual([1, 1, 0]);
  expect([first.heard, second.heard]).toEqual([[], []]);
  gate.resolve();
  await line.settled();
  expect([commits.length, first.takes, second.takes]).toEqual([2, 2, 1]);
  expect(commits[1]?.writes.map(({ object, values }) => [object.id, textOf(values)])).toEqual([
    ["one", { a: "4" }],
    ["two", { b: "4" }],
  ]);
  expect([first.heard, second.heard]).toEqual([["committed", "committed"], ["committed"]]);
});

test("L6 a lost answer to a write is settled by the same slot and content before anybody is told", async () => {
  const writer = await writerOf(one);
  commits = [];
  let lost = 0;
  road.answer = async () => {
    if (lost++ < 3) throw lostAnswer;
  };
  writer.put("a", "1");
  await clock.advance(1);
  writer.put("a", "2");
  await clock.advance(10);
  expect([lost, writer.takes, writer.heard]).toEqual([1, 1, []]);
  await clock.advance(500);
  expect(writer.heard).toEqual(["committed", "committed"]);
  expect(commits.map(({ slot, writes }) => [slot, textOf(writes[0]?.values)])).toEqual([
    [2, { a: "1" }],
    [2, { a: "1" }],
    [2, { a: "1" }],
    [2, { a: "1" }],
    [3, { a: "2" }],
  ]);
});

test("L4 the fenced are told so, and the others that theirs is stored", async () => {
  const [fine, stale] = [await writerOf(one), await writerOf(two)];
  await line.acquire(two, "mine"); // under a new epoch
  fine.put("a", "1");
  stale.put("b", "2");
  await line.settled();
  expect([fine.heard, stale.heard]).toEqual([["committed"], ["fenced"]]);
  expect([await storedKeys(one), await storedKeys(two)]).toEqual([["a"], []]);
});

test("L6 writes that the database refuses are told so with the cause, and their slot is claimed empty", async () => {
  const writer = await writerOf(one);
  commits = [];
  let refusals = 0;
  road.request = async () => {
    if (refusals++ === 0) throw new Error("datatype mismatch");
  };
  writer.put("a", "1");
  await clock.advance(500);
  expect(writer.heard).toEqual(["refused: internal"]);
  expect(commits.map(({ slot, writes }) => [slot, writes.length])).toEqual([
    [2, 1],
    [2, 0],
  ]);
  expect(await storedKeys(one)).toEqual([]);
  writer.put("a", "2");
  await line.settled();
  expect(writer.heard).toEqual(["refused: internal", "committed"]);
});

test("L3 L6 after the session's end nobody is told what became of a write, and nothing is sent any more", async () => {
  const [first, second] = [await writerOf(one), await writerOf(two)];
  commits = [];
  const gate = Promise.withResolvers<void>();
  road.answer = () => gate.promise;
  first.put("a", "1");
  await clock.advance(1);
  second.put("b", "2");
  life.end("unconfirmed");
  first.put("a", "3");
  gate.resolve();
  await clock.advance(validMs);
  await line.settled();
  expect(commits).toHaveLength(1);
  expect([first.heard, second.heard]).toEqual([[], []]);
  expect([first.takes, second.takes]).toEqual([1, 0]);
});

test("L3 L6 a refusal that comes after the session's end is told to nobody: what it was about is the next session's", async () => {
  const writer = await writerOf(one);
  const gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  writer.put("a", "1");
  await clock.advance(1);
  life.end("unconfirmed");
  gate.reject(new Error("datatype mismatch"));
  await clock.advance(validMs);
  await line.settled();
  expect(writer.heard).toEqual([]);
});

test("L6 a line that broke ends its session, or whoever asks would wait in vain for as long as that is renewed", async () => {
  const [broken, fine] = [await writerOf(one), await writerOf(two)];
  await line.acquire(one, "mine"); // under a new epoch
  broken.fenced = () => {
    throw new Error("a fault of ours");
  };
  broken.put("a", "1");
  fine.put("b", "2");
  const waiting = line
    .acquire(objectRef("room", "three"), "free")
    .catch((error: StatefulError) => error.code);
  await line.settled();
  expect(life.overReason).toBe("unconfirmed");
  expect(await waiting).toMatchObject({ session: life.id }); // It travelled along.
  await expect(line.acquire(two, "free")).rejects.toMatchObject({ code: "session_over" });
});

test("what is large travels by itself, behind what is before it", async () => {
  const [small, large] = [await writerOf(one), await writerOf(two)];
  commits = [];
  large.pendingBytes = writeBatchLimits.bytesMax;
  small.put("a", "1");
  large.put("b", "2");
  await line.settled();
  expect(commits.map(({ writes }) => writes.map(({ object }) => object.id))).toEqual([["one"], ["two"]]);
});

test("L3 L6 an answer that comes after the session ran out is told to nobody", async () => {
  const writer = await writerOf(one);
  const gate = Promise.withResolvers<void>();
  road.answer = () => gate.promise;
  writer.put("a", "1");
  await clock.advance(1);
  clock.freeze(validMs);
  gate.resolve();
  await clock.advance(1);
  expect([writer.heard, life.overReason]).toEqual([[], "unconfirmed"]);
});

test("L6 a source that has nothing to write after all sends no commit, and holds up nobody", async () => {
  const [idle, busy] = [await writerOf(one), await writerOf(two)];
  commits = [];
  line.write(idle);
  await line.settled();
  expect([commits.length, idle.takes, idle.heard]).toEqual([0, 1, []]);
  line.write(idle);
  busy.put("b", "2");
  await line.settled();
  expect(commits.map(({ slot, writes }) => [slot, writes.length])).toEqual([[3, 1]]);
  expect([idle.heard, busy.heard]).toEqual([[], ["committed"]]);
});

test("L6 a commit takes so much, and what is left travels in the next one, in its order", async () => {
  const writers: Writer[] = [];
  for (let n = 0; n < 4; n += 1) writers.push(await writerOf(objectRef("room", `large-${n}`)));
  commits = [];
  const large = "x".repeat(writeBatchLimits.bytesMax / 2);
  for (const writer of writers) writer.put("a", large);
  await line.settled();
  expect(commits.map(({ writes }) => writes.map(({ object }) => object.id))).toEqual([
    ["large-0", "large-1"],
    ["large-2", "large-3"],
  ]);
  expect(writers.map(({ heard }) => heard)).toEqual(writers.map(() => ["committed"]));
});

test("L2 what an object has stored comes to whoever asked for it, and nothing where there is nothing", async () => {
  const writer = await writerOf(one);
  writer.put("a", "1");
  await line.settled();
  const [stored, empty, unasked] = await Promise.all([
    line.acquire(one, "mine", true),
    line.acquire(two, "free", true),
    line.acquire(objectRef("room", "three"), "free"),
  ]);
  expect(textOf(stored?.loaded?.values)).toEqual({ a: "1" });
  expect(empty?.loaded).toEqual({
    values: new Map(),
    isComplete: true,
    alarms: new Map(),
    hasAllAlarms: true,
  });
  expect(unasked?.loaded).toBeUndefined();
});

test("L2 of two that ask for one object before it leaves, one with what it has stored, both are given it", async () => {
  const [plain, loading] = await Promise.all([line.acquire(one, "free"), line.acquire(one, "mine", true)]);
  expect(plain).toEqual(loading);
  expect(plain?.loaded?.isComplete).toBe(true);
  expect(commits.map(({ acquire }) => acquire)).toEqual([[{ object: one, when: "free", load: true }]]);
});

test("L7 many moves travel in one commit, after what stands before them and within its room", async () => {
  const target = await otherOpens();
  const rooms = Array.from({ length: 12 }, (_, n) => objectRef("room", `${n}`));
  const held: HeldLease[] = [];
  for (const object of rooms) held.push({ object, epoch: (await line.acquire(object, "free"))?.epoch ?? 0 });
  commits = [];
  const moves = held.map((lease) => line.move(lease, target));
  const acquired = line.acquire(one, "free");
  for (const outcome of await Promise.all(moves)) expect(outcome.outcome).toBe("moved");
  await acquired;
  expect(commits.map(({ move, acquire }) => [move.length, acquire.length])).toEqual([
    [10, 0],
    [2, 1],
  ]);
  expect((await directory.find(rooms)).size).toBe(12);
  for (const hint of (await directory.find(rooms)).values()) expect(hint.session).toBe(target);
});

test("L7 a move is moved, refused or lost as the row says", async () => {
  const target = await otherOpens();
  const [first, second] = [await heldOf(one), await heldOf(two)];
  expect(await line.move(first, "nobody")).toEqual({ outcome: "refused" });
  expect(await line.move(first, life.id)).toEqual({ outcome: "refused" });
  const moved = await line.move(first, target);
  expect(moved).toEqual({ outcome: "moved", epoch: (await ownerOf(one))?.epoch ?? 0 });
  expect(await line.move(first, "nobody")).toEqual({ outcome: "lost" });
  await line.acquire(two, "mine"); // under a new epoch
  expect(await line.move(second, target)).toEqual({ outcome: "lost" });
  expect(await line.move({ object: objectRef("room", "three"), epoch: 1 }, target)).toEqual({
    outcome: "lost",
  });
});

test("L7 of two moves of one object the second leaves after the first, and learns what that did", async () => {
  const target = await otherOpens();
  const held = await heldOf(one);
  const both = [line.move(held, "nobody"), line.move(held, target), line.move(held, "nobody")];
  const outcomes = (await Promise.all(both)).map(({ outcome }) => outcome);
  expect(outcomes).toEqual(["refused", "moved", "lost"]);
});

test("L6 L7 while the outcome of a move is unknown nobody is told, however long it takes", async () => {
  const target = await otherOpens();
  const held = await heldOf(one);
  commits = [];
  let isLost = true;
  road.answer = async () => {
    if (isLost) throw lostAnswer;
  };
  const told = outcomeOf(line.move(held, target));
  await clock.advance(limits.waitMs * 5);
  expect(await told.now()).toBe("waiting");
  expect((await ownerOf(one))?.session).toBe(target); // it has moved, and we do not know
  isLost = false;
  await clock.advance(1_000);
  expect(await told.now()).toBe("moved");
  expect(new Set(commits.map(({ slot }) => slot))).toEqual(new Set([2]));
});

test("L6 L7 a move whose request is held up is told as refused only once it cannot land any more", async () => {
  const target = await otherOpens();
  const held = await heldOf(one);
  const late = Promise.withResolvers<void>();
  const landed = Promise.withResolvers<void>();
  let requests = 0;
  line = lineOf(async (commit) => {
    commits.push(commit);
    if (requests++ > 0) return road.commit({ ...commit, slot: commit.slot + 1 });
    void late.promise
      .then(() => directory.commit({ ...commit, slot: commit.slot + 1 }))
      .then(() => landed.resolve());
    throw lostAnswer;
  });
  commits = [];
  const told = outcomeOf(line.move(held, target));
  await clock.advance(1);
  expect(await told.now()).toBe("waiting");
  await directory.endSession(target);
  await clock.advance(500);
  expect(await told.now()).toBe("refused");
  late.resolve();
  await landed.promise;
  expect(await ownerOf(one)).toEqual({ session: life.id, epoch: held.epoch });
});

test("L7 a move that was not sent in time is withdrawn, and never sent", async () => {
  const target = await otherOpens();
  const held = await heldOf(one);
  commits = [];
  const gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  const before = codeOf(line.acquire(two, "free"));
  await clock.advance(1);
  const withdrawn = line.move(held, target).catch((error: StatefulError) => error);
  await clock.advance(limits.waitMs);
  expect(await withdrawn).toMatchObject({ code: "directory_unavailable" });
  expect(String(await withdrawn)).toContain("withdrawn");
  expect(await before).toBe("directory_unavailable");
  gate.resolve();
  await line.settled();
  expect(commits.flatMap(({ move }) => move)).toEqual([]);
  expect(await ownerOf(one)).toEqual({ session: life.id, epoch: held.epoch });
});

test("L3 L7 when the session is over moves are told so, those that were sent as well", async () => {
  const target = await otherOpens();
  const [first, second] = [await heldOf(one), await heldOf(two)];
  const gate = Promise.withResolvers<void>();
  road.answer = () => gate.promise;
  const travelling = codeOf(line.move(first, target));
  await clock.advance(1);
  const queued = codeOf(line.move(second, target));
  commits = [];
  life.end("unconfirmed");
  expect(await Promise.all([travelling, queued])).toEqual(["session_over", "session_over"]);
  expect(await codeOf(line.move(second, target))).toBe("session_over");
  gate.resolve();
  await clock.advance(validMs);
  expect(commits).toEqual([]);
  expect([await ownerOf(one), await ownerOf(two)].map((owner) => owner?.session)).toEqual([target, "first"]);
});

test("L3 L7 a move whose answer comes after the session ran out is told as unknown", async () => {
  const target = await otherOpens();
  const held = await heldOf(one);
  const gate = Promise.withResolvers<void>();
  road.answer = () => gate.promise;
  const late = codeOf(line.move(held, target));
  await clock.advance(1);
  clock.freeze(validMs);
  gate.resolve();
  expect(await late).toBe("session_over");
});

for (const [road1, outcome] of [
  ["answer", "moved"],
  ["request", "refused"],
] as const) {
  test(`L6 L7 where the database refuses the second copy and the first one's ${road1} was lost, it is ${outcome}`, async () => {
    const target = await otherOpens();
    const held = await heldOf(one);
    commits = [];
    let [lost, refusals] = [0, 0];
    road[road1] = async () => {
      if (lost++ === 0) throw lostAnswer;
    };
    line = lineOf((commit) => {
      commits.push(commit);
      if (commits.length === 2 && refusals++ === 0) throw new Error("datatype mismatch");
      return road.commit({ ...commit, slot: commit.slot + 1 });
    });
    const told = outcomeOf(line.move(held, target));
    await clock.advance(500);
    expect(await told.now()).toBe(outcome);
    expect(commits.map(({ move }) => move[0]?.toSession)).toEqual([target, target, ""]);
  });
}

test("L7 an object's last writes travel with its move, and are told as stored", async () => {
  const target = await otherOpens();
  const writer = await writerOf(one);
  const held = { object: one, epoch: (await ownerOf(one))?.epoch ?? 0 };
  commits = [];
  writer.put("a", "1");
  const moved = await line.move(held, target);
  await line.settled();
  expect([moved.outcome, writer.heard]).toEqual(["moved", ["committed"]]);
  expect(commits.map(({ move, writes }) => [move.length, writes.length])).toEqual([[1, 1]]);
  expect(await storedKeys(one)).toEqual(["a"]);
});

test("L7 a move does not pass what was to be written before it, and waits for nothing that came later", async () => {
  const target = await otherOpens();
  const writers = [await writerOf(one), await writerOf(two), await writerOf(objectRef("room", "three"))];
  const held = { object: two, epoch: (await ownerOf(two))?.epoch ?? 0 };
  commits = [];
  const [large, mine, later] = writers;
  for (const writer of writers) writer.pendingBytes = writeBatchLimits.bytesMax;
  large?.put("a", "1");
  mine?.put("b", "2");
  const moved = line.move(held, target);
  later?.put("c", "3");
  expect((await moved).outcome).toBe("moved");
  await line.settled();
  expect(commits.map(({ move, writes }) => [move.length, writes.map(({ object }) => object.id)])).toEqual([
    [0, ["one"]],
    [1, ["two"]],
    [0, ["three"]],
  ]);
  expect(mine?.heard).toEqual(["committed"]);
});

test("L7 the queue of moves is bounded with the others", async () => {
  const held = await heldOf(one);
  road.request = () => new Promise(() => undefined);
  void line.acquire(two, "free").catch(() => undefined);
  await clock.advance(1);
  const waiting = Array.from({ length: limits.queueItemsMax }, () => line.move(held, "other"));
  for (const move of waiting) move.catch(() => undefined);
  expect(await codeOf(line.move(held, "other"))).toBe("queue_full");
  expect(await codeOf(line.acquire(two, "free"))).toBe("queue_full");
});

test("L7 what a commit may still take is known, also when nobody waits for it any more", async () => {
  const gate = Promise.withResolvers<void>();
  road.request = () => gate.promise;
  const given = codeOf(line.acquire(one, "free"));
  expect([line.isTaking(one), line.isTaking(two)]).toEqual([true, false]);
  await clock.advance(limits.waitMs);
  expect([await given, line.isTaking(one)]).toEqual(["directory_unavailable", true]);
  gate.resolve();
  await line.settled();
  expect(line.isTaking(one)).toBe(false);
});

/** An object that stores what it is told to, and notes what it hears of it. */
class Writer implements WriteSource {
  readonly heard: string[] = [];
  takes = 0;
  pendingBytes = 0;
  #isCommitted = false;
  readonly #lease: HeldLease;
  #values = new Map<string, Uint8Array | null>();

  constructor(lease: HeldLease) {
    this.#lease = lease;
  }

  put(key: string, value: string): void {
    this.#values.set(key, new TextEncoder().encode(value));
    line.write(this);
  }

  take(session: string): ObjectWrites | undefined {
    expect(session).toBe(life.id);
    this.takes += 1;
    const values = this.#values;
    this.#values = new Map();
    if (values.size === 0) return undefined;
    return { ...this.#lease, clears: false, values, alarms: new Map(), messages: new Map() };
  }

  committed(): void {
    this.#isCommitted = true;
  }
  told(): void {
    if (!this.#isCommitted) throw new Error("told of what is not known to be stored");
    this.heard.push("committed");
  }
  fenced(): void {
    this.heard.push("fenced");
  }
  refused(cause: StatefulError): void {
    this.heard.push(`refused: ${cause.code}`);
  }
}

/** Of an object that is taken for it, in a commit of its own. */
async function writerOf(object: ObjectRef): Promise<Writer> {
  const lease = await line.acquire(object, "free");
  return new Writer({ object, epoch: lease?.epoch ?? 0 });
}

function textOf(values: ReadonlyMap<string, Uint8Array | null | undefined> = new Map()) {
  const texts = Array.from(values, ([key, value]) => [key, value ? new TextDecoder().decode(value) : value]);
  return Object.fromEntries(texts);
}

async function storedKeys(object: ObjectRef): Promise<readonly string[]> {
  const all = { object, start: "", end: undefined, reverse: false, limit: 100 };
  return (await directory.list(all)).entries.map(([key]) => key);
}

async function openLife(id: string): Promise<SessionLife> {
  const opened = new SessionLife(id, clock, validMs, () => undefined);
  opened.see((await directory.openSession(sessionNamed(id))).position);
  return opened;
}

function lineOf(commit: Directory["commit"]): LeaseLine {
  const time = new DirectoryTime(clock);
  return new LeaseLine({
    directory: { commit },
    clock,
    log: silentLog,
    random: () => 0.5,
    life,
    time,
    limits,
  });
}

function recording(next: Directory): Directory["commit"] {
  return (commit): Promise<CommitAnswer> => {
    commits.push(commit);
    return next.commit(commit);
  };
}

async function otherTakes(object: ObjectRef) {
  const { position } = await directory.openSession(sessionNamed("other"));
  const acquire = [{ object, when: "free" as const }];
  const nothing = { adopt: [], release: [], move: [], writes: [] };
  await directory.commit({ session: "other", slot: 1, acquire, ...nothing, seen: position });
  return ownerOf(object);
}

/** A session that objects can be moved to. */
async function otherOpens(): Promise<string> {
  await directory.openSession({ ...sessionNamed("other"), ttlMs: 60_000 });
  return "other";
}

async function ownerOf(object: ObjectRef) {
  return (await directory.find([object])).get(object.key);
}

async function heldOf(object: ObjectRef): Promise<HeldLease> {
  return { object, epoch: (await line.acquire(object, "free"))?.epoch ?? 0 };
}

/** What a move has been told by now. */
function outcomeOf(move: Promise<MoveOutcome>): { now(): Promise<string> } {
  let told = "waiting";
  move.then(
    ({ outcome }) => (told = outcome),
    (error: unknown) => (told = String(error)),
  );
  return {
    now: async () => {
      await clock.advance(0);
      return told;
    },
  };
}

function sessionNamed(session: string) {
  const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
  const urls = { privateUrl: "http://private", publicUrl: "http://public" };
  const host = { session, hostId: session, region: "iad", version: "1", draining: false, classes: [], load };
  return { ...host, ...urls, ttlMs: 9_000 };
}

/** The code of the error with which `work` ends. */
async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error instanceof StatefulError ? error.code : `not ours: ${error}`;
  }
}
