import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outdatedExitCode } from "../../apps/server/exit-codes.ts";
import { schemaVersion } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { type SqlConnection, statement } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { HostProcess } from "../support/host-process.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";

/** Releases of two schemas on one database (L12): real hosts in processes of their own, a real server, and a file. */
const root = join(import.meta.dir, "../..");
const migrator = join(import.meta.dir, "../support/migrate-slowly.ts");
const leaseTtlMs = 1_500;
/** Enough for a migration of some seconds, which is killed long before its end. */
const manyRows = "100000000";
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

test("L12 hosts go on under a later release's addition, and start anew beside it", async () => {
  const sqld = await server();
  const host = await hostAt(sqld.httpUrl, "iad");
  expect(await increment(host)).toBe(1);
  expect(await migrateTo(sqld.httpUrl, "go on")).toBe("done");
  expect(await increment(host)).toBe(2);
  await host.stop();
  const again = await hostAt(sqld.httpUrl, "iad");
  expect(await increment(again)).toBe(3);
});

for (const where of ["server", "file"] as const) {
  test(`L12 a migration that older hosts do not survive ends them in order, on a ${where}`, async () => {
    const url = where === "server" ? (await server()).httpUrl : await file();
    const host = await hostAt(url, "iad");
    expect(await increment(host)).toBe(1);
    const socket = new WebSocket(host.socketUrl("/-/connect"));
    const closed = new Promise<number>((resolve) =>
      socket.addEventListener("close", ({ code }) => resolve(code)),
    );
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    expect(await migrateTo(url, "end")).toBe("done");
    expect(await host.exited()).toBe(outdatedExitCode);
    expect(await closed).toBe(1012);
    const said = host.entries.find(({ event }) => event === "host.outdated");
    expect(JSON.stringify(said)).toContain(`requires schema version ${schemaVersion + 1}`);
    expect(host.entries.filter(({ event }) => event === "session.over")).toHaveLength(1);

    // What the old host had written is there, and it left nothing behind that lives.
    const connection = connect(url);
    const [row] = await connection.query(
      statement(
        "SELECT (SELECT count(*) FROM storage) AS stored, (SELECT count(*) FROM sessions WHERE ended = 0) AS alive",
        {},
      ),
    );
    expect(row).toEqual({ stored: 1, alive: 0 });

    // It does not start again, and says what to do; its supervisor does not try for ever.
    const started = Bun.spawn([process.execPath, "apps/server/supervisor.ts"], {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe"],
      env: {
        ...process.env,
        LIBSQL_URL: url,
        STATEFUL_OBJECTS: "tests/e2e/objects",
        STATEFUL_RESTART: "1",
        PORT: "0",
      },
    });
    cleanups.push(async () => started.kill());
    const [code, complaint] = await Promise.all([started.exited, new Response(started.stderr).text()]);
    expect(code).toBe(outdatedExitCode);
    expect(complaint).toContain(`this build knows ${schemaVersion} at most. Deploy a build that knows it`);
  });
}

test("L12 a process that is killed in the middle of a migration leaves the version before it", async () => {
  const url = await file();
  const killed = await migrating(url, manyRows);
  killed.kill("SIGKILL");
  await killed.exited;
  await expectVersion(connect(url), schemaVersion);
  // Two at once, after that: both end well, and the tables are made once.
  expect(await Promise.all([migrateTo(url, "go on"), migrateTo(url, "go on")])).toEqual(["done", "done"]);
  await expectVersion(connect(url), schemaVersion + 1);
});

test("L12 a server that is killed in the middle of a migration comes back with the version before it", async () => {
  const sqld = await server();
  const interrupted = await migrating(sqld.httpUrl, manyRows);
  await sqld.kill();
  interrupted.kill("SIGKILL");
  await sqld.run();
  await expectVersion(connect(sqld.httpUrl), schemaVersion);
  expect(await Promise.all([migrateTo(sqld.httpUrl, "go on"), migrateTo(sqld.httpUrl, "go on")])).toEqual([
    "done",
    "done",
  ]);
  await expectVersion(connect(sqld.httpUrl), schemaVersion + 1);
});

/** N or N + 1: the list of migrations and the tables always agree. */
async function expectVersion(connection: SqlConnection, version: number): Promise<void> {
  const tables = `SELECT count(*) FROM sqlite_master WHERE name IN ('begun', 'ended')`;
  const [row] = await connection.query(
    statement(`SELECT (SELECT max(version) FROM schema_additions) AS version, (${tables}) AS tables`, {}),
  );
  expect(row).toEqual({ version, tables: version === schemaVersion ? 0 : 2 });
}

async function server(): Promise<Sqld> {
  const sqld = await Sqld.start();
  cleanups.push(() => sqld.stop());
  return sqld;
}

async function file(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "upgrade-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return `file://${join(folder, "directory.db")}`;
}

async function hostAt(directoryUrl: string, region: string): Promise<HostProcess> {
  const host = new HostProcess({ region, directoryUrl, objectsFolder: "tests/e2e/objects", leaseTtlMs });
  cleanups.push(() => host.kill());
  await host.run();
  return host;
}

async function increment(host: HostProcess): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ client: "one", key: crypto.randomUUID() });
  const response = await fetch(host.url("/tally-state/upgrade/increment"), { method: "POST", headers, body });
  return (await response.json()).count;
}

function connect(url: string): SqlConnection {
  const connection = url.startsWith("file:")
    ? new WorkerConnection({ clock: systemClock, config: { url, busyTimeoutMs: 5_000 }, timeLimitMs: 8_000 })
    : new RemoteConnection({ clock: systemClock, url, timeLimitMs: 8_000 });
  cleanups.push(() => connection.close());
  return connection;
}

/** Resolves when the migration has begun. */
async function migrating(url: string, rows: string): Promise<Bun.Subprocess> {
  const child = Bun.spawn([process.execPath, migrator, url, "go on", rows], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanups.push(async () => child.kill("SIGKILL"));
  const connection = connect(url);
  const lines = child.stdout.getReader();
  const { value } = await lines.read();
  expect(new TextDecoder().decode(value)).toContain("migrating");
  // It holds the write lock by now, or a moment later: from then on nobody else can write.
  await until("the migration is under way", async () => {
    const write = statement("UPDATE directory SET counter = counter", {});
    const isFree = connection.batch([write]).then(
      () => true,
      () => false,
    );
    return !(await Promise.race([isFree, Bun.sleep(300).then(() => false)]));
  });
  return child;
}

async function migrateTo(url: string, kind: "go on" | "end"): Promise<string | undefined> {
  const child = Bun.spawn([process.execPath, migrator, url, kind], { stdio: ["ignore", "pipe", "inherit"] });
  cleanups.push(async () => child.kill("SIGKILL"));
  const said = await new Response(child.stdout).text();
  await child.exited;
  return said.trim().split("\n").at(-1);
}
