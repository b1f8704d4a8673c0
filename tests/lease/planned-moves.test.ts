import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Acquisition, MoveOutcome } from "../../infra/lease/leases.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { HeldDirectory } from "../support/held-directory.ts";
import { LeaseHost } from "../support/lease-host.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

/** Planned moves between whole hosts. Time to live 9 s, margin 1 s, as everywhere. */
const validMs = 8_000;
const ttlMs = 9_000;
const object = objectRef("room", "one");

let clock: VirtualClock;
let primary: MemoryDirectory;
let source: LeaseHost;
let target: LeaseHost;
let road: HeldDirectory;
const running: LeaseHost[] = [];

beforeEach(async () => {
  clock = new VirtualClock();
  primary = new MemoryDirectory(clock);
  road = new HeldDirectory(primary);
  source = await start(road);
  target = await start(new HeldDirectory(primary));
});

afterEach(async () => {
  const stops = running.splice(0).map((host) => host.leases.stop());
  await clock.advance(60_000);
  await Promise.all(stops);
  expect(clock.timersLeft).toBe(0);
});

test("L7 a moved object is the target's, which learns the same epoch from the primary", async () => {
  const { epoch } = await owned(source);
  const moved = await drive(source.leases.move({ object, epoch }, target.leases.session.id));
  if (moved.outcome !== "moved") throw new Error(`it was ${moved.outcome}`);
  expect(moved.epoch).toBeGreaterThan(epoch);
  expect(await primary.verify(target.leases.session.id, [{ object, epoch: moved.epoch }])).toEqual([]);
  // As a target does that was never told: it acquires what already is its own.
  const asked = await drive(target.leases.acquire(object, "mine"));
  expect(asked).toMatchObject({ owned: true, former: target.leases.session.id });
});

test("L7 a target that drains is refused, and the source goes on; a source that drains is not", async () => {
  const { epoch } = await owned(source);
  target.isDraining = true;
  await drive(target.leases.refresh());
  const to = target.leases.session.id;
  expect(await drive(source.leases.move({ object, epoch }, to))).toEqual({ outcome: "refused" });
  expect(await primary.verify(source.leases.session.id, [{ object, epoch }])).toEqual([]);
  target.isDraining = false;
  source.isDraining = true;
  await drive(Promise.all([target.leases.refresh(), source.leases.refresh()]));
  expect(await drive(source.leases.move({ object, epoch }, to))).toMatchObject({ outcome: "moved" });
});

test("L1 L7 a move that landed when its session ended is not adopted back", async () => {
  const { epoch, session } = await owned(source);
  road.answer = async (call) => {
    if (call === "commit" || call === "renew") throw new StatefulError("directory_unavailable", "lost");
  };
  const told = codeOf(source.leases.move({ object, epoch }, target.leases.session.id));
  await clock.advance(validMs / 2);
  expect(source.overReason(session)).toBeUndefined();
  expect(await Promise.race([told, "waiting"])).toBe("waiting");
  await clock.advance(validMs / 2);
  expect(await told).toBe("session_over");
  road.answer = async () => undefined;
  await clock.advance(ttlMs);
  const adopted = await drive(source.leases.adopt(session.id, [{ object, epoch }]));
  expect(adopted.get(object.key)).toMatchObject({ owned: false, session: target.leases.session.id });
});

test("L1 L7 a move that did not land before its session ended never lands, and is adopted", async () => {
  const { epoch, session } = await owned(source);
  let isAway = true;
  const late: Array<() => void> = [];
  road.request = async (call) => {
    if (!isAway) return;
    if (call === "commit") await new Promise<void>((resolve) => late.push(resolve));
    else throw new StatefulError("directory_unavailable", "away");
  };
  const told = codeOf(source.leases.move({ object, epoch }, target.leases.session.id));
  await clock.advance(ttlMs * 2);
  expect(await told).toBe("session_over");
  isAway = false;
  await clock.advance(ttlMs);
  const adopted = await drive(source.leases.adopt(session.id, [{ object, epoch }]));
  expect(adopted.get(object.key)).toMatchObject({ owned: true, former: session.id });
  expect(late).toHaveLength(1);
  for (const arrive of late) arrive();
  await clock.advance(1);
  expect((await primary.find([object])).get(object.key)?.session).toBe(source.leases.session.id);
});

test("L2 whoever takes an object after a crash learns whose it was, and after a release that it was nobody's", async () => {
  const first = await owned(source);
  expect(first.former).toBe("");
  source.leases.release({ object, epoch: first.epoch });
  await clock.advance(1);
  const second = await owned(target);
  expect(second.former).toBe("");
  await primary.endSession(target.leases.session.id);
  expect((await owned(source)).former).toBe(second.session.id);
});

async function start(directory: HeldDirectory): Promise<LeaseHost> {
  const host = await LeaseHost.start(directory, { clock });
  running.push(host);
  return host;
}

async function owned(host: LeaseHost): Promise<Acquisition & { readonly owned: true }> {
  const acquisition = await drive(host.leases.acquire(object, "free"));
  if (!acquisition.owned) throw new Error(`${object.key} is of ${acquisition.session}`);
  return acquisition;
}

/** Lets as much time pass as `work` needs. */
async function drive<T>(work: Promise<T>): Promise<T> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  done.catch(() => undefined);
  for (let steps = 0; !isDone && steps < 200; steps += 1) await clock.advance(50);
  return done;
}

async function codeOf(work: Promise<MoveOutcome>): Promise<string> {
  try {
    return (await work).outcome;
  } catch (error) {
    return error instanceof StatefulError ? error.code : `not ours: ${error}`;
  }
}
