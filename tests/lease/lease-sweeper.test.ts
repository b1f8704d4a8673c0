import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LibsqlDirectory } from "../../infra/lease/libsql-directory.ts";
import {
  leaseKeepMs,
  LeaseSweeper,
  leasesPerPage,
  sweepBusyMs,
  sweepRestMs,
} from "../../infra/lease/lease-sweeper.ts";
import type { LeasePage } from "../../infra/lease/directory.ts";
import { numberOf, statement } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sweeper-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("L2 each host goes through all leases, page after page, sooner where it finds some to forget, and on after a failure", async () => {
  const clock = new VirtualClock();
  const pages: (LeasePage & { readonly atMs: number })[] = [];
  const answers = [
    { forgotten: 3, next: "room/m" },
    { forgotten: 0, next: "room/z" },
    new StatefulError("directory_unavailable", "away"),
    { forgotten: 0, next: undefined },
    { forgotten: 0, next: undefined },
  ];
  const sweeper = new LeaseSweeper({
    directory: {
      async forgetLeases(page) {
        pages.push({ ...page, atMs: clock.monotonicMs() });
        const answer = answers[pages.length - 1];
        if (answer === undefined || answer instanceof Error) throw answer ?? new Error("asked too often");
        return answer;
      },
    },
    ...{ clock, log: silentLog, hosts: () => 4 },
  });
  const stop = new AbortController();
  const running = sweeper.run(stop.signal);
  const startMs = clock.monotonicMs();
  await clock.advance(4 * 4 * sweepRestMs + sweepBusyMs);
  stop.abort();
  await running;
  const restMs = 4 * sweepRestMs;
  const page = (after: string, atMs: number) => ({
    ...{ after, limit: leasesPerPage, keepMs: leaseKeepMs, atMs: startMs + atMs },
  });
  expect(pages).toEqual([
    page("", restMs),
    page("room/m", restMs + sweepBusyMs),
    page("room/z", 2 * restMs + sweepBusyMs),
    page("room/z", 3 * restMs + sweepBusyMs),
    page("", 4 * restMs + sweepBusyMs),
  ]);
  expect(clock.timersLeft).toBe(0);
});

test("L2 the leases of sessions that are not known any more are forgotten", async () => {
  const config = { url: `file:${join(folder, "directory.db")}`, busyTimeoutMs: 5_000 };
  const connection = new WorkerConnection({ clock: systemClock, config, timeLimitMs: 20_000 });
  const directory = new LibsqlDirectory({ renewals: connection, work: connection, hints: connection });
  const facts = { hostId: "h", region: "iad", privateUrl: "", publicUrl: "", classes: [], version: "1" };
  const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
  const session = { session: "alive.1", ...facts, draining: false, load, ttlMs: 60_000 };
  await directory.openSession(session);
  const insert = `
    INSERT INTO leases (class, id, session, epoch) SELECT 'room', 'r' || value, :session, 1 + value
    FROM (WITH RECURSIVE n(value) AS (SELECT :from UNION ALL SELECT value + 1 FROM n WHERE value < :upTo) SELECT value FROM n)`;
  const leasesOf = (whose: string, from: bigint, upTo: bigint) =>
    statement(insert, { session: whose, from, upTo });
  await connection.batch([
    leasesOf("alive.1", 1n, 500n),
    leasesOf("forgotten.1", 501n, 1000n),
    leasesOf("", 1001n, 1500n),
  ]);
  const page = { after: "", limit: leasesPerPage, keepMs: leaseKeepMs };
  expect(await directory.forgetLeases(page)).toEqual({ forgotten: 1000, next: undefined });
  const [left] = await connection.query(
    statement("SELECT count(*) AS leases, max(session) AS session FROM leases", {}),
  );
  expect([numberOf(left, "leases"), left?.session]).toEqual([500, "alive.1"]);
  await directory.close();
});
