import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import { directoryStatus, markRestored } from "../../infra/lease/directory-restored.ts";
import { migrate, migrations, schemaVersion } from "../../infra/lease/directory-schema.ts";
import { type SqlConnection, statement, textOf } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";

const cleanups: (() => Promise<unknown>)[] = [];
const ttlMs = 60_000;
const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
const facts = {
  hostId: "h",
  region: "iad",
  privateUrl: "",
  publicUrl: "",
  classes: [],
  version: "1",
  draining: false,
  load,
};

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function restorable() {
  const folder = await mkdtemp(join(tmpdir(), "restored-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const url = `file://${join(folder, "directory.db")}`;
  const connection = new WorkerConnection({
    clock: systemClock,
    config: { url, busyTimeoutMs: 5_000 },
    timeLimitMs: 8_000,
  });
  cleanups.push(() => connection.close());
  const directory = connectDirectory({ url });
  cleanups.push(() => directory.close());
  return { connection, directory };
}

/** Of each row, by topic and place. */
async function histories(connection: SqlConnection): Promise<string[]> {
  const rows = await connection.query(statement("SELECT history FROM messages ORDER BY topic, place", {}));
  return rows.map((row) => textOf(row, "history"));
}

test("L9 a directory that was told of its restore has nobody's session, and gives nothing away for one lease time", async () => {
  const { connection, directory } = await restorable();
  const { position } = await directory.openSession({ ...facts, session: "one", ttlMs });
  const acquire = [{ object: objectRef("room", "a"), when: "free" as const }];
  const nothing = { adopt: [], release: [], move: [], writes: [] };
  await directory.commit({ session: "one", slot: 1, acquire, ...nothing, seen: position });
  expect(await markRestored(connection)).toMatchObject({
    sessionsEnded: 1,
    objectsOwned: 1,
    quarantineMs: ttlMs,
  });
  const renewal = { session: "one", ttlMs, draining: false, classes: [], load, seen: position };
  expect(await directory.renew(renewal)).toEqual({ alive: false, reason: "directory_lost_memory" });
  const next = await directory.openSession({
    ...facts,
    session: "two",
    ttlMs,
    previous: { session: "one", seen: position },
  });
  expect(next.position.generation).not.toBe(position.generation);
  expect(next.quarantineMs).toBeGreaterThan(ttlMs / 2);
  expect(next.quarantineMs).toBeLessThanOrEqual(ttlMs);
  const asked = await directory.commit({ session: "two", slot: 1, acquire, ...nothing, seen: next.position });
  expect(asked.outcome).toBe("quarantined");
});

test("L9 T6 histories begin anew, each under one other id, so that no position of before is found in them", async () => {
  const { connection } = await restorable();
  await migrate(connection);
  const row = (topic: string, place: number, history: string) =>
    statement(
      `INSERT INTO messages VALUES ('room', 'a', '${topic}', ${place}, '${history}', 'text', 0, x'00')`,
      {},
    );
  await connection.batch([row("chat", 1, "h1"), row("chat", 2, "h1"), row("news", 7, "h2")]);
  expect((await markRestored(connection)).histories).toBe(2);
  const [first, second, third] = await histories(connection);
  expect(first).toMatch(/^h1-.{4}$/);
  expect(second).toBe(first ?? "");
  expect(third).toMatch(/^h2-.{4}$/);
  // May be run again, by whoever is not sure that it was.
  await markRestored(connection);
  expect((await histories(connection))[0]).toMatch(/^h1-.{4}-.{4}$/);
});

test("L12 a directory of a later release is left alone, and its status says of which", async () => {
  const { connection } = await restorable();
  await migrate(connection);
  expect((await directoryStatus(connection)).schema.current).toBe(schemaVersion);
  await connection.batch([statement(`INSERT INTO schema_versions VALUES (${schemaVersion + 1}, 0)`, {})]);
  const refusal = await markRestored(connection).catch((error: unknown) => error);
  expect(String(refusal)).toContain(`requires schema version ${schemaVersion + 1}`);
});

test("L9 L12 a backup of any earlier release is marked and looked at as it is, and a host that starts on it migrates it", async () => {
  for (const version of [1, 4, 5, 6]) {
    const { connection, directory } = await restorable();
    await migrate(connection, migrations.slice(0, version));
    const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    const columns = `session, host_id, region, private_url, public_url, classes, version, draining, load, ttl_ms,
      opened_at, expires_at, counter`;
    const values = `'one', 'h', 'iad', '', '', '[]', '1', 0, '{}', ${ttlMs}, ${now}, ${now} + ${ttlMs}, 1`;
    // The first releases told additions not apart from the rest.
    const hasAdditions = migrations.slice(0, version).some(({ olderHosts }) => olderHosts === "go on");
    await connection.batch([
      statement(`INSERT INTO sessions (${columns}) VALUES (${values})`, {}),
      ...(hasAdditions ? [] : [statement("DROP TABLE schema_additions", {})]),
    ]);
    const before = await directoryStatus(connection);
    expect(before.schema.current).toBe(version);
    expect(before.sessions).toMatchObject([{ hostId: "h", linkVersions: "", objects: 0 }]);
    expect(await markRestored(connection)).toMatchObject({
      sessionsEnded: 1,
      quarantineMs: ttlMs,
      histories: 0,
    });
    const after = await directoryStatus(connection);
    expect(after).toMatchObject({ schema: { current: version }, sessions: [] });
    const opened = await directory.openSession({ ...facts, session: "two", ttlMs });
    expect(opened.quarantineMs).toBeGreaterThan(ttlMs / 2);
    expect((await directoryStatus(connection)).schema.current).toBe(schemaVersion);
  }
});

test("L9 what is no directory is not marked as one, and said to be none", async () => {
  const { connection } = await restorable();
  for (const look of [markRestored, directoryStatus]) {
    const refusal = await look(connection).catch((error: unknown) => error);
    expect(String(refusal)).toContain("There is no directory in this database");
  }
});

test("L3 a status has the directory's time, also where the primary's clock is behind it", async () => {
  const { connection, directory } = await restorable();
  await directory.openSession({ ...facts, session: "one", ttlMs });
  expect(await directoryStatus(connection)).toMatchObject({ aheadMs: 0, quarantineMs: 0 });
  // What is there once the clock has been set back by ten minutes.
  const aheadMs = 600_000;
  const ahead = `SET now = now + ${aheadMs}, ahead = ${aheadMs}, quarantine_until = now + ${aheadMs} + 5000`;
  await connection.batch([
    statement(`UPDATE directory ${ahead}`, {}),
    statement(`UPDATE sessions SET expires_at = expires_at + ${aheadMs}`, {}),
  ]);
  const status = await directoryStatus(connection);
  const [{ expiresInMs } = { expiresInMs: 0 }] = status.sessions;
  // All of them fall with the seconds that this takes, and none rises.
  for (const [is, most] of [
    [status.aheadMs, aheadMs],
    [status.quarantineMs, 5_000],
    [expiresInMs, ttlMs],
  ] as const) {
    expect(is).toBeGreaterThan(most - 5_000);
    expect(is).toBeLessThanOrEqual(most);
  }
});
