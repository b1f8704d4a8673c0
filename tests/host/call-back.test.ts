import { afterAll, beforeAll, expect, test } from "bun:test";
import { type AnyObjectClass, object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";

/** What the call back was answered, by object. */
const answered = new Map<string, number>();

const near: AnyObjectClass = object("near", {
  placement: { regions: ["iad"] },
  async onStart({ objectId, objects }) {
    const called = await objects(relay, objectId).back.get();
    answered.set(objectId, Number(called.data));
  },
}).get("/", () => "started");

/** Lives in another region, and calls back to whoever calls it. */
const relay = object("relay", { placement: { regions: ["ams"] } }).get("/back", async (context) => {
  // Typed loosely: the two classes name each other.
  const called = (await (context.objects as CallAny)(near, context.objectId).get()) as { status: number };
  return called.status;
});

type CallAny = (target: AnyObjectClass, id: string) => { get(): Promise<unknown> };

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ regions: ["iad", "ams"], classes: [near, relay] });
  await Promise.all(cluster.hosts.map((host) => host.parts.leases.refresh()));
}, 30_000);
afterAll(() => cluster?.stop());

test("H1 a call that comes back over another host to an object that starts is a call_cycle at once", async () => {
  for (const region of ["iad", "ams"]) {
    const response = await fetch(cluster.url(region, `/near/${region}/`));
    expect([response.status, await response.text()]).toEqual([200, "started"]);
    expect(answered.get(region)).toBe(508);
  }
}, 20_000);
