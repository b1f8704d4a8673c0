import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { until } from "../support/wait.ts";
import { Cluster, type DirectoryRig, idle, lastTtlMs, newObject, wonBy } from "./directory-cluster.ts";
import { formerOwners, moves } from "./move-contract.ts";

/** The rules of infra/lease/README.md, asked of one implementation. */
export function directoryContract(name: string, start: () => Promise<DirectoryRig>): void {
  describe(`directory: ${name}`, () => {
    let rig: DirectoryRig;
    beforeAll(async () => {
      rig = await start();
    }, 30_000);
    afterAll(() => rig?.stop());

    /** Runs one schedule on a directory without memory of the others. */
    const schedule = (title: string, run: (cluster: Cluster) => Promise<void>) =>
      test(title, async () => {
        await rig.reset();
        const cluster = new Cluster(rig);
        try {
          await run(cluster);
        } finally {
          await cluster.close();
        }
      }, 60_000);

    sessions(schedule);
    acquisitions(schedule);
    numberedWrites(schedule);
    moves(schedule);
    formerOwners(schedule);
    hints(schedule);
    gaps(schedule);
    outages(schedule);
    test("has a backup to put back, or is known not to", () => {
      expect(rig.backup === undefined).toBe(name.includes("replica"));
    });
    if (!name.includes("replica")) lostMemory(schedule);
    if (name === "memory" || name.includes("primary over")) clocks(schedule);
  });
}

type Schedule = (title: string, run: (cluster: Cluster) => Promise<void>) => void;

function clocks(schedule: Schedule): void {
  schedule(
    "L3 after the clock was set back by an hour a dead host is still missed, and not before its time",
    async (cluster) => {
      await cluster.setClockBack(3_600_000);
      const object = newObject();
      const [taker, old] = [await cluster.host(), await cluster.host()];
      const before = wonBy(old, await old.acquire(object));
      const startMs = performance.now();
      await cluster.expire(old, taker);
      // At half the clock's pace, however many ask meanwhile.
      expect(performance.now() - startMs).toBeGreaterThan(1.8 * lastTtlMs);
      expect(wonBy(taker, await taker.acquire(object)).epoch).toBeGreaterThan(before.epoch);
    },
  );

  schedule("L3 nobody expires for it when a clock that was set back is set right", async (cluster) => {
    await cluster.setClockBack(3_600_000);
    const host = await cluster.host();
    expect(await host.renew()).toMatchObject({ alive: true });
    // Half of the way, and then the rest.
    await cluster.setClockOn(1_800_000);
    expect(await host.renew()).toMatchObject({ alive: true });
    await cluster.setClockOn(1_800_000);
    expect(await host.renew()).toMatchObject({ alive: true });
    expect(await host.renew()).toMatchObject({ alive: true });
  });
}

function sessions(schedule: Schedule): void {
  schedule(
    "L1 a renewal that arrives after its session expired and was taken over changes nothing",
    async (cluster) => {
      const object = newObject();
      const taker = await cluster.host();
      const old = await cluster.host();
      const before = wonBy(old, await old.acquire(object));
      await cluster.expire(old, taker);
      const after = wonBy(taker, await taker.acquire(object));
      expect(after.epoch).toBeGreaterThan(before.epoch);
      expect(await old.renew()).toEqual({ alive: false, reason: "expired" });
      expect(await taker.verify(object, after.epoch)).toBe(true);
      expect((await taker.hosts()).includes(old.session)).toBe(false);
    },
  );

  schedule(
    "L1 a session that was handed back never renews, and frees its leases at once",
    async (cluster) => {
      const object = newObject();
      const [old, next] = [await cluster.host(), await cluster.host()];
      await old.acquire(object);
      await old.directory.endSession(old.session);
      await old.directory.endSession(old.session);
      expect(await old.renew()).toEqual({ alive: false, reason: "ended" });
      wonBy(next, await next.acquire(object));
    },
  );

  schedule(
    "L1 a restarted host with the same host id leaves the old process what it owns",
    async (cluster) => {
      const object = newObject();
      const old = await cluster.host("one-machine");
      const won = wonBy(old, await old.acquire(object));
      const restarted = await cluster.host("one-machine");
      const lease = (await restarted.acquire(object)).get(object.key);
      expect(lease).toEqual({ session: old.session, epoch: won.epoch, alive: true, former: "" });
      expect((await old.renew()).alive).toBe(true);
    },
  );

  schedule("L1 opening the same session twice adds one row and does not prolong it", async (cluster) => {
    const host = await cluster.host();
    const again = await host.open();
    expect(again.hosts.filter((record) => record.session === host.session)).toHaveLength(1);
    expect(again.position).toEqual(host.seen);
  });

  schedule("L1 a new session adopts what nobody took since, and nothing else", async (cluster) => {
    const [kept, taken] = [newObject(), newObject()];
    const other = await cluster.host();
    const old = await cluster.host();
    const leases = await old.acquire(kept, taken);
    const fromEpoch = wonBy(old, leases, kept).epoch;
    await cluster.expire(old, other);
    await other.acquire(taken);
    const next = await cluster.host();
    const adopt = [kept, taken].map((object) => ({ object, fromSession: old.session, fromEpoch }));
    const answer = await next.commit({ adopt });
    expect(wonBy(next, answer, kept).epoch).toBeGreaterThan(fromEpoch);
    wonBy(other, answer, taken);
  });

  schedule("L1 a renewal tells classes, draining and load, and who is alive", async (cluster) => {
    const [host, other] = [await cluster.host(), await cluster.host()];
    host.facts = { draining: true, classes: ["a", "b"], load: { ...idle, objects: 7 } };
    await host.renew();
    const answer = await other.renew();
    const record = answer.alive ? answer.hosts.find((known) => known.session === host.session) : undefined;
    expect(record).toMatchObject({ hostId: host.hostId, region: "iad", ...host.facts });
  });
}

function acquisitions(schedule: Schedule): void {
  schedule("L2 the loser learns the winner from the same call", async (cluster) => {
    const object = newObject();
    const [first, second] = [await cluster.host(), await cluster.host()];
    const won = wonBy(first, await first.acquire(object));
    const lost = (await second.acquire(object)).get(object.key);
    expect(lost).toEqual({ session: first.session, epoch: won.epoch, alive: true, former: "" });
  });

  schedule("L2 three hosts race for the same 1,000 objects: one owner each", async (cluster) => {
    const objects = Array.from({ length: 1_000 }, newObject);
    const hosts = await Promise.all([cluster.host(), cluster.host(), cluster.host()]);
    const answers = await Promise.all(hosts.map((host) => host.acquire(...objects)));
    for (const { key } of objects) {
      const owners = new Set(answers.map((leases) => leases.get(key)?.session));
      expect(owners.size).toBe(1);
    }
    expect(answers.every((leases) => leases.size === 1_000)).toBe(true);
  });

  schedule("L2 an acquisition of what is already ours gives a new epoch", async (cluster) => {
    const object = newObject();
    const host = await cluster.host();
    const first = wonBy(host, await host.acquire(object));
    const second = wonBy(host, await host.commit({ acquire: [{ object, when: "mine" }] }));
    expect(second.epoch).toBeGreaterThan(first.epoch);
  });

  schedule("L2 `mine` does not take what is free", async (cluster) => {
    const object = newObject();
    const host = await cluster.host();
    expect((await host.commit({ acquire: [{ object, when: "mine" }] })).size).toBe(0);
  });

  schedule("L2 a draining session takes nothing new, and what is its own anew", async (cluster) => {
    const [object, own] = [newObject(), newObject()];
    const host = await cluster.host();
    const held = wonBy(host, await host.acquire(own));
    host.facts = { draining: true, classes: [], load: idle };
    await host.renew();
    const answer = await host.send({
      acquire: [
        { object, when: "free" },
        { object: own, when: "mine" },
      ],
    });
    if (answer.outcome !== "draining") throw new Error(`The commit was ${answer.outcome}.`);
    expect([...answer.leases.keys()]).toEqual([own.key]);
    expect(answer.leases.get(own.key)).toMatchObject({ session: host.session });
    expect(answer.leases.get(own.key)?.epoch).toBeGreaterThan(held.epoch);
  });

  schedule("L2 an epoch is at least the primary's time, and a release does not lower it", async (cluster) => {
    const object = newObject();
    const host = await cluster.host();
    const first = wonBy(host, await host.acquire(object));
    expect(Math.abs(first.epoch - Date.now())).toBeLessThan(60_000);
    await host.commit({ release: [{ object, epoch: first.epoch }] });
    expect(wonBy(host, await host.acquire(object)).epoch).toBeGreaterThan(first.epoch);
  });

  schedule("L2 ids that differ in anything are different objects", async (cluster) => {
    const host = await cluster.host();
    const ids = ["a", "A", "a\0b", "a\0c", "ä", "a\u0308", "%61", "a/b", "'", '"', "1", "01", "🜁"];
    const objects = ids.map((id) => objectRef("odd", id));
    const leases = await host.acquire(...objects);
    for (const object of objects) wonBy(host, leases, object);
    expect(leases.size).toBe(ids.length);
    expect((await host.directory.find(objects)).size).toBeGreaterThanOrEqual(0);
  });
}

function numberedWrites(schedule: Schedule): void {
  schedule(
    "L6 an acquisition that timed out and lands late has no effect once its slot is taken",
    async (cluster) => {
      const object = newObject();
      const [slow, other] = [await cluster.host(), await cluster.host()];
      const late = slow.next({ acquire: [{ object, when: "free" }] });
      // The same slot, sent again without the acquisition, is what the host learned to be the outcome.
      await slow.directory.commit({ ...late, acquire: [] });
      const won = wonBy(other, await other.acquire(object));
      await slow.directory.commit(late);
      expect(await other.verify(object, won.epoch)).toBe(true);
    },
  );

  schedule("L6 a second copy of a slot changes nothing and answers the same", async (cluster) => {
    const object = newObject();
    const host = await cluster.host();
    const commit = host.next({ acquire: [{ object, when: "free" }] });
    const first = await host.directory.commit(commit);
    const second = await host.directory.commit(commit);
    expect({ ...second, nowMs: 0 }).toEqual({ ...first, nowMs: 0 });
  });

  schedule("L6 a late copy of an old slot changes nothing after the next one", async (cluster) => {
    const object = newObject();
    const host = await cluster.host();
    const old = host.next({ acquire: [{ object, when: "free" }] });
    const { epoch } = wonBy(host, await host.settle(old));
    await host.commit({ release: [{ object, epoch }] });
    const other = await cluster.host();
    const won = wonBy(other, await other.acquire(object));
    await host.directory.commit(old);
    expect(await other.verify(object, won.epoch)).toBe(true);
  });

  schedule(
    "L4 L6 an object that stops and starts again while its old release is under way stays",
    async (cluster) => {
      const object = newObject();
      const host = await cluster.host();
      const first = wonBy(host, await host.acquire(object));
      const second = wonBy(host, await host.acquire(object));
      await host.commit({ release: [{ object, epoch: first.epoch }] });
      expect(await host.verify(object, second.epoch)).toBe(true);
    },
  );

  schedule("L4 L6 nothing of a session that is over is written, by whichever copy", async (cluster) => {
    const object = newObject();
    const [host, other] = [await cluster.host(), await cluster.host()];
    const commit = host.next({ acquire: [{ object, when: "free" }] });
    await cluster.expire(host, other);
    const refused = { outcome: "session_over", reason: "expired" } as const;
    expect(await host.directory.commit(commit)).toEqual(refused);
    expect(await host.directory.commit(commit)).toEqual(refused);
    wonBy(other, await other.acquire(object));
  });

  schedule("L6 a commit that landed before its session ended is told as landed", async (cluster) => {
    const object = newObject();
    const host = await cluster.host();
    const commit = host.next({ acquire: [{ object, when: "free" }] });
    await host.directory.commit(commit);
    await host.directory.endSession(host.session);
    expect((await host.directory.commit(commit)).outcome).toBe("committed");
  });
}

function hints(schedule: Schedule): void {
  schedule("L5 a hint names the owner, and a miss names nobody", async (cluster) => {
    const [owned, given, unknown] = [newObject(), newObject(), newObject()];
    const host = await cluster.host();
    const leases = await host.acquire(owned, given);
    await host.commit({ release: [{ object: given, epoch: wonBy(host, leases, given).epoch }] });
    const found = await until("the hint arrives", async () => {
      const answer = await host.directory.find([owned, given, unknown]);
      return answer.has(owned.key) && !answer.has(given.key) ? answer : undefined;
    });
    expect(found.get(owned.key)).toEqual({ session: host.session, epoch: wonBy(host, leases, owned).epoch });
    expect(found.has(unknown.key)).toBe(false);
  });

  schedule("L9 a comparison names what the directory does not show as held", async (cluster) => {
    const [mine, others, nobodys] = [newObject(), newObject(), newObject()];
    const [host, other] = [await cluster.host(), await cluster.host()];
    const { epoch } = wonBy(host, await host.acquire(mine));
    const lost = wonBy(other, await other.acquire(others)).epoch;
    const held = [
      { object: mine, epoch },
      { object: mine, epoch: epoch - 1 },
      { object: others, epoch: lost },
      { object: nobodys, epoch: 1 },
    ];
    expect(await host.directory.verify(host.session, held)).toEqual(held.slice(1));
  });
}

function gaps(schedule: Schedule): void {
  schedule("L9 a cold start after everybody handed back waits for nothing", async (cluster) => {
    const object = newObject();
    const old = await cluster.host();
    await old.acquire(object);
    await old.directory.endSession(old.session);
    const fresh = await cluster.host();
    expect(fresh.opened.quarantineMs).toBe(0);
    wonBy(fresh, await fresh.acquire(object));
  });

  schedule(
    "L9 a session that opens onto an unexplained gap takes nothing for one lease time",
    async (cluster) => {
      const object = newObject();
      const ttlMs = await cluster.measuredTtlMs();
      const gone = await cluster.host();
      await gone.acquire(object);
      await gone.renewFor(ttlMs);
      const opened = await until("a session opens after the only other one expired", async () => {
        const fresh = await cluster.host();
        if (fresh.opened.quarantineMs > 0) return fresh;
        await fresh.directory.endSession(fresh.session);
        return undefined;
      });
      expect(opened.opened.quarantineMs).toBeGreaterThan(ttlMs / 2);
      const answer = await opened.send({ acquire: [{ object: newObject(), when: "free" }] });
      expect(answer.outcome).toBe("quarantined");
      const won = await opened.acquireOnceAllowed(object);
      expect(won.atMs - opened.openedAtMs).toBeGreaterThanOrEqual(ttlMs * 0.9);
    },
  );

  schedule(
    "L9 a host that comes back after its own gap explains it, and waits for nothing",
    async (cluster) => {
      const object = newObject();
      const old = await cluster.host();
      const { epoch } = wonBy(old, await old.acquire(object));
      await old.expireUnseen();
      const next = await cluster.host(old.hostId, old);
      expect(next.opened.quarantineMs).toBe(0);
      wonBy(next, await next.commit({ adopt: [{ object, fromSession: old.session, fromEpoch: epoch }] }));
    },
  );
}

function outages(schedule: Schedule): void {
  schedule(
    "L2 whoever was not heard for half its time takes from nobody that expired, until it was heard for that long again",
    async (cluster) => {
      const object = newObject();
      const ttlMs = await cluster.measuredTtlMs();
      const takerTtlMs = 4 * ttlMs;
      const [taker, old] = [await cluster.host(), await cluster.host()];
      await old.acquire(object);
      await old.renewFor(ttlMs);
      await taker.renewFor(takerTtlMs);
      const silentSinceMs = performance.now();
      const silentMs = takerTtlMs / 2 + 50;
      await until("nobody was heard for a while", () => performance.now() - silentSinceMs > silentMs);
      expect(await old.peekAlive()).toBe(false);
      // A commit that was held up on its way since before the silence lands before the next renewal.
      const early = await taker.acquire(object);
      expect(early.get(object.key)).toMatchObject({ session: old.session, alive: true });
      const heardAfterMs = performance.now();
      expect((await taker.renew()).alive).toBe(true);
      const refused = await taker.acquire(object);
      expect(refused.get(object.key)).toMatchObject({ session: old.session, alive: true });
      await until("it takes it", async () => {
        expect((await taker.renew()).alive).toBe(true);
        return (await taker.acquire(object)).get(object.key)?.session === taker.session;
      });
      expect(performance.now() - heardAfterMs).toBeGreaterThanOrEqual(ttlMs * 0.9);
    },
  );

  schedule(
    "L1 L2 a host that comes back has its objects before anybody else, for a while",
    async (cluster) => {
      const [adopted, asked, left] = [newObject(), newObject(), newObject()];
      const ttlMs = await cluster.measuredTtlMs();
      const taker = await cluster.host();
      const old = await cluster.host();
      const held = await old.acquire(adopted, asked, left);
      await old.expireUnseen();
      const back = await cluster.host(old.hostId, old, ttlMs);
      const refused = await taker.acquire(adopted, asked, left);
      for (const { key } of [adopted, asked, left])
        expect(refused.get(key)).toMatchObject({ session: old.session, alive: true });
      const fromEpoch = wonBy(old, held, adopted).epoch;
      const adopt = [{ object: adopted, fromSession: old.session, fromEpoch }];
      wonBy(back, await back.commit({ adopt }), adopted);
      wonBy(back, await back.acquire(asked), asked);
      // What it does not want is anybody's before its own session is over.
      const hasTaken = async () => (await taker.acquire(left)).get(left.key)?.session === taker.session;
      await until("the rest is free again", hasTaken, 4 * ttlMs);
    },
  );
}

function lostMemory(schedule: Schedule): void {
  schedule(
    "L9 a database that forgets its last seconds ends every session and starts nothing for one lease time",
    async (cluster) => {
      const [object, later] = [newObject(), newObject()];
      const ttlMs = await cluster.measuredTtlMs();
      const [first, second] = [await cluster.host(), await cluster.host()];
      await first.acquire(object);
      for (const host of [first, second]) await host.renewFor(ttlMs);
      const forget = await cluster.backup();
      const won = wonBy(first, await first.acquire(later));
      await forget();
      // The loser of the memory says so first; the other is told, and does not start the wait again.
      expect(await first.renew()).toEqual({ alive: false, reason: "directory_lost_memory" });
      const told = await second.renew();
      expect(told).toEqual({ alive: false, reason: "directory_lost_memory" });
      const fresh = await cluster.host(second.hostId, second);
      expect(fresh.opened.quarantineMs).toBeGreaterThan(0);
      expect(fresh.opened.quarantineMs).toBeLessThanOrEqual(ttlMs);
      const taken = await fresh.acquireOnceAllowed(later);
      expect(taken.lease.epoch).toBeGreaterThan(won.epoch);
    },
  );

  schedule("L9 a commit finds out as well, and takes nothing", async (cluster) => {
    const [object, later] = [newObject(), newObject()];
    const host = await cluster.host();
    const forget = await cluster.backup();
    await host.acquire(object);
    await forget();
    const answer = await host.send({ acquire: [{ object: later, when: "free" }] });
    expect(answer).toEqual({ outcome: "session_over", reason: "directory_lost_memory" });
    expect((await host.directory.find([later])).size).toBe(0);
  });

  schedule("L9 what others wrote meanwhile does not hide the loss", async (cluster) => {
    const [host, other] = [await cluster.host(), await cluster.host()];
    const forget = await cluster.backup();
    await host.acquire(newObject());
    await forget();
    for (let write = 0; write < 5; write += 1) expect((await other.renew()).alive).toBe(true);
    expect(await host.renew()).toEqual({ alive: false, reason: "directory_lost_memory" });
  });

  schedule("L9 a database restored from a backup, met first by a fresh host", async (cluster) => {
    const [object, unknown] = [newObject(), newObject()];
    const ttlMs = await cluster.measuredTtlMs();
    const inBackup = await cluster.host();
    await inBackup.acquire(object);
    await inBackup.renewFor(ttlMs);
    const restore = await cluster.backup();
    const afterBackup = await cluster.host(undefined, undefined, ttlMs);
    const won = wonBy(afterBackup, await afterBackup.acquire(unknown));
    // In the backup everybody will seem to have expired; in truth both go on renewing until the end.
    const renewals = async () => (await inBackup.renew()).alive && (await afterBackup.renew()).alive;
    const endMs = performance.now() + ttlMs * 1.5;
    await until("both lived on for longer than the backup knows", async () => {
      expect(await renewals()).toBe(true);
      return performance.now() > endMs;
    });
    const lastHeardMs = performance.now();
    await restore();
    const fresh = await cluster.host();
    const taken = await fresh.acquireOnceAllowed(unknown);
    expect(taken.atMs - lastHeardMs).toBeGreaterThanOrEqual(ttlMs * 0.9);
    expect(taken.lease.epoch).toBeGreaterThan(won.epoch);
    expect(await afterBackup.renew()).toEqual({ alive: false, reason: "directory_lost_memory" });
  });
}
