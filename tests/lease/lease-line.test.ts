import { beforeEach, expect, test } from "bun:test";
import type { Commit, CommitAnswer, Directory } from "../../infra/lease/directory.ts";
import { LeaseLine } from "../../infra/lease/lease-line.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { SessionLife } from "../../infra/lease/session-life.ts";
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

test("L1 a draining host still adopts, and leaves nothing that it was refused in its own name", async () => {
  const won = await line.acquire(one, "free");
  const next = sessionNamed("next");
  const { position } = await directory.openSession(next);
  life = new SessionLife("next", clock, validMs, () => undefined);
  life.see(position);
  await directory.renew({ ...next, draining: true, seen: position });
  line = lineOf(recording(road));
  const adopted = await line.adopt({ object: one, fromSession: "first", fromEpoch: won?.epoch ?? 0 });
  expect(adopted?.session).toBe("next");
  expect(await codeOf(line.acquire(one, "mine"))).toBe("host_draining");
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

async function openLife(id: string): Promise<SessionLife> {
  const opened = new SessionLife(id, clock, validMs, () => undefined);
  opened.see((await directory.openSession(sessionNamed(id))).position);
  return opened;
}

function lineOf(commit: Directory["commit"]): LeaseLine {
  const through: Directory = {
    commit,
    openSession: (session) => road.openSession(session),
    renew: (renewal) => road.renew(renewal),
    endSession: (session) => road.endSession(session),
    find: (objects) => road.find(objects),
    verify: (session, leases) => road.verify(session, leases),
    close: () => road.close(),
  };
  return new LeaseLine({ directory: through, clock, log: silentLog, random: () => 0.5, life, limits });
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
  await directory.commit({ session: "other", slot: 1, acquire, adopt: [], release: [], seen: position });
  return (await directory.find([object])).get(object.key);
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
