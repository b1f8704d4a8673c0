import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { type DirectoryRig, directoryContract } from "../contracts/directory-contract.ts";
import { clearDirectory } from "../support/clear-directory.ts";
import { Sqld } from "../support/sqld.ts";

directoryContract("memory", async () => {
  let directory = new MemoryDirectory(systemClock);
  return {
    connect: () => directory,
    disconnect,
    backup: async () => {
      const copy = directory.copy();
      return async () => directory.restore(copy);
    },
    reset: async () => {
      directory = new MemoryDirectory(systemClock);
    },
    stop: async () => directory.close(),
  };
});

directoryContract("file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "directory-"));
  let generation = 0;
  const data = () => join(folder, `data-${generation}`);
  return {
    connect: () => connectDirectory({ url: `file:${join(data(), "directory.db")}` }),
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
    },
    stop: () => rm(folder, { recursive: true, force: true }),
  };
});

directoryContract("sqld primary over http", async () =>
  serverRig(await Sqld.start(), (sqld) => sqld.httpUrl),
);
directoryContract("sqld primary over ws", async () => serverRig(await Sqld.start(), (sqld) => sqld.wsUrl));

directoryContract("sqld primary and replica server", async () => {
  const primary = await Sqld.start();
  const replica = await Sqld.start(primary);
  return {
    connect: () => connectDirectory({ url: primary.httpUrl, replicaUrl: replica.httpUrl }),
    disconnect,
    reset: () => clearDirectory(primary.httpUrl),
    stop: async () => {
      await replica.stop();
      await primary.stop();
    },
  };
});

directoryContract("sqld primary and embedded replica", async () => {
  const primary = await Sqld.start();
  const folder = await mkdtemp(join(tmpdir(), "replica-"));
  const replicaUrl = `file:${join(folder, "replica.db")}`;
  // One replica for all: it is filled once, and follows the primary from schedule to schedule as it would for months.
  const shared = connectDirectory({ url: primary.httpUrl, replicaUrl, syncIntervalMs: 50 });
  return {
    connect: () => shared,
    disconnect: async () => undefined,
    reset: () => clearDirectory(primary.httpUrl),
    stop: async () => {
      await shared.close();
      await primary.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
});

/** No rig with a replica has a backup: it refuses to follow a primary whose log went back, and is made anew. */
function serverRig(sqld: Sqld, url: (sqld: Sqld) => string): DirectoryRig {
  return {
    connect: () => connectDirectory({ url: url(sqld) }),
    disconnect,
    backup: () => sqld.backup(),
    reset: () => clearDirectory(sqld.httpUrl),
    stop: () => sqld.stop(),
  };
}

function disconnect(directory: Directory): Promise<void> {
  return directory.close();
}
