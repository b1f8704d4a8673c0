import { afterEach, expect, test } from "bun:test";
import type { HeldLease } from "../../infra/lease/directory.ts";
import type { LeaseOptions } from "../../infra/lease/lease-keeper.ts";
import type { Session } from "../../infra/lease/leases.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { HeldDirectory } from "../support/held-directory.ts";
import { LeaseHost } from "../support/lease-host.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

/** Time to live 9 s, margin 1 s, renewals every 3 s (2.85 with the jitter of these tests), three attempts of 1.67 s. */
const ttlMs = 9_000;
const validMs = 8_000;
const object = objectRef("room", "one");
const never = new Promise<never>(() => undefined);

let clock: VirtualClock;
let primary: MemoryDirectory;
const running: LeaseHost[] = [];

async function start(options: Partial<LeaseOptions> = {}): Promise<{ host: LeaseHost; road: HeldDirectory }> {
  const road = new HeldDirectory(primary);
  const host = await LeaseHost.start(road, { clock, ...options });
  running.push(host);
  return { host, road };
}

function begin(): void {
  clock = new VirtualClock();
  primary = new MemoryDirectory(clock);
}

afterEach(async () => {
  const stops = running.splice(0).map((host) => host.leases.stop());
  await clock.advance(60_000);
  await Promise.all(stops);
  expect(clock.timersLeft).toBe(0);
});

test("L1 a session lives on for as long as it is renewed, and its leases cost no writes", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  await drive(host.leases.acquire(object, "free"));
  await clock.advance(ttlMs * 20);
  expect(session.isValid()).toBe(true);
  expect(road.sent.get("commit")).toBe(1);
  expect(road.sent.get("renew")).toBeLessThanOrEqual(64);
});

test("L3 a host that hears nothing fences itself by its own clock, before the directory lets go", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  road.request = () => never;
  await clock.advance(validMs - 1);
  expect(session.isValid()).toBe(true);
  await clock.advance(1);
  expect(session.isValid()).toBe(false);
  expect(host.overReason(session)).toBe("unconfirmed");
});

test("L3 validity counts from before the renewal was sent, not from its answer", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  road.answer = () => new Promise((resolve) => void clock.after(1_500, resolve));
  await clock.advance(3_000 + 1_500);
  road.request = () => never;
  // The renewal left at 2,850 at the latest; its answer at 4,350 proves nothing later than that.
  await clock.advance(2_850 + validMs - 4_500);
  expect(session.isValid()).toBe(false);
});

test("L3 a renewal that is answered too late does not revive the session", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  road.answer = () => new Promise((resolve) => void clock.after(validMs, resolve));
  await clock.advance(validMs);
  expect(session.isValid()).toBe(false);
  road.answer = async () => undefined;
  await clock.advance(validMs * 2);
  expect(session.isValid()).toBe(false);
  expect(host.leases.session.id).not.toBe(session.id);
});

test("L3 a process that was frozen finds out before its next event, though no timer has run", async () => {
  begin();
  const { host } = await start();
  const { session } = host.leases;
  clock.freeze(validMs);
  expect(session.isValid()).toBe(false);
});

test("L3 a machine that was suspended finds out by the wall clock", async () => {
  begin();
  const { host } = await start();
  const { session } = host.leases;
  clock.stepWall(validMs);
  expect(session.isValid()).toBe(false);
  await clock.advance(1);
  expect(host.overReason(session)).toBe("unconfirmed");
});

test("L3 a wall clock that is set back changes nothing", async () => {
  begin();
  const { host } = await start();
  const { session } = host.leases;
  clock.stepWall(-60_000);
  await clock.advance(ttlMs * 2);
  expect(session.isValid()).toBe(true);
});

test("L3 two lost renewals in a row do not end a session", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  let lost = 0;
  road.request = async (call) => {
    if (call === "renew" && lost++ < 2) await never;
  };
  await clock.advance(ttlMs * 2);
  expect(session.isValid()).toBe(true);
  expect(lost).toBeGreaterThan(2);
});

test("L1 a session that the directory ended is over at once, and the next one opens", async () => {
  begin();
  const { host } = await start();
  const { session } = host.leases;
  await primary.endSession(session.id);
  await clock.advance(3_000);
  expect(host.overReason(session)).toBe("ended");
  expect(host.leases.session.id).not.toBe(session.id);
  expect(host.leases.session.isValid()).toBe(true);
  const { id } = host.leases.session;
  expect(host.events.filter((event) => event.name !== "hostsChanged")).toEqual([
    { name: "sessionOver", session: session.id, reason: "ended" },
    { name: "sessionOpened", session: id, previous: session.id },
  ]);
});

test("L12 a session whose renewal is refused, because the tables are of a later release, is over at once, and is the last", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  // What the database refuses with, where a migration has taken away what this build writes to.
  road.request = async (call) => {
    if (call === "renew" || call === "openSession")
      throw new StatefulError("version_mismatch", "a later release");
  };
  await clock.advance(3_000);
  expect(host.overReason(session)).toBe("schema_too_new");
  expect(host.events.at(-1)).toEqual({ name: "outdated", code: "version_mismatch" });
  const tried = road.sent.get("openSession");
  await clock.advance(ttlMs);
  expect(road.sent.get("openSession")).toBe(tried ?? 0);
});

test("L1 a directory that was away for long costs a session and no memory: the next one adopts", async () => {
  begin();
  const { host, road } = await start();
  const { session } = host.leases;
  const won = await drive(host.leases.acquire(object, "free"));
  road.request = () => Promise.reject(new StatefulError("directory_unavailable", "away"));
  await clock.advance(ttlMs * 10);
  await expect(host.leases.acquire(object, "free")).rejects.toMatchObject({ code: "session_over" });
  road.request = async () => undefined;
  await clock.advance(ttlMs);
  const adopted = await drive(host.leases.adopt(session.id, [{ object, epoch: won.epoch }]));
  expect(adopted.get(object.key)).toMatchObject({ owned: true, session: host.leases.session });
});

test("L1 what somebody took meanwhile is not adopted", async () => {
  begin();
  const { host, road } = await start();
  const other = await start();
  const { session } = host.leases;
  const won = await drive(host.leases.acquire(object, "free"));
  road.request = () => Promise.reject(new StatefulError("directory_unavailable", "away"));
  await clock.advance(ttlMs * 2);
  expect(await drive(other.host.leases.acquire(object, "free"))).toMatchObject({ owned: true });
  road.request = async () => undefined;
  await clock.advance(ttlMs);
  const adopted = await drive(host.leases.adopt(session.id, [{ object, epoch: won.epoch }]));
  expect(adopted.get(object.key)).toMatchObject({ owned: false, session: other.host.leases.session.id });
});

/** Stays away for long enough to cost the session. */
async function loseSession(host: LeaseHost, road: HeldDirectory): Promise<Session> {
  const { session } = host.leases;
  road.request = () => Promise.reject(new StatefulError("directory_unavailable", "away"));
  await clock.advance(ttlMs * 2);
  road.request = async () => undefined;
  await clock.advance(ttlMs);
  expect(host.leases.session.id).not.toBe(session.id);
  return session;
}

test("L1 more objects than the line takes at once are adopted all the same", async () => {
  begin();
  const { host, road } = await start({ limits: { batchItemsMax: 10, queueItemsMax: 20 } });
  const held: HeldLease[] = [];
  for (let n = 0; n < 45; n += 1) {
    const room = objectRef("room", `${n}`);
    held.push({ object: room, epoch: (await drive(host.leases.acquire(room, "free"))).epoch });
  }
  const session = await loseSession(host, road);
  const adopted = await drive(host.leases.adopt(session.id, held));
  expect(adopted.size).toBe(45);
  for (const answer of adopted.values()) expect(answer.owned).toBe(true);
});

test("L1 an adoption that is not settled in time says so for what it knows nothing of, and only that", async () => {
  begin();
  const { host, road } = await start({ limits: { batchItemsMax: 1, waitMs: 1_000 } });
  const two = objectRef("room", "two");
  const held = [object, two].map(async (one) => {
    return { object: one, epoch: (await drive(host.leases.acquire(one, "free"))).epoch };
  });
  const leases = await Promise.all(held);
  const session = await loseSession(host, road);
  let commits = 0;
  const stuck = Promise.withResolvers<void>();
  road.request = async (call) => {
    if (call === "commit" && commits++ === 1) await stuck.promise;
  };
  const adopted = await drive(host.leases.adopt(session.id, leases));
  expect([...adopted.keys()]).toEqual([object.key]);
  stuck.resolve();
  const again = await drive(host.leases.adopt(session.id, leases));
  expect(again.get(two.key)).toMatchObject({ owned: true, session: host.leases.session });
});

test("L1 an adoption whose answer was lost, and its session with it, costs no memory", async () => {
  begin();
  const { host, road } = await start();
  const won = await drive(host.leases.acquire(object, "free"));
  const first = await loseSession(host, road);
  const second = host.leases.session;
  road.answer = async (call) => {
    if (call === "commit" || call === "renew") throw new StatefulError("directory_unavailable", "lost");
  };
  expect((await drive(host.leases.adopt(first.id, [{ object, epoch: won.epoch }]))).size).toBe(0);
  expect((await primary.find([object])).get(object.key)?.session).toBe(second.id);
  road.answer = async () => undefined;
  await loseSession(host, road);
  const adopted = await drive(host.leases.adopt(first.id, [{ object, epoch: won.epoch }]));
  expect(adopted.get(object.key)).toMatchObject({ owned: true, session: host.leases.session });
});

test("L1 opening again after a lost answer leaves one session, not a crowd", async () => {
  begin();
  const { host, road } = await start();
  await primary.endSession(host.leases.session.id);
  let lost = 0;
  road.answer = async (call) => {
    if (call === "openSession" && lost++ < 1) await never;
  };
  await clock.advance(3_000 + 4_000);
  expect(lost).toBe(2);
  expect(host.leases.session.isValid()).toBe(true);
  await clock.advance(3_000);
  expect(host.leases.hosts).toHaveLength(1);
});

test("L1 hosts are known from the renewal, and a stranger is looked up at once", async () => {
  begin();
  const first = await start();
  const second = await start();
  await drive(second.host.leases.acquire(object, "free"));
  const lost = await drive(first.host.leases.acquire(object, "free"));
  expect(lost).toMatchObject({ owned: false, owner: { session: second.host.leases.session.id } });
  await drive(second.host.leases.stop());
  await clock.advance(3_000);
  expect(first.host.events.at(-1)).toMatchObject({ gone: [second.host.leases.session.id] });
});

test("L1 refresh tells the directory at once", async () => {
  begin();
  const [first, second] = [await start(), await start()];
  first.host.isDraining = true;
  await drive(first.host.leases.refresh());
  await drive(second.host.leases.refresh());
  expect(second.host.leases.host(first.host.leases.session.id)?.draining).toBe(true);
});

test("L9 a directory that lost its memory ends the session, and what was held is adopted after the wait", async () => {
  begin();
  const { host } = await start();
  const { session } = host.leases;
  const copy = primary.copy();
  await clock.advance(3_000);
  const won = await drive(host.leases.acquire(object, "free"));
  primary.restore(copy);
  await clock.advance(3_000);
  expect(host.overReason(session)).toBe("directory_lost_memory");
  await expect(drive(host.leases.acquire(object, "free"))).rejects.toMatchObject({
    code: "directory_recovering",
  });
  await clock.advance(ttlMs);
  const again = await drive(host.leases.acquire(object, "free"));
  expect(again).toMatchObject({ owned: true });
  expect(again.epoch).toBeGreaterThan(won.epoch);
});

test("L9 a host learns which of its activations the directory does not show", async () => {
  begin();
  const { host } = await start();
  const { epoch } = await drive(host.leases.acquire(object, "free"));
  const held = { object, epoch };
  const wrong = { object: objectRef("room", "two"), epoch };
  host.held = [held, wrong];
  await clock.advance(31_000);
  expect(host.events.at(-1)).toEqual({ name: "leasesLost", leases: [wrong] });
});

test("L1 stop hands the session back, and is over though the directory answers nobody", async () => {
  begin();
  const [polite, stuck] = [await start(), await start()];
  const { session } = polite.host.leases;
  await drive(polite.host.leases.stop());
  expect(session.isValid()).toBe(false);
  await drive(stuck.host.leases.refresh());
  expect(stuck.host.leases.hosts).toHaveLength(1);
  stuck.road.request = () => never;
  await drive(stuck.host.leases.stop());
  expect(stuck.host.events.some((event) => event.name === "sessionOver")).toBe(false);
});

test("L1 each session is announced before it is asked for, and the hand-back when it is done", async () => {
  begin();
  const announced: string[] = [];
  const announcedWhenAsked: (string | undefined)[] = [];
  const road = new HeldDirectory(primary);
  road.request = async (call) => {
    if (call !== "openSession") return;
    announcedWhenAsked.push(announced.at(-1));
    // Long enough for one to be given up that was never confirmed.
    if (announcedWhenAsked.length <= 3) await never;
  };
  const host = await drive(LeaseHost.start(road, { clock, onSession: (session) => announced.push(session) }));
  running.push(host);
  expect(announced.length).toBeGreaterThan(1);
  expect(announced.at(-1)).toBe(host.leases.session.id);
  expect(announcedWhenAsked.at(-1)).toBe(host.leases.session.id);
  await primary.endSession(host.leases.session.id);
  const before = announced.length;
  await clock.advance(4_000);
  expect(announced.slice(before)).toEqual([host.leases.session.id]);
  expect(announcedWhenAsked.at(-1)).toBe(host.leases.session.id);
  await drive(host.leases.stop());
  expect(announced.slice(before + 1)).toEqual([""]);
});

test("L1 a hand-back that nobody heard is not announced", async () => {
  begin();
  const announced: string[] = [];
  const { host, road } = await start({ onSession: (session) => announced.push(session) });
  road.request = () => never;
  await drive(host.leases.stop());
  expect(announced).toEqual([host.leases.session.id]);
});

test("L1 stop hands back the session that was asked for and not confirmed, too", async () => {
  begin();
  const { host, road } = await start();
  const watcher = await start();
  road.answer = async (call) => {
    if (call === "openSession") await never;
  };
  await primary.endSession(host.leases.session.id);
  await clock.advance(3_000 + 1_000);
  await drive(watcher.host.leases.refresh());
  expect(watcher.host.leases.hosts).toHaveLength(2);
  await drive(host.leases.stop());
  await drive(watcher.host.leases.refresh());
  expect(watcher.host.leases.hosts).toHaveLength(1);
});

/** Lets time pass until the work is done. */
async function drive<T>(work: Promise<T>): Promise<T> {
  let isDone = false;
  const done = () => {
    isDone = true;
  };
  work.then(done, done);
  for (let step = 0; step < 2_000 && !isDone; step += 1) await clock.advance(step === 0 ? 0 : 10);
  if (!isDone) throw new Error("did not happen within 20 s of virtual time");
  return work;
}
