import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  configFromEnvironment,
  type RunningHost,
  type ServerConfig,
  startHost,
} from "../../apps/server/index.ts";
import type { Log, LogFields } from "../../infra/lib/log.ts";
import type { VersionRange } from "../../infra/lib/version-range.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import { Sqld } from "./sqld.ts";
import { until } from "./wait.ts";

/** Which directory the hosts of a test share: a real file, or a real libSQL server. */
export const directoryKinds = ["file", "sqld"] as const;
export type DirectoryKind = (typeof directoryKinds)[number];

export interface ClusterOptions {
  readonly classes: readonly AnyObjectClass[];
  readonly regions?: readonly string[];
  readonly directory?: DirectoryKind | { readonly url: string };
  readonly config?: Partial<ServerConfig>;
  /** Classes of one region, where they differ from the others'. */
  readonly classesOf?: (region: string) => readonly AnyObjectClass[];
  /** Versions of the links of one region's host. Default: what this build speaks. */
  readonly linkVersionsOf?: (region: string) => VersionRange | undefined;
}

export interface LogEntry {
  readonly hostId: string;
  readonly event: string;
  readonly fields: LogFields;
}

/** Real hosts on real ports, in this process, that share a real directory. */
export interface Cluster {
  readonly hosts: readonly RunningHost[];
  /** What every host has logged, in order. */
  readonly entries: LogEntry[];
  readonly directoryUrl: string;
  /** The host of a region; throws when there is none. */
  host(region: string): RunningHost;
  url(region: string, path: string): string;
  socketUrl(region: string, path: string): string;
  /** Starts one more host, or one again. */
  add(
    region: string,
    changes?: Partial<ServerConfig>,
    classes?: readonly AnyObjectClass[],
  ): Promise<RunningHost>;
  /** Until all hosts know each other: each is told now of those that came after it, and not a third of a lease time later. */
  acquaint(): Promise<void>;
  stop(): Promise<void>;
}

const clusterSecret = "a-secret-that-only-tests-use";
/**
 * These hosts, their clients and the test share one loop, and none of them can be killed. Longer: a busy machine costs nobody
 * a session. Shorter: hosts that a test adds, stops or loses are heard of sooner.
 */
const leaseTtlMs = 6_000;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { regions = ["iad", "ams", "nrt"], directory = "file" } = options;
  const folder = await mkdtemp(join(tmpdir(), "stateful-cluster-"));
  const server = directory === "sqld" ? await Sqld.start() : undefined;
  const url =
    typeof directory === "object"
      ? directory.url
      : (server?.httpUrl ?? `file:${join(folder, "directory.db")}`);
  const base: ServerConfig = {
    ...configFromEnvironment({
      PORT: "0",
      LIBSQL_URL: url,
      CLUSTER_SECRET: clusterSecret,
      STATEFUL_LEASE_TTL_MS: String(leaseTtlMs),
    }),
    isDev: true,
    ...options.config,
  };
  const hosts: RunningHost[] = [];
  const entries: LogEntry[] = [];
  const add: Cluster["add"] = async (
    region,
    changes = {},
    classes = options.classesOf?.(region) ?? options.classes,
  ) => {
    const hostId = changes.hostId ?? `${region}-${hosts.length}`;
    const linkVersions = options.linkVersionsOf?.(region);
    const host = await startHost(
      { ...base, region, hostId, ...changes },
      { classes, log: recorder(hostId, entries), ...(linkVersions && { linkVersions }) },
    );
    hosts.push(host);
    return host;
  };
  const acquaint = async () => {
    await Promise.all(hosts.map(({ parts }) => parts.leases.refresh()));
    await until("all hosts know each other", () =>
      hosts.every(({ parts }) => parts.leases.hosts.length === hosts.length),
    );
  };
  const stop = async () => {
    await Promise.all(hosts.map((host) => host.stop()));
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(regions.map((region) => add(region)));
    await acquaint();
  } catch (error) {
    await stop();
    throw error;
  }
  const host = (region: string) => {
    const found = hosts.findLast((candidate) => candidate.region === region);
    if (found === undefined) throw new Error(`The cluster has no host in ${region}.`);
    return found;
  };
  return {
    hosts,
    entries,
    directoryUrl: url,
    host,
    url: (region, path) => `http://localhost:${host(region).port}${path}`,
    socketUrl: (region, path) => `ws://localhost:${host(region).port}${path}`,
    add,
    acquaint,
    stop,
  };
}

function recorder(hostId: string, entries: LogEntry[]): Log {
  const record = (event: string, fields: LogFields = {}) => void entries.push({ hostId, event, fields });
  return { debug: record, info: record, warn: record, error: record };
}
