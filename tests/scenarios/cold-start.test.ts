import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import type { SqlStatement } from "../../infra/lease/sql-connection.ts";
import { StreamConnection } from "../../infra/lease/stream-connection.ts";
import { object } from "../../infra/object/index.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { until } from "../support/wait.ts";

const notes = object("notes", { state: () => ({ n: 0 }), durability: "storage", idleAfterMs: 1000 })
  .get("/", async ({ state, storage }) => ({ n: state.n, keys: [...(await storage.list()).keys()] }))
  .post("/", async ({ state, storage }) => {
    state.n += 1;
    await storage.putMany({ a: 1, b: { deep: [2] } });
    return "ok";
  });

let cluster: Cluster;
beforeAll(async () => {
  // A long lease, so that no renewal comes in between.
  cluster = await startCluster({
    classes: [notes],
    regions: ["iad"],
    directory: "sqld",
    config: { leaseTtlMs: 60_000 },
  });
});
afterAll(() => cluster?.stop());

/** What is asked of the database while `work` runs, the sweep for alarms aside, which knows of no object. */
async function askedDuring(work: () => Promise<unknown>): Promise<string[]> {
  const asked: string[] = [];
  const isSweep = ({ sql }: SqlStatement) => sql.includes("FROM alarms") && sql.includes("ownerGraceMs");
  const spies = [StreamConnection, RemoteConnection].flatMap(({ prototype }) => {
    const [batch, query] = [prototype.batch, prototype.query];
    return [
      spyOn(prototype, "batch").mockImplementation(function (this: StreamConnection, statements) {
        asked.push("batch");
        return batch.call(this as never, statements); // the spied method's own class
      }),
      spyOn(prototype, "query").mockImplementation(function (this: StreamConnection, statement) {
        if (!isSweep(statement)) asked.push(`query ${statement.sql}`);
        return query.call(this as never, statement); // the spied method's own class, too
      }),
    ];
  });
  try {
    await work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return asked;
}

test("S8 a cold start of a durable object is one batch, with its state and its keys", async () => {
  const { table } = cluster.host("iad").parts;
  await fetch(cluster.url("iad", "/notes/x"), { method: "POST" });
  await until("it sleeps", () => table.live("notes/x") === undefined && table.size === 0, 10_000);
  const asked = await askedDuring(async () => {
    const answer = await fetch(cluster.url("iad", "/notes/x"));
    expect(await answer.json()).toEqual({ n: 1, keys: ["a", "b"] });
  });
  expect(asked).toEqual(["batch"]);
});

test("S4 a write is one batch more, and a read of what is in memory none", async () => {
  await fetch(cluster.url("iad", "/notes/y"));
  expect(await askedDuring(() => fetch(cluster.url("iad", "/notes/y"), { method: "POST" }))).toEqual([
    "batch",
  ]);
  expect(await askedDuring(() => fetch(cluster.url("iad", "/notes/y")))).toEqual([]);
});
