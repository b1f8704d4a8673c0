import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { type SqlConnection, statement } from "../../infra/lease/sql-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { migrate } from "../../infra/lease/directory-schema.ts";
import { clearTables } from "../support/clear-directory.ts";
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
  const data = join(folder, "data");
  const url = `file:${join(data, "directory.db")}`;
  const kept = new KeptConnections(
    () => connectDirectory({ ...patientLimits, url }),
    () =>
      new WorkerConnection({
        clock: systemClock,
        config: { url, busyTimeoutMs: 5_000 },
        timeLimitMs: 20_000,
      }),
  );
  await mkdir(data);
  await migrate(kept.own);
  let backups = 0;
  return {
    connect: (anew) => kept.connect(anew),
    disconnect: (directory) => kept.leave(directory),
    backup: async () => {
      const copy = join(folder, `copy-${backups++}`);
      await cp(data, copy, { recursive: true });
      return async () => {
        await kept.close();
        await rm(data, { recursive: true });
        await cp(copy, data, { recursive: true });
      };
    },
    reset: () => clearTables(kept.own),
    stop: async () => {
      await kept.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A server, reached by `url`. */
export async function serverRig(url: (sqld: Sqld) => string): Promise<DirectoryRig> {
  const sqld = await Sqld.start();
  const kept = new KeptConnections(
    () => connectDirectory({ ...patientLimits, url: url(sqld) }),
    () => new RemoteConnection({ clock: systemClock, url: sqld.httpUrl, timeLimitMs: 20_000 }),
  );
  await migrate(kept.own);
  const run = async (statements: readonly string[], ms: number) => {
    await kept.own.batch(statements.map((sql) => statement(sql, { ms: BigInt(ms) })));
  };
  return {
    connect: (anew) => kept.connect(anew),
    disconnect: (directory) => kept.leave(directory),
    backup: async () => {
      const restore = await sqld.backup();
      return async () => {
        await kept.close();
        await restore();
      };
    },
    setClockBack: (byMs) => run(["UPDATE directory SET now = :ms"], Date.now() + byMs),
    setClockOn: (byMs) =>
      run(
        ["UPDATE directory SET now = now - :ms", "UPDATE sessions SET expires_at = expires_at - :ms"],
        byMs,
      ),
    reset: () => clearTables(kept.own),
    stop: async () => {
      await kept.close();
      await sqld.stop();
    },
  };
}

/** As many as most schedules have hosts. */
const keptMax = 3;

/**
 * Hosts' connections, from schedule to schedule: opening them (two threads for a file, three sockets to a server) takes longer
 * than most of what is tested over them. A host has one that no other has at the same time.
 */
class KeptConnections {
  readonly #openDirectory: () => Directory;
  readonly #openOwn: () => SqlConnection;
  readonly #idle: Directory[] = [];
  #own: SqlConnection | undefined;

  constructor(openDirectory: () => Directory, openOwn: () => SqlConnection) {
    this.#openDirectory = openDirectory;
    this.#openOwn = openOwn;
  }

  /** The rig's, beside those of hosts. */
  get own(): SqlConnection {
    this.#own ??= this.#openOwn();
    return this.#own;
  }

  connect(anew?: "anew"): Directory {
    return (anew ? undefined : this.#idle.pop()) ?? this.#openDirectory();
  }

  async leave(directory: Directory): Promise<void> {
    if (this.#idle.length < keptMax) this.#idle.push(directory);
    else await directory.close();
  }

  /** Those that nobody has. Later ones are new. */
  async close(): Promise<void> {
    await Promise.all([...this.#idle.splice(0), this.#own].map((connection) => connection?.close()));
    this.#own = undefined;
  }
}

function disconnect(directory: Directory): Promise<void> {
  return directory.close();
}
