import { configFromEnvironment, startHost } from "../../../apps/server/index.ts";
import { converse, setupOf } from "../conversation.ts";
import { memoryInUse } from "../memory.ts";
import { counter, echo, room } from "./classes.ts";

export interface HostSetup {
  readonly directoryUrl: string;
  /** Without classes it is an edge only. */
  readonly runsClasses: boolean;
}

/** One host of ours, as `bun start` runs it, without its log. */
const { directoryUrl, runsClasses } = setupOf<HostSetup>();
const config = configFromEnvironment({
  PORT: "0",
  STATEFUL_BIND: "127.0.0.1",
  STATEFUL_OBJECTS_MAX: "10000000",
  LIBSQL_URL: directoryUrl,
  CLUSTER_SECRET: "a-secret-that-only-benchmarks-use",
});
const host = await startHost(config, { classes: runsClasses ? [counter, echo, room] : [] });
converse({ port: host.port }, memoryInUse);
