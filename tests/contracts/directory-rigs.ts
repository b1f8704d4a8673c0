import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { statement } from "../../infra/lease/sql-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { migrate } from "../../infra/lease/directory-schema.ts";
import { clearDirectory } from "../support/clear-directory.ts";
import { Sqld } from "../support/sqld.ts";
import type { DirectoryRig } from "./directory-cluster.ts";

/** Of its calls: a slow disk is not what a contract is about. */
export const patientLimits = { renewalLimitMs: 20_000, commitLimitMs: 20_000 } as const;

export async function memoryRig(): Promise<DirectoryRig> {
  let directory = new MemoryDirectory(systemClock);
  return {
    connect: () => directory,
    disconnect,
    backup: async () => {
      const copy = directory.copy();
      return async () => directory.restore(copy);
    },
    setClockBack: async (byMs) => directory.restore({ ...directory.copy(), now: Date.now() + byMs }),
    setClockOn: async (byMs) => {
      const copy = directory.copy();
      for (const row of copy.sessions.values()) row.expiresAt -= byMs;
      directory.restore({ ...copy, now: copy.now - byMs });
    },
    reset: async () => {
      directory = new MemoryDirectory(systemClock);
    },
    stop: async () => directory.close(),
  };
}

export async function fileRig(): Promise<DirectoryRig> {
  const folder = await mkdtemp(join(tmpdir(), "directory-"));
  let generation = 0;
  const data = () => join(folder, `data-${generation}`);
  // With its tables: making them takes longer than most of what is tested with them.
  const empty = join(folder, "empty");
  await mkdir(empty);
  await migrateFile(`file:${join(empty, "directory.db")}`);
  const begin = () => cp(empty, data(), { recursive: true });
  await begin();
  return {
    connect: () => connectDirectory({ ...patientLimits, url: `file:${join(data(), "directory.db")}` }),
    disconnect,
    backup: async () => {
      const copy = join(folder, `copy-${generation}`);
      await cp(data(), copy, { recursive: true });
      return async () => {
        await rm(data(), { recursive: true });
        await cp(copy, data(), { recursive: true });
      };
    },
    reset: async () => {
      generation += 1;
      await begin();
    },
    stop: () => rm(folder, { recursive: true, force: true }),
  };
}

async function migrateFile(url: string): Promise<void> {
  const config = { url, busyTimeoutMs: 5_000 };
  const connection = new WorkerConnection({ clock: systemClock, config, timeLimitMs: 20_000 });
  await migrate(connection);
  await connection.close();
}

/** A server, reached by `url`. */
export async function serverRig(url: (sqld: Sqld) => string): Promise<DirectoryRig> {
  const sqld = await Sqld.start();
  return {
    connect: () => connectDirectory({ ...patientLimits, url: url(sqld) }),
    disconnect,
    backup: () => sqld.backup(),
    setClockBack: (byMs) => inServer(sqld, ["UPDATE directory SET now = :ms"], Date.now() + byMs),
    setClockOn: (byMs) =>
      inServer(
        sqld,
        ["UPDATE directory SET now = now - :ms", "UPDATE sessions SET expires_at = expires_at - :ms"],
        byMs,
      ),
    reset: () => clearServer(sqld),
    stop: () => sqld.stop(),
  };
}

async function clearServer(sqld: Sqld): Promise<void> {
  await clearDirectory(sqld.httpUrl);
  const connection = new RemoteConnection({ clock: systemClock, url: sqld.httpUrl, timeLimitMs: 20_000 });
  const tables = ["storage", "alarms", "messages"];
  await connection.batch(tables.map((table) => statement(`DELETE FROM ${table}`, {})));
  await connection.close();
}

function disconnect(directory: Directory): Promise<void> {
  return directory.close();
}

async function inServer(sqld: Sqld, statements: readonly string[], ms: number): Promise<void> {
  const connection = new RemoteConnection({ clock: systemClock, url: sqld.httpUrl, timeLimitMs: 20_000 });
  await connection.batch(statements.map((sql) => statement(sql, { ms: BigInt(ms) })));
  await connection.close();
}
