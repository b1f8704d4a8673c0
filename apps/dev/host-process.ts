import { join } from "node:path";
import { cwd } from "node:process";
import { Worker } from "node:worker_threads";
import type { Log, LogFields } from "../../infra/lib/log.ts";
import { estimatedRoundTripMs } from "../../infra/placement/distance.ts";
import {
  configFromEnvironment,
  devAdminToken,
  type RunningHost,
  type ServerConfig,
  startHost,
} from "../server/index.ts";
import { failureReport } from "./failure-report.ts";
import {
  type HostEvent,
  type HostMessage,
  type HostOrder,
  type HostSetup,
  hostSetupVariable,
  type NumberedOrder,
  type OrderOutcome,
} from "./host-messages.ts";
import { portableFields } from "./portable-fields.ts";

/**
 * One host of `bun run dev`, in a process of its own. It lives no longer than the process that started it: when the
 * connection to that one ends, for whatever reason, it stops.
 */

/** Longest time for an orderly stop; the cluster, where it still is, loses patience a little later. */
const stopLimitMs = 6_500;
/** Ctrl-C reaches every process of the terminal. The cluster hears it too, and should be the one that says stop. */
const interruptPatienceMs = 500;

/** Time for the last words of a process that crashes to reach the cluster. */
const lastWordsMs = 100;

const root = cwd();
const setup = takeSetup();
const log: Log = {
  debug: (name, fields) => tellEvent("info", name, fields),
  info: (name, fields) => tellEvent("info", name, fields),
  warn: (name, fields) => tellEvent("warn", name, fields),
  error: (name, fields) => tellEvent("error", name, fields),
};
let host: RunningHost | undefined;
let isStopping = false;

process.on("disconnect", () => void stop());
process.on("SIGTERM", () => void stop());
process.on("SIGINT", () => setTimeout(stop, interruptPatienceMs));
process.on("SIGHUP", () => setTimeout(stop, interruptPatienceMs));
process.on("uncaughtException", stray);
process.on("unhandledRejection", stray);
// Only the cluster of the same checkout writes to this channel.
process.on("message", (order) => void obey(order as HostOrder));

new Worker(new URL("last-resort.ts", import.meta.url), { workerData: process.ppid }).unref();

if (process.connected) await start();
else await stop();

async function start(): Promise<void> {
  try {
    const started = await startHost(serverConfig(setup), { log });
    host = started;
    tell({ kind: "ready", url: started.url, port: started.port });
  } catch (error) {
    // The cluster answers with "stop".
    tell({ kind: "failed", report: failureReport(error, root) });
  }
}

async function obey(order: HostOrder): Promise<void> {
  if (order.kind === "stop") return stop();
  tell({ kind: "done", number: order.number, outcome: await outcomeOf(order) });
}

async function outcomeOf(order: NumberedOrder): Promise<OrderOutcome> {
  try {
    if (host === undefined) throw new Error("The host has not started.");
    if (order.kind === "remove") {
      await host.removeClass(order.file);
      return { succeeded: true, className: undefined };
    }
    // Bun reads a file once. What has changed must be forgotten first.
    for (const file of [order.file, ...order.forget]) delete require.cache[join(setup.objectsFolder, file)];
    return { succeeded: true, className: (await host.reloadClass(order.file)).name };
  } catch (error) {
    return { succeeded: false, report: failureReport(error, root) };
  }
}

async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  setTimeout(() => process.exit(1), stopLimitMs);
  await host?.stop().catch((error: unknown) => log.error("stop failed", { error }));
  process.exit(host === undefined ? 1 : 0);
}

/** An error that nobody waits for is told, and the host goes on, as in production; one of the start itself ends it. */
function stray(error: unknown): void {
  log.error("unhandled error", { error });
  if (host === undefined) setTimeout(() => process.exit(1), lastWordsMs);
}

function tell(message: HostMessage): void {
  if (process.connected) process.send?.(message);
}

function tellEvent(level: HostEvent["level"], name: string, fields: LogFields = {}): void {
  tell({ kind: "event", level, name, fields: portableFields(fields, root) });
}

/** The secret is in it: nothing that this process starts, and no class, finds it in the environment. */
function takeSetup(): HostSetup {
  const text = process.env[hostSetupVariable];
  delete process.env[hostSetupVariable];
  if (text === undefined || process.send === undefined) {
    console.error("This is one host of `bun run dev`, and is started by it.");
    process.exit(2);
  }
  return JSON.parse(text);
}

/** Settings of the environment hold here too, as far as they do not say which host this is. */
function serverConfig(setup: HostSetup): ServerConfig {
  const { region, hasDistance, primaryRegion } = setup;
  const roundTripMs = (to: string) => (hasDistance && to !== region ? estimatedRoundTripMs(region, to) : 0);
  const config = configFromEnvironment({ ...process.env, CLUSTER_SECRET: setup.clusterSecret });
  return {
    ...config,
    region,
    hostId: setup.hostId,
    bindAddress: "127.0.0.1",
    port: setup.port,
    publicUrl: undefined,
    privateUrl: undefined,
    objectsFolder: setup.objectsFolder,
    directory: { url: setup.directoryUrl, authToken: undefined, replicaUrl: undefined },
    adminToken: config.adminToken ?? devAdminToken,
    isDev: true,
    simulatedDelayMs: hasDistance ? (to) => roundTripMs(to) / 2 : undefined,
    simulatedPrimaryRoundTripMs: roundTripMs(primaryRegion),
  };
}
