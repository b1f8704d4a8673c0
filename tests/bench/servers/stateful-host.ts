import { configFromEnvironment, type ServerConfig, startHost } from "../../../apps/server/index.ts";
import { silentLog } from "../../../infra/lib/log.ts";
import { converse, setupOf } from "../conversation.ts";
import { memoryInUse } from "../memory.ts";
import { countFrames } from "./frame-count.ts";
import { counter, echo, hall, ledger, room, sleepy, traveller, writer } from "./classes.ts";

export interface HostSetup {
  readonly directoryUrl: string;
  /** Without classes it is an edge only. */
  readonly runsClasses: boolean;
  readonly hostId?: string;
  readonly adminToken?: string;
  readonly distance?: Distance;
}

/** Simulated: between any two hosts, and from each to the database. */
export interface Distance {
  readonly roundTripMs: number;
  readonly primaryRoundTripMs: number;
}

export interface HostQuestion {
  readonly ask: "memory" | "drain" | "work";
}

/** What a host has done so far. */
export interface Work {
  readonly cpuMicros: number;
  /** Messages to other hosts, on all channels. */
  readonly frames: number;
}

/** What a host that was drained says of its objects. */
export interface Drained {
  readonly moved: number;
  readonly ms: number;
}

/** One host of ours, as `bun start` runs it, without its log. */
const { directoryUrl, runsClasses, hostId, adminToken, distance } = setupOf<HostSetup>();
const fromEnvironment = configFromEnvironment({
  PORT: "0",
  STATEFUL_BIND: "127.0.0.1",
  STATEFUL_OBJECTS_MAX: "10000000",
  LIBSQL_URL: directoryUrl,
  CLUSTER_SECRET: "a-secret-that-only-benchmarks-use",
  STATEFUL_HOST_ID: hostId,
  STATEFUL_ADMIN_TOKEN: adminToken,
});
const { roundTripMs, primaryRoundTripMs } = distance ?? { roundTripMs: 0, primaryRoundTripMs: 0 };
const config: ServerConfig = {
  ...fromEnvironment,
  simulatedDelayMs: distance && (() => roundTripMs / 2),
  simulatedPrimaryRoundTripMs: primaryRoundTripMs,
};
let drained: object = {};
const framesSoFar = countFrames();
const log = {
  ...silentLog,
  info: (event: string, fields: object = {}) => {
    if (event === "host.drained") drained = fields;
  },
};
const classes = [counter, echo, hall, ledger, room, sleepy, traveller, writer];
const host = await startHost(config, { log, classes: runsClasses ? classes : [] });
converse<HostQuestion>({ port: host.port }, async ({ ask }) => {
  if (ask === "memory") return memoryInUse();
  if (ask === "work") {
    const { user, system } = process.cpuUsage();
    return { cpuMicros: user + system, frames: framesSoFar() };
  }
  await host.drain();
  return drained;
});
