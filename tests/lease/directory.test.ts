import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import { directoryContract } from "../contracts/directory-contract.ts";
import { fileRig, memoryRig, patientLimits, serverRig } from "../contracts/directory-rigs.ts";
import { clearDirectory } from "../support/clear-directory.ts";
import { Sqld } from "../support/sqld.ts";

directoryContract("memory", memoryRig);
directoryContract("file", fileRig);
directoryContract("sqld primary over http", () => serverRig((sqld) => sqld.httpUrl));
directoryContract("sqld primary over ws", () => serverRig((sqld) => sqld.wsUrl));

// No rig with a replica has a backup: it refuses to follow a primary whose log went back, and is made anew.

directoryContract("sqld primary and replica server", async () => {
  const primary = await Sqld.start();
  const replica = await Sqld.start(primary);
  return {
    connect: () => connectDirectory({ ...patientLimits, url: primary.httpUrl, replicaUrl: replica.httpUrl }),
    disconnect: (directory) => directory.close(),
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
  const shared = connectDirectory({ ...patientLimits, url: primary.httpUrl, replicaUrl, syncIntervalMs: 50 });
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
