import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrate, schemaVersion } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { type SqlConnection, statement } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { Sqld } from "../support/sqld.ts";

const hostsCount = 6;
const migrator = join(import.meta.dir, "../support/migrate-file.ts");
let folder: string;
const open: SqlConnection[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "schema-"));
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close()));
  await rm(folder, { recursive: true, force: true });
});

test("several processes migrate one new file at once", async () => {
  const run = () => Bun.spawn([process.execPath, migrator, url()], { stderr: "inherit" }).exited;
  expect(await Promise.all(Array.from({ length: 3 }, run))).toEqual([0, 0, 0]);
  expect(await versionsOf(file())).toBe(schemaVersion);
});

test("several hosts migrate one new server at once", async () => {
  const sqld = await Sqld.start();
  try {
    const connect = () =>
      keep(new RemoteConnection({ clock: systemClock, url: sqld.httpUrl, timeLimitMs: 10_000 }));
    const connections = Array.from({ length: hostsCount }, connect);
    await Promise.all(connections.map(migrate));
    expect(await versionsOf(connect())).toBe(schemaVersion);
  } finally {
    await sqld.stop();
  }
});

test("migrating again changes nothing", async () => {
  const connection = file();
  await migrate(connection);
  const before = await connection.query(statement("SELECT generation FROM directory", {}));
  await migrate(connection);
  expect(await connection.query(statement("SELECT generation FROM directory", {}))).toEqual(before);
});

test("a database that is newer than the code is refused, with what to do", async () => {
  const connection = file();
  await migrate(connection);
  await connection.batch([statement(`INSERT INTO schema_versions VALUES (${schemaVersion + 1}, 0)`, {})]);
  // Not `expect().rejects`: it waits in a loop of its own, which hears nothing from a Worker.
  const error = await migrate(connection).catch((refusal: unknown) => refusal);
  expect(String(error)).toMatch(/schema version 2; this build knows 1 at most.*newer build/);
});

function url(): string {
  return `file://${join(folder, "directory.db")}`;
}

function file(): SqlConnection {
  return keep(
    new WorkerConnection({
      clock: systemClock,
      config: { url: url(), busyTimeoutMs: 5_000 },
      timeLimitMs: 8_000,
    }),
  );
}

function keep<T extends SqlConnection>(connection: T): T {
  open.push(connection);
  return connection;
}

async function versionsOf(connection: SqlConnection): Promise<unknown> {
  return (await connection.query(statement("SELECT count(*) AS n FROM schema_versions", {})))[0]?.n;
}
