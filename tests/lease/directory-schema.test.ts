import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import { migrate, schemaVersion } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { type SqlConnection, statement } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
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
    await Promise.all(connections.map((connection) => migrate(connection)));
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

test("a host of version 2 works on the tables of version 3, and what it does is read as it was meant", async () => {
  const connection = file();
  await migrate(connection);
  const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
  const session = (name: string) => `
    INSERT INTO sessions (session, host_id, region, private_url, public_url, classes, version, draining, load, ttl_ms,
      opened_at, expires_at, counter)
    SELECT '${name}', 'old', 'iad', '', '', '[]', '2', 0, '{}', 60000, ${now}, ${now} + 60000, 1`;
  const acquire = (name: string) => `
    INSERT INTO leases (class, id, session, epoch) VALUES ('room', 'one', '${name}', 1)
    ON CONFLICT (class, id) DO UPDATE SET session = excluded.session, epoch = max(leases.epoch + 1, excluded.epoch)`;
  const run = (...texts: string[]) => connection.batch(texts.map((text) => statement(text, {})));
  await run(session("old"), acquire("old"));
  const directory = connectDirectory({ url: url() });
  try {
    const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
    const facts = { hostId: "new", region: "iad", privateUrl: "", publicUrl: "", classes: [], version: "3" };
    const { position } = await directory.openSession({
      ...facts,
      session: "new",
      draining: false,
      load,
      ttlMs: 60_000,
    });
    const one = objectRef("room", "one");
    let slot = 1;
    const take = async () => {
      const parts = { acquire: [{ object: one, when: "free" as const }], adopt: [], release: [], move: [] };
      const answer = await directory.commit({
        session: "new",
        slot: slot++,
        ...parts,
        writes: [],
        seen: position,
      });
      return answer.outcome === "committed" ? answer.leases.get(one.key) : undefined;
    };
    expect(await take()).toMatchObject({ session: "old", alive: true, former: "" });
    await run("UPDATE sessions SET ended = 1 WHERE session = 'old'");
    expect(await take()).toMatchObject({ session: "new", former: "old" });
    // The older host takes over what the newer one had, and then is gone as well.
    await run(session("older"), acquire("older"));
    expect(await take()).toMatchObject({ session: "older" });
    await run("UPDATE sessions SET ended = 1 WHERE session = 'older'");
    expect(await take()).toMatchObject({ session: "new", former: "older" });
  } finally {
    await directory.close();
  }
});

test("L12 a database that requires more than the code knows is refused, with what to do", async () => {
  const connection = file();
  await migrate(connection);
  await connection.batch([statement(`INSERT INTO schema_versions VALUES (${schemaVersion + 1}, 0)`, {})]);
  // Not `expect().rejects`: it waits in a loop of its own, which hears nothing from a Worker.
  const error = await migrate(connection).catch((refusal: unknown) => refusal);
  const versions = `requires schema version ${schemaVersion + 1}; this build knows ${schemaVersion} at most`;
  expect(String(error)).toMatch(new RegExp(`${versions}.*Deploy a build that knows it`));
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
  const count =
    "SELECT (SELECT count(*) FROM schema_versions) + (SELECT count(*) FROM schema_additions) AS n";
  return (await connection.query(statement(count, {})))[0]?.n;
}
