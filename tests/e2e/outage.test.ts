import { expect, test } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import type { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";
import { ask, Stage } from "./stage.ts";
import { TallyBook } from "./tally-book.ts";
import { checkCounters } from "./tally-check.ts";
import { runTallyClient } from "./tally-client.ts";

const seed = seedFrom("OUTAGE_SEED");
const counters = 12;
const clients = 8;
/** Enough that every client has been at work before a fault, and after it. */
const operationsAround = 150;
const recoveryLimitMs = 30_000;

// Each test has a stage of its own, and all wait for leases to run out at the same time.

const faults = {
  killed: { begin: (sqld: Sqld) => sqld.kill(), end: (sqld: Sqld) => sqld.run() },
  frozen: { begin: (sqld: Sqld) => sqld.freeze(), end: (sqld: Sqld) => sqld.thaw() },
} as const;

/** Increments at both hosts while the database is away; whatever was told is true afterwards. */
async function outage(how: keyof typeof faults, awayMs: number, leaseTtlMs: number): Promise<TallyBook> {
  await using stage = await Stage.open();
  const hosts = await Promise.all(["iad", "ams"].map((region) => stage.host(region, { leaseTtlMs })));
  const book = new TallyBook();
  const stop = new AbortController();
  stage.onClose(() => stop.abort());
  const random = new SeededRandom(seed);
  const remembered = await rememberedBy(hosts);
  const working = Array.from({ length: clients }, (_, index) =>
    runTallyClient({
      ...{ name: `client${index}`, hosts, counters, book },
      ...{ random: random.fork(), stop: stop.signal },
    }),
  );
  const acknowledges = (count: number) => {
    const before = book.acknowledged;
    return until("the clients get on", () => book.acknowledged >= before + count, recoveryLimitMs);
  };
  await acknowledges(operationsAround);
  const fault = faults[how];
  await fault.begin(stage.sqld);
  book.isStoreAway = true;
  await Bun.sleep(awayMs); // the length of the outage
  book.isStoreAway = false;
  const endedAtMs = performance.now();
  await fault.end(stage.sqld);
  await acknowledges(1);
  const recoveredMs = Math.round(performance.now() - endedAtMs);
  await acknowledges(operationsAround);
  stop.abort();
  await Promise.all(working);
  expect(await rememberedBy(hosts, 0)).toEqual(remembered);
  await checkCounters(counters, hosts, book, "after the outage");
  await Promise.all(hosts.map((host) => host.kill()));
  await checkCounters(counters, [await stage.host("reader", { leaseTtlMs })], book, "in the database");
  const codes = Array.from(book.failures, ([code, count]) => `${code} ${count}`).join(", ");
  console.log(
    `outage: seed ${seed}, ${how} for ${awayMs} ms, lease ${leaseTtlMs} ms: ${book.acknowledged} acknowledged, ${book.repeats} duplicates prevented, served again ${recoveredMs} ms after; ${codes}`,
  );
  expect(book.violations).toEqual([]);
  return book;
}

/** What objects of the memory class have, one at each host, after some more increments. */
function rememberedBy(hosts: readonly HostProcess[], increments = 3): Promise<unknown[]> {
  return Promise.all(
    hosts.map(async (host) => {
      const path = `/memo/${host.region}`;
      for (let n = 0; n < increments; n += 1)
        await until(`${path} counts`, async () => (await ask(host, path)).status === 200);
      return until(
        `${path} answers`,
        async () => {
          const answer = await ask(host, path, "GET");
          return answer.status === 200 && answer;
        },
        recoveryLimitMs,
      );
    }),
  );
}

/** The outage is as long as the machine takes to start the server, besides. */
const shorter = { awayMs: 900, leaseTtlMs: 9_000 };
const longer = { awayMs: 5_000, leaseTtlMs: 2_000 };

for (const how of ["killed", "frozen"] as const) {
  test.concurrent(`L3 L6 S5 a primary that is ${how} for less than a lease: nothing told is untrue, and nobody loses its session (seed ${seed})`, async () => {
    const book = await outage(how, shorter.awayMs, shorter.leaseTtlMs);
    expect(book.failures.get("session_over") ?? 0).toBe(0);
  }, 120_000);

  test.concurrent(`L1 L3 L6 S5 a primary that is ${how} for longer than a lease: nothing told is untrue, and memory goes on (seed ${seed})`, async () => {
    const book = await outage(how, longer.awayMs, longer.leaseTtlMs);
    expect(book.failures.get("session_over") ?? 0).toBeGreaterThan(0);
  }, 120_000);
}

test.concurrent("while the primary does not answer an object takes what its limit allows and refuses the rest, which never lands", async () => {
  await using stage = await Stage.open();
  const host = await stage.host("iad", { leaseTtlMs: 30_000 }); // It outlives the silence, however long that takes here.
  expect((await ask(host, "/hoard/full/before", "PUT")).status).toBe(200);
  stage.sqld.freeze();
  const keys = Array.from({ length: 200 }, (_, n) => `key${n}`);
  const answers: { readonly key: string; readonly status: number; readonly code: string | undefined }[] = [];
  const open = keys.map(async (key) => {
    const { status, code } = await ask(host, `/hoard/full/${key}`, "PUT");
    answers.push({ key, status, code });
  });
  const refused = () => answers.filter(({ code }) => code === "storage_backlog");
  // 4 MiB in values of 64 KiB, and what is in flight beside them.
  const acceptedMax = 130;
  await until("all that is too much has been refused", () => refused().length >= keys.length - acceptedMax);
  expect(answers.length).toBe(refused().length);
  stage.sqld.thaw();
  await Promise.all(open);
  const { keys: found } = await ask(host, "/hoard/full", "GET");
  const stored = new Set(Array.isArray(found) ? found : []);
  for (const { key, status, code } of answers) {
    if (status === 200) expect(stored).toContain(key);
    else expect([key, code, stored.has(key)]).toEqual([key, "storage_backlog", false]);
  }
  const accepted = answers.filter(({ status }) => status === 200).length;
  console.log(
    `outage: of ${keys.length} writes of 64 KiB ${accepted} were taken, and ${refused().length} refused`,
  );
  expect(accepted).toBeGreaterThan(0);
  expect((await ask(host, "/hoard/full/after", "PUT")).status).toBe(200);
}, 60_000);
