import { expect } from "bun:test";
import type { Commit, CommitEffects, Lease, MoveItem } from "../../infra/lease/directory.ts";
import type { ObjectWrites } from "../../infra/lease/stored-objects.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import { until } from "../support/wait.ts";
import { type Cluster, idle, newObject, type TestHost, wonBy } from "./directory-cluster.ts";

type Schedule = (title: string, run: (cluster: Cluster) => Promise<void>) => void;

/** Planned moves (L7), and what a lease tells of who had it before. */
export function moves(schedule: Schedule): void {
  accepted(schedule);
  refused(schedule);
  copies(schedule);
  together(schedule);
}

function accepted(schedule: Schedule): void {
  schedule("L7 a planned move gives the lease to the target, under a new epoch", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const held = await taken(source);
    const { lease } = await moved(source, held, target.session);
    expect(lease).toMatchObject({ session: target.session, alive: true, former: source.session });
    expect(lease?.epoch).toBeGreaterThan(held.epoch);
    expect(await source.verify(held.object, held.epoch)).toBe(false);
    expect(await target.verify(held.object, lease?.epoch ?? 0)).toBe(true);
  });

  schedule("L4 L7 after a move only the target writes", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const held = await taken(source);
    const { lease } = await moved(source, held, target.session);
    expect((await sent(source, { writes: [put(held, "late")] })).refused).toEqual(keysOf(held));
    const now = { object: held.object, epoch: lease?.epoch ?? 0 };
    expect((await sent(target, { writes: [put(now, "new")] })).refused).toEqual(new Set());
    expect(await storedKeys(target, held.object)).toEqual(["new"]);
  });

  schedule("L7 a host that drains moves what it has", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const held = await taken(source);
    await drain(source);
    const { outcome, lease } = await moved(source, held, target.session);
    expect([outcome, lease?.session]).toEqual(["draining", target.session]);
  });

  schedule("L7 the target may move it on, and back", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const held = await taken(source);
    const there = (await moved(source, held, target.session)).lease?.epoch ?? 0;
    const { lease } = await moved(target, { ...held, epoch: there }, source.session);
    expect(lease).toMatchObject({ session: source.session, former: target.session });
    expect(lease?.epoch).toBeGreaterThan(there);
    expect(await source.verify(held.object, held.epoch)).toBe(false);
  });

  schedule("L7 a thousand objects move in one commit, and those that are not ours stay", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const objects = Array.from({ length: 1_000 }, newObject);
    const leases = await source.acquire(...objects);
    const move = objects.map((object, index) => {
      const isStale = index % 10 === 0;
      const epoch = wonBy(source, leases, object).epoch - (isStale ? 1 : 0);
      return { object, epoch, toSession: target.session };
    });
    const answer = await source.commit({ move });
    expect(answer.size).toBe(1_000);
    for (const [index, { key }] of objects.entries()) {
      expect(answer.get(key)?.session).toBe(index % 10 === 0 ? source.session : target.session);
    }
  });
}

function refused(schedule: Schedule): void {
  schedule("L7 nothing moves to whoever drains, has ended or expired, or is not known", async (cluster) => {
    const source = await cluster.host();
    const expiring = await cluster.host();
    const [draining, ended] = [await cluster.host(), await cluster.host()];
    await drain(draining);
    await ended.directory.endSession(ended.session);
    await expiring.expireUnseen();
    const held = await taken(source);
    const targets = [draining.session, ended.session, expiring.session, "nobody.1", "", source.session];
    for (const target of targets) {
      const { outcome, lease } = await moved(source, held, target);
      expect(outcome).toBe("committed");
      expect(lease).toEqual({ session: source.session, epoch: held.epoch, alive: true, former: "" });
    }
    expect(await source.verify(held.object, held.epoch)).toBe(true);
  });

  schedule("L4 L7 nothing moves under a stale epoch, or by whoever does not have it", async (cluster) => {
    const [source, target, other] = [await cluster.host(), await cluster.host(), await cluster.host()];
    const held = await taken(source);
    for (const epoch of [held.epoch - 1, held.epoch + 1])
      expect((await moved(source, { ...held, epoch }, target.session)).lease?.session).toBe(source.session);
    expect((await moved(other, held, target.session)).lease?.session).toBe(source.session);
    expect((await moved(other, held, other.session)).lease?.session).toBe(source.session);
    const unknown = { object: newObject(), epoch: held.epoch };
    expect((await moved(source, unknown, target.session)).lease).toBeUndefined();
    expect(await source.verify(held.object, held.epoch)).toBe(true);
    expect((await target.directory.find([unknown.object])).size).toBe(0);
  });

  schedule("L7 L9 in a quarantine nothing moves away, and the object stays whose it is", async (cluster) => {
    const source = await cluster.host();
    const held = await taken(source);
    const gone = await cluster.host();
    await gone.expireUnseen(await cluster.measuredTtlMs());
    const fresh = await cluster.host();
    expect(fresh.opened.quarantineMs).toBeGreaterThan(0);
    // What a lease is moved to may take nothing by itself yet: this was given to it.
    const given = (await moved(source, held, fresh.session)).lease;
    expect(given?.session).toBe(fresh.session);
    const back = { object: held.object, epoch: given?.epoch ?? 0 };
    const early = await moved(fresh, back, source.session);
    expect([early.outcome, early.lease]).toEqual(["quarantined", given]);
    const later = await until("the quarantine is over", async () => {
      const answer = await moved(fresh, back, source.session);
      return answer.outcome === "committed" ? answer : undefined;
    });
    expect(later.lease?.session).toBe(source.session);
  });
}

function copies(schedule: Schedule): void {
  schedule("L6 L7 a second copy of a move changes nothing and answers the same", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const [held, fenced] = [await taken(source), await taken(source)];
    const stale = { ...fenced, epoch: fenced.epoch - 1 };
    const move = [moveOf(held, target.session), moveOf(stale, target.session)];
    const commit = source.next({ move, writes: [put(held, "last"), put(stale, "never")] });
    const first = await source.directory.commit(commit);
    const second = await source.directory.commit(commit);
    expect({ ...second, nowMs: 0 }).toEqual({ ...first, nowMs: 0 });
    expect(first).toMatchObject({ outcome: "committed", refused: keysOf(fenced) });
  });

  schedule(
    "L6 L7 a copy that is answered after the target gave it on still tells whose writes went along",
    async (cluster) => {
      const [source, target, third] = [await cluster.host(), await cluster.host(), await cluster.host()];
      const [held, stale] = [await taken(source), await taken(source)];
      const writes = [put(held, "last"), put({ ...stale, epoch: stale.epoch - 1 }, "never")];
      const commit = source.next({ move: [moveOf(held, target.session)], writes });
      const first = leaseIn(await source.directory.commit(commit), held.object);
      await target.commit({ release: [{ object: held.object, epoch: first?.epoch ?? 0 }] });
      const won = wonBy(third, await third.acquire(held.object));
      const late = await source.directory.commit(commit);
      expect(late).toMatchObject({ outcome: "committed", refused: keysOf(stale) });
      expect(leaseIn(late, held.object)).toMatchObject({ session: third.session, epoch: won.epoch });
      expect(await third.verify(held.object, won.epoch)).toBe(true);
    },
  );

  schedule("L6 L7 a move whose slot was settled without it lands late and moves nothing", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const held = await taken(source);
    const late = source.next({ move: [moveOf(held, target.session)] });
    const asked = await source.send({ move: [moveOf(held, "")] });
    expect(leaseIn(asked, held.object)?.epoch).toBe(held.epoch);
    await source.directory.commit(late);
    expect(await source.verify(held.object, held.epoch)).toBe(true);
  });

  schedule(
    "L7 a move that arrives after its session is over moves nothing, by whichever copy",
    async (cluster) => {
      const [target, source] = [await cluster.host(), await cluster.host()];
      const held = await taken(source);
      const commit = source.next({ move: [moveOf(held, target.session)], writes: [put(held, "late")] });
      await cluster.expire(source, target);
      const over = { outcome: "session_over", reason: "expired" } as const;
      expect(await source.directory.commit(commit)).toEqual(over);
      expect(await source.directory.commit(commit)).toEqual(over);
      expect(await source.verify(held.object, held.epoch)).toBe(true); // the row is as it was
      expect(await storedKeys(target, held.object)).toEqual([]);
      expect(wonBy(target, await target.acquire(held.object)).former).toBe(source.session);
    },
  );

  schedule("L1 L7 the next session adopts what did not move, and not what did", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const [gone, kept] = [await taken(source), await taken(source)];
    await moved(source, gone, target.session);
    await source.directory.endSession(source.session);
    const next = await cluster.host();
    const adopt = [gone, kept].map(({ object, epoch }) => {
      return { object, fromSession: source.session, fromEpoch: epoch };
    });
    const answer = await next.commit({ adopt });
    wonBy(target, answer, gone.object);
    wonBy(next, answer, kept.object);
  });

  schedule(
    "L7 whoever asks for it meanwhile never gets what moves, and learns who has it",
    async (cluster) => {
      const [source, target, third] = [await cluster.host(), await cluster.host(), await cluster.host()];
      const objects = Array.from({ length: 100 }, newObject);
      const leases = await source.acquire(...objects);
      const move = objects.map((object) => {
        return moveOf({ object, epoch: wonBy(source, leases, object).epoch }, target.session);
      });
      const owners: readonly string[] = [source.session, target.session];
      const [answer, raced] = await Promise.all([source.commit({ move }), third.acquire(...objects)]);
      for (const { key } of objects) {
        expect(answer.get(key)?.session).toBe(target.session);
        expect(owners).toContain(raced.get(key)?.session ?? "");
        expect(raced.get(key)?.alive).toBe(true);
      }
      const later = await third.acquire(...objects);
      for (const { key } of objects) expect(later.get(key)).toMatchObject({ session: target.session });
    },
  );
}

function together(schedule: Schedule): void {
  schedule("L7 the last writes of an object travel in the commit that moves it", async (cluster) => {
    const [source, target] = [await cluster.host(), await cluster.host()];
    const [held, other] = [await taken(source), await taken(source)];
    const answer = await sent(source, {
      writes: [put(held, "last"), put(other, "mine")],
      move: [moveOf(held, target.session)],
    });
    expect(answer.refused).toEqual(new Set());
    expect(await storedKeys(target, held.object)).toEqual(["last"]);
    const acquire = [{ object: held.object, when: "mine", load: true }] as const;
    const { loaded } = await sent(target, { acquire });
    expect([...(loaded.get(held.object.key)?.values.keys() ?? [])]).toEqual(["last"]);
    expect(await source.verify(other.object, other.epoch)).toBe(true);
  });

  schedule("L7 the writes of an object that does not move are written all the same", async (cluster) => {
    const source = await cluster.host();
    const held = await taken(source);
    const { refused } = await sent(source, {
      writes: [put(held, "a")],
      move: [moveOf(held, "nobody.1")],
    });
    expect(refused).toEqual(new Set());
    expect(await storedKeys(source, held.object)).toEqual(["a"]);
  });

  schedule("L7 one commit takes, adopts, releases and moves", async (cluster) => {
    const [source, target, old] = [await cluster.host(), await cluster.host(), await cluster.host()];
    const [held, given, left] = [await taken(source), await taken(source), await taken(old)];
    await old.directory.endSession(old.session);
    const fresh = newObject();
    const answer = await source.commit({
      acquire: [{ object: fresh, when: "free" }],
      adopt: [{ object: left.object, fromSession: old.session, fromEpoch: left.epoch }],
      release: [given],
      move: [moveOf(held, target.session), moveOf(given, target.session)],
    });
    wonBy(source, answer, fresh);
    wonBy(source, answer, left.object);
    wonBy(target, answer, held.object);
    expect(answer.get(given.object.key)?.session).toBe("");
  });
}

export function formerOwners(schedule: Schedule): void {
  schedule("L2 whoever takes a lease learns who had it before, unless it was given up", async (cluster) => {
    const [host, other] = [await cluster.host(), await cluster.host()];
    const object = newObject();
    const first = wonBy(host, await host.acquire(object));
    expect(first.former).toBe("");
    await host.commit({ release: [{ object, epoch: first.epoch }] });
    const second = wonBy(other, await other.acquire(object));
    expect(second.former).toBe("");
    await other.directory.endSession(other.session);
    expect(wonBy(host, await host.acquire(object)).former).toBe(other.session);
    expect(wonBy(host, await host.commit({ acquire: [{ object, when: "mine" }] })).former).toBe(host.session);
  });

  schedule("L2 a crash is told to the next owner, and to the copy of its commit", async (cluster) => {
    const [taker, crashed] = [await cluster.host(), await cluster.host()];
    const { object } = await taken(crashed);
    await cluster.expire(crashed, taker);
    const commit = taker.next({ acquire: [{ object, when: "free" }] });
    const answers = [await taker.directory.commit(commit), await taker.directory.commit(commit)];
    for (const answer of answers)
      expect(leaseIn(answer, object)).toMatchObject({ session: taker.session, former: crashed.session });
  });

  schedule("L1 L7 an adoption and a move name who had it as well", async (cluster) => {
    const [old, next, third] = [await cluster.host(), await cluster.host(), await cluster.host()];
    const { object, epoch } = await taken(old);
    await old.directory.endSession(old.session);
    const adopt = [{ object, fromSession: old.session, fromEpoch: epoch }];
    const adopted = wonBy(next, await next.commit({ adopt }));
    expect(adopted.former).toBe(old.session);
    const { lease } = await moved(next, { object, epoch: adopted.epoch }, third.session);
    expect(lease?.former).toBe(next.session);
    expect((await next.acquire(object)).get(object.key)).toMatchObject({
      session: third.session,
      former: next.session,
    });
  });
}

type Held = { readonly object: ObjectRef; readonly epoch: number };

async function taken(host: TestHost): Promise<Held> {
  const object = newObject();
  return { object, epoch: wonBy(host, await host.acquire(object)).epoch };
}

async function drain(host: TestHost): Promise<void> {
  host.facts = { draining: true, classes: [], load: idle };
  await host.renew();
}

function moveOf({ object, epoch }: Held, toSession: string): MoveItem {
  return { object, epoch, toSession };
}

/** Sends one move alone. */
async function moved(host: TestHost, held: Held, toSession: string) {
  const { outcome, leases } = await sent(host, { move: [moveOf(held, toSession)] });
  return { outcome, lease: leases.get(held.object.key) };
}

async function sent(host: TestHost, parts: Partial<Commit>): Promise<CommitEffects & { outcome: string }> {
  const answer = await host.send(parts);
  if (answer.outcome === "session_over") throw new Error(`the session is over: ${answer.reason}`);
  return answer;
}

function leaseIn(answer: Awaited<ReturnType<TestHost["send"]>>, { key }: ObjectRef): Lease | undefined {
  if (answer.outcome === "session_over") throw new Error(`the session is over: ${answer.reason}`);
  return answer.leases.get(key);
}

function put({ object, epoch }: Held, key: string): ObjectWrites {
  const values = new Map([[key, new Uint8Array([1])]]);
  return { object, epoch, clears: false, values, alarms: new Map(), messages: new Map() };
}

async function storedKeys(host: TestHost, object: ObjectRef): Promise<readonly string[]> {
  const all = { object, start: "", end: undefined, reverse: false, limit: 100 };
  return (await host.directory.list(all)).entries.map(([key]) => key);
}

function keysOf(...held: readonly Held[]): ReadonlySet<string> {
  return new Set(held.map(({ object }) => object.key));
}
