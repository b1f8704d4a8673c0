import { afterEach, beforeEach, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { configFromEnvironment, type RunningHost, startHost } from "../../apps/server/index.ts";
import type { Commit } from "../../infra/lease/directory.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { type ObjectWrites, recordKey } from "../../infra/lease/stored-objects.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { decodeRecord, decodeValue } from "../../infra/storage/storage-codec.ts";
import { until } from "../support/wait.ts";

/** Remembers what each commit asked for. */
class RecordingDirectory extends MemoryDirectory {
  readonly commits: Commit[] = [];

  override commit(commit: Commit) {
    this.commits.push(commit);
    return super.commit(commit);
  }
}

let held = Promise.withResolvers<void>();
let isOpen = false;
const bell = object("bell", {
  state: () => ({ rung: 0 }),
  durability: "storage",
  async onAlarm({ state, storage, name }) {
    state.rung += 1;
    void storage.put("last", name);
  },
})
  .get("/", ({ state }) => state.rung)
  .post("/set", ({ alarms }) => void alarms.set("ring", { afterMs: 10 }))
  .post("/churn", async ({ storage }) => {
    await storage.get(`unknown ${Math.random()}`);
    await storage.put("churn", 1);
  })
  .post("/hold", async ({ storage, alarms }) => {
    alarms.set("ring", { afterMs: 10 });
    await storage.transaction(async (tx) => {
      await tx.put("held", true);
      isOpen = true;
      await held.promise;
    });
  });

let directory: RecordingDirectory;
let host: RunningHost;
beforeEach(async () => {
  held = Promise.withResolvers();
  isOpen = false;
  directory = new RecordingDirectory(systemClock);
  const config = configFromEnvironment({ PORT: "0", STATEFUL_BIND: "127.0.0.1" });
  host = await startHost(config, { directory, classes: [bell] });
});
afterEach(() => host.stop());

const post = (path: string) => fetch(`http://127.0.0.1:${host.port}${path}`, { method: "POST" });

/** What has been written of the alarm's object once its row is removed: in that commit or before, never behind it. */
async function writtenByThen(): Promise<{ readonly state: unknown; readonly last: unknown }> {
  const removes = ({ alarms }: ObjectWrites) => alarms.get("ring") === null;
  await until("the alarm's row is removed", () =>
    directory.commits.some(({ writes }) => writes.some(removes)),
  );
  const writes = directory.commits.flatMap((commit) => commit.writes);
  const values = new Map(
    writes.slice(0, writes.findIndex(removes) + 1).flatMap((write) => [...write.values]),
  );
  const record = values.get(recordKey);
  const last = values.get("last");
  return { state: record && decodeRecord(record).state, last: last && decodeValue(last) };
}

test("A2 what an alarm's handler changed is written no later than the removal of its row, the state included", async () => {
  for (const id of ["a", "b", "c"]) {
    directory.commits.length = 0;
    await post(`/bell/${id}/set`);
    expect(await writtenByThen()).toEqual({ state: { rung: 1 }, last: "ring" });
  }
});

test("A2 so it is where another event's transaction is open meanwhile", async () => {
  const holding = post("/bell/held/hold");
  await until("the transaction is open", () => isOpen);
  held.resolve();
  await holding;
  expect(await writtenByThen()).toEqual({ state: { rung: 1 }, last: "ring" });
});

test("A2 a handler that writes while others read keeps that promise too", async () => {
  const asked = Array.from({ length: 20 }, () => post("/bell/busy/churn"));
  await Promise.all(asked);
  await post("/bell/busy/set");
  await Promise.all([...asked, ...Array.from({ length: 20 }, () => post("/bell/busy/churn"))]);
  const { state, last } = await writtenByThen();
  expect({ state, last }).toEqual({ state: { rung: 1 }, last: "ring" });
});
