import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Client, createClient, type InValue } from "@libsql/client";
import { object } from "stateful-objects";
import { encodeRecord, encodeValue } from "../../infra/storage/storage-codec.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { adminToken } from "../support/admin-token.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { tellTrust } from "../support/trust-line.ts";
import { mutated, randomText } from "./mutation.ts";
import { WhatAllInherit } from "./what-all-inherit.ts";

const seed = seedFrom("FUZZ_SEED");
const objects = 60;

/** Reads all that an object may have stored. */
const shelf = object("shelf", {
  durability: "storage",
  state: (): { calls: number } => ({ calls: 0 }),
  topics: { news: { subscribe: "anyone", history: { count: 10, ageMs: 86_400_000 } } },
  onAlarm: () => undefined,
}).get("/", async ({ state, storage, alarms, objectId }) => {
  state.calls = 1;
  const [one, all] = [await storage.get("k"), await storage.list()];
  return { objectId, keys: [...all.keys()], kind: typeof one, alarms: (await alarms.list()).length };
});

let cluster: Cluster;
let database: Client;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [shelf],
    regions: ["iad"],
    directory: "sqld",
    config: { adminToken, isDev: false },
  });
  database = createClient({ url: cluster.directoryUrl });
});
afterAll(async () => {
  database.close();
  await cluster.stop();
});

/** Rows of one object as nobody has written them: a disk went wrong, or somebody wrote into the database by hand. */
function damage(random: SeededRandom, id: string) {
  const value = (valid: Uint8Array): InValue => {
    const bytes = mutated(random, valid, encodeValue("other", "It", 100));
    return typeof bytes === "string" ? bytes : new Uint8Array(bytes);
  };
  const text = () => String(mutated(random, '{"every":60000,"from":1}', randomText(random))).toWellFormed(); // the database's protocol has no other
  const packed = () => encodeValue([1, "two", new Map([[3, new Date(0)]])], "It", 1000);
  const row = (sql: string, ...args: InValue[]) => ({ sql, args: ["shelf", id, ...args] });
  const dueAt = random.pick([0, -1, 2 ** 52, Date.now() + 1e9]);
  const form = random.pick(["text", "json", "bytes", "", "else"]);
  const all = [
    row(
      "INSERT INTO storage VALUES (?, ?, '', ?)",
      value(encodeRecord({ version: 1, state: { calls: 3, more: randomText(random) } })),
    ),
    row("INSERT INTO storage VALUES (?, ?, 'k', ?)", value(packed())),
    row("INSERT INTO storage VALUES (?, ?, ?, ?)", randomText(random), value(packed())),
    row(
      "INSERT INTO alarms VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
      randomText(random),
      dueAt,
      random.pick([0, 7, -1]),
      text(),
      value(packed()),
      text(),
    ),
    row(
      "INSERT INTO messages VALUES (?, ?, 'news', ?, 'h', ?, 0, ?)",
      random.pick([0, 1, 2 ** 52]),
      form,
      value(packed()),
    ),
  ];
  return all.filter(() => random.isLucky(0.8));
}

test(`S9 damaged rows fail the object that they belong to, if anything, and no other (FUZZ_SEED=${seed})`, async () => {
  const random = new SeededRandom(seed);
  // The host is in this process.
  const inherited = new WhatAllInherit();
  const neighbours = Array.from({ length: 10 }, (_, index) => `sound${index}`);
  const sound = neighbours.map((id) => ({
    sql: "INSERT INTO storage VALUES ('shelf', ?, 'k', ?)",
    args: [id, encodeValue("here", "It", 100)],
  }));
  await database.batch(
    [...sound, ...Array.from({ length: objects }, (_, index) => damage(random, `d${index}`)).flat()],
    "write",
  );
  const ask = async (id: string) => {
    const answer = await fetch(cluster.url("iad", `/shelf/${id}`), { signal: AbortSignal.timeout(10_000) });
    return { status: answer.status, body: await answer.json() };
  };
  // All at once: what they have stored comes with their leases, in one answer.
  const [answers, others] = await Promise.all([
    Promise.all(Array.from({ length: objects }, (_, index) => ask(`d${index}`))),
    Promise.all(neighbours.map(ask)),
  ]);
  for (const [index, { status, body }] of answers.entries()) {
    const outcome = status === 200 ? body.objectId : body.code;
    const may = [`d${index}`, "handler_failed", "start_failed", "internal", "directory_unavailable"];
    expect([index, may]).toEqual([index, expect.arrayContaining([outcome])]);
  }
  // Or nothing was tried.
  const failed = answers.filter(({ status }) => status !== 200).length;
  expect(failed).toBeGreaterThan(objects / 4);
  for (const other of others)
    expect(other).toMatchObject({ status: 200, body: { keys: ["k"], kind: "string" } });
  const alarms = await fetch(cluster.url("iad", "/-/alarms?limit=1000"), {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  expect(alarms.status).toBe(200);
  tellTrust("stored rows", {
    seed: String(seed),
    objects,
    "of which failed": failed,
    "neighbours served": others.length,
  });
  expect(inherited.changes()).toEqual([]);
}, 60_000);
