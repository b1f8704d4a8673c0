import { expect } from "bun:test";
import type { HeldLease } from "../../infra/lease/directory.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import { noMessages } from "../../infra/lease/stored-objects.ts";
import { until } from "../support/wait.ts";
import { type Cluster, newObject, type TestHost, wonBy } from "./directory-cluster.ts";

type Schedule = (title: string, run: (cluster: Cluster) => Promise<void>) => void;

const dayMs = 24 * 60 * 60 * 1000;

/** Leases that say nothing any more do not stay, and no epoch falls for it. */
export function forgetting(schedule: Schedule): void {
  schedule(
    "L2 a lease that was given up is forgotten, and whoever takes the object then has a higher epoch",
    async (cluster) => {
      const [host, other] = [await cluster.host(), await cluster.host()];
      const { object, epoch } = await hadAndForgotten(host);
      const again = wonBy(other, await other.acquire(object));
      expect(again.epoch).toBeGreaterThan(epoch);
      expect(again.former).toBe("");
    },
  );

  schedule("L2 however fast an object changes hands and is forgotten, its epoch rises", async (cluster) => {
    const object = newObject();
    const hosts = [await cluster.host(), await cluster.host()];
    let before = 0;
    for (let turn = 0; turn < 12; turn += 1) {
      for (const host of hosts) {
        // Taken again and again, its epoch runs ahead of the clock.
        const acquire = [{ object, when: "free" }] as const;
        for (const _ of [1, 2, 3]) await host.commit({ acquire });
        const { epoch } = wonBy(host, await host.commit({ acquire }));
        expect(epoch).toBeGreaterThan(before);
        before = epoch;
        await host.commit({ release: [{ object, epoch }] });
        await host.directory.forgetLeases({ after: "", limit: 100, keepMs: 0 });
      }
    }
  });

  schedule(
    "L2 L4 what comes late under a lease that is forgotten does nothing, also once the object has another",
    async (cluster) => {
      const [old, next] = [await cluster.host(), await cluster.host()];
      const { object, epoch } = await hadAndForgotten(old);
      const late = {
        release: [{ object, epoch }],
        adopt: [{ object, fromSession: old.session, fromEpoch: epoch }],
        writes: [{ object, epoch, ...nothingElse, values: new Map([["key", new Uint8Array([1])]]) }],
      };
      const move = [{ object, epoch, toSession: next.session }];
      for (const parts of [
        { ...late, move },
        { ...late, move },
      ]) {
        const answer = await old.send(parts);
        expect(answer).toMatchObject({ outcome: "committed", refused: new Set([object.key]) });
        // The second time another has it.
        wonBy(next, await next.acquire(object));
      }
      expect(await next.directory.read([{ object, key: "key" }])).toEqual([undefined]);
    },
  );

  schedule("L2 a lease is kept while somebody has it, and for a while after", async (cluster) => {
    const [host, ended, given] = [await cluster.host(), await cluster.host(), await cluster.host()];
    const [held, ofEnded, young] = [newObject(), newObject(), newObject()];
    await host.acquire(held);
    // Who had it is told to whoever takes it next.
    await ended.acquire(ofEnded);
    await ended.directory.endSession(ended.session);
    const { epoch } = wonBy(given, await given.acquire(young));
    await given.commit({ release: [{ object: young, epoch }] });
    const { directory } = host;
    expect(await directory.forgetLeases({ after: "", limit: 100, keepMs: dayMs })).toEqual({
      forgotten: 0,
      next: undefined,
    });
    await forgotten(host, young);
    expect((await host.acquire(held)).get(held.key)?.session).toBe(host.session);
    expect((await host.acquire(ofEnded)).get(ofEnded.key)?.former).toBe(ended.session);
  });

  schedule("L2 the leases are gone through page by page, in the order of their names", async (cluster) => {
    const host = await cluster.host();
    const objects = Array.from({ length: 7 }, newObject);
    const leases = await host.acquire(...objects);
    const givenUp = objects.filter((_, n) => n % 2 === 0);
    const release = givenUp.map((object) => ({ object, epoch: wonBy(host, leases, object).epoch }));
    await host.commit({ release });
    await until("the directory's time has gone on", async () => {
      const answer = await host.renew();
      return answer.alive && release.every(({ epoch }) => epoch < answer.nowMs);
    });
    const pages: number[] = [];
    let after: string | undefined = "";
    for (let n = 0; after !== undefined && n < 10; n += 1) {
      const page = await host.directory.forgetLeases({ after, limit: 3, keepMs: 0 });
      pages.push(page.forgotten);
      after = page.next;
    }
    expect(pages).toHaveLength(3);
    expect(pages.reduce((sum, count) => sum + count, 0)).toBe(givenUp.length);
    const answer = await host.commit({ acquire: objects.map((object) => ({ object, when: "mine" })) });
    expect([...answer.keys()].sort()).toEqual(
      objects
        .filter((object) => !givenUp.includes(object))
        .map(({ key }) => key)
        .sort(),
    );
  });
}

const nothingElse = { clears: false, alarms: new Map(), messages: noMessages };

/** A lease that the host had and gave up, and that is forgotten. */
async function hadAndForgotten(host: TestHost): Promise<HeldLease> {
  const object = newObject();
  const { epoch } = wonBy(host, await host.acquire(object));
  await host.commit({ release: [{ object, epoch }] });
  await forgotten(host, object);
  return { object, epoch };
}

async function forgotten(host: TestHost, object: ObjectRef): Promise<void> {
  await until(`the lease of ${object.key} is forgotten`, async () => {
    // The directory's time goes on with what is written.
    await host.renew();
    const { forgotten: count } = await host.directory.forgetLeases({ after: "", limit: 100, keepMs: 0 });
    return count > 0;
  });
}
