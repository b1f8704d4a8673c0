import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadDump } from "../../apps/cli/directory-load.ts";
import { dumpPieces } from "../../apps/cli/dump-statements.ts";
import { directoryStatus, markRestored } from "../../infra/lease/directory-restored.ts";
import { migrate, migrations, schemaVersion } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { numberOf, type SqlConnection, statement } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { Sqld } from "../support/sqld.ts";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const rowsCount = 500;
/** What a careless reader of the dump stumbles over. */
const awkward = `it's;\n"so" -- COMMIT;\n`;

async function server(): Promise<{ readonly url: string; readonly connection: SqlConnection }> {
  const sqld = await Sqld.start();
  cleanups.push(() => sqld.stop());
  const url = sqld.httpUrl;
  return { url, connection: keep(new RemoteConnection({ clock: systemClock, url, timeLimitMs: 10_000 })) };
}

function keep<T extends SqlConnection>(connection: T): T {
  cleanups.push(() => connection.close());
  return connection;
}

/** As `GET /dump` answers, of a directory with so many keys of 1 KB. */
async function dumpOf(version: number): Promise<Blob> {
  const { url, connection } = await server();
  await migrate(connection, migrations.slice(0, version));
  const fill = `INSERT INTO storage SELECT 'room', :text || value, 'k', randomblob(1000) FROM generate_series(1, ${rowsCount})`;
  await connection.batch([statement(fill, { text: awkward })]);
  return new Blob([await (await fetch(`${url}/dump`)).bytes()]);
}

async function tablesCount(connection: SqlConnection): Promise<number> {
  const count = "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table'";
  return numberOf((await connection.query(statement(count, {})))[0], "n");
}

test("L9 a load is whole and marked as restored, or there is nothing", async () => {
  const dump = await dumpOf(schemaVersion);
  const { url, connection } = await server();
  const load = (of: Blob, finish: (connection: SqlConnection) => Promise<unknown>, progress?: () => void) =>
    loadDump({ url, dump: of, ...(progress && { progress }) }, finish).then(String, String);

  let pieces = 0;
  const breakOff = () => {
    if (++pieces === 3) throw new Error("broken off");
  };
  expect(await load(dump, markRestored, breakOff)).toContain("broken off");
  expect(await tablesCount(connection)).toBe(0);

  const cut = dump.slice(0, dump.size / 2);
  expect(await load(cut, markRestored)).toContain("does not end with COMMIT");
  expect(await tablesCount(connection)).toBe(0);

  expect(await load(dump, () => Promise.reject(new Error("not marked")))).toContain("not marked");
  expect(await tablesCount(connection)).toBe(0);

  expect(await load(new Blob(["BEGIN; COMMIT;\n"]), markRestored)).toContain("There is no directory");
  expect(await tablesCount(connection)).toBe(0);

  await loadDump({ url, dump }, markRestored);
  const status = await directoryStatus(connection);
  expect(status.quarantineMs).toBeGreaterThan(0);
  const kept = "SELECT count(*) AS n FROM storage WHERE substr(id, 1, length(:text)) = :text";
  const [row] = await connection.query(statement(kept, { text: awkward }));
  expect(numberOf(row, "n")).toBe(rowsCount);
  expect(await load(dump, markRestored)).toContain("not empty");
});

test("L9 a dump of an earlier release is loaded into a file, as it is", async () => {
  const dump = await dumpOf(4);
  const folder = await mkdtemp(join(tmpdir(), "load-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const url = `file:${join(folder, "data", "directory.db")}`;
  const restored = await loadDump({ url, dump }, markRestored);
  expect(restored).toMatchObject({ histories: 0 });
  const config = { url, busyTimeoutMs: 5_000 };
  const connection = keep(new WorkerConnection({ clock: systemClock, config, timeLimitMs: 8_000 }));
  expect((await directoryStatus(connection)).schema.current).toBe(4);
});

test("a dump is read in pieces of whole statements, wherever a quote or a part of it ends", async () => {
  // Longer than what is read at once, in characters of two and three bytes: some part of it ends within one.
  const long = `INSERT INTO t VALUES('${"é€".repeat(1_500_000)}');`;
  const statements = [
    `CREATE TABLE "odd;name" (a);`,
    `\nINSERT INTO t VALUES('a;''b";\n'';');`,
    `\nINSERT INTO t VALUES(replace('x\\n''y','\\n',char(10)));`,
    `\n${long}`,
    ...Array.from({ length: 40 }, (_, n) => `\nINSERT INTO t VALUES(${n});`),
  ];
  const dump = new Blob(["PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", ...statements, "\nCOMMIT;\n"]);
  const pieces: string[] = [];
  let readBytes = 0;
  for await (const piece of dumpPieces(dump, 100)) {
    pieces.push(piece.sql);
    expect(piece.readBytes).toBeGreaterThanOrEqual(readBytes);
    readBytes = piece.readBytes;
  }
  expect(pieces.join("").trim()).toBe(statements.join(""));
  expect(pieces.length).toBeGreaterThan(10);
  for (const sql of pieces.slice(0, -1)) expect(sql).toEndWith(";");
  expect(readBytes).toBe(dump.size);
});
