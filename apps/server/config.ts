import { type DirectoryOptions, directoryOptionsFromEnv } from "../../infra/lease/connect-directory.ts";
import { memoryShareDefault, objectsMaxDefault } from "../../infra/host/host-limits.ts";
import { type FollowLimits, followLimits } from "../../infra/placement/follow.ts";
import { machineMemoryBytes } from "./machine-memory.ts";

/** How objects follow their users (P13). */
export interface FollowSettings {
  /** Between two looks at where the traffic of objects comes from. */
  readonly intervalMs: number;
  readonly limits: FollowLimits;
}

/** Everything a host can be told. Read from the environment by `configFromEnvironment`; README has the table. */
export interface ServerConfig {
  readonly region: string;
  readonly hostId: string;
  readonly bindAddress: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Where clients reach this host; default `http://localhost:<port>`. */
  readonly publicUrl: string | undefined;
  /** Where other hosts reach it; default the Fly private address, else `http://127.0.0.1:<port>`. */
  readonly privateUrl: string | undefined;
  readonly version: string;
  /** Folder with the classes. */
  readonly objectsFolder: string;
  /** How to reach it, and a replica for look-ups. */
  readonly directory: DirectoryOptions;
  /** The first signs; all are accepted, so that a secret can be rotated without a pause. */
  readonly clusterSecrets: readonly string[];
  /** What an operator shows to reach what objects have stored; without one nobody can. Never in a log. */
  readonly adminToken: string | undefined;
  readonly leaseTtlMs: number;
  /** Between two heartbeats of a link. A host that says nothing for three to four of them is taken for unreachable. */
  readonly heartbeatMs: number;
  readonly objectsMax: number;
  readonly memoryLimitBytes: number;
  readonly socketsMax: number;
  /** Those of one client's address; 0 for no limit. Private addresses are not counted (E33). */
  readonly addressSocketsMax: number;
  /** Requests of one address that may wait for their answers; 0 for no limit. */
  readonly addressRequestsMax: number;
  readonly backpressureLimitBytes: number;
  /** A WebSocket from which nothing has come for this long, not even an answer to a ping, is given up. */
  readonly socketIdleTimeoutMs: number;
  readonly routeCacheEntriesMax: number;
  readonly placementBudgetMs: number;
  /** How long a host that was told to stop may take to move its objects away, to save the rest, and to say goodbye. */
  readonly drainLimitMs: number;
  /** How long it goes on forwarding after that. Ends early where nobody asks. */
  readonly lameDuckMs: number;
  /** Not in the environment: hosts that differ in these would hand objects back and forth. Tests have less patience. */
  readonly follow: FollowSettings;
  /** Header in which a proxy, and nobody else, says the client's address, `fly-client-ip` on Fly. Of a list the last is taken. */
  readonly clientAddressHeader: string | undefined;
  /** Logs what happens to single objects, too: starts, stops. */
  readonly logsDebug: boolean;
  /** Extra checks, class files reloaded on request, readable log lines. */
  readonly isDev: boolean;
  /** One-way milliseconds to a region, added to everything sent there. For `bun run dev`. */
  readonly simulatedDelayMs: ((region: string) => number) | undefined;
  /** Milliseconds added to each call of the directory's primary. For `bun run dev`. */
  readonly simulatedPrimaryRoundTripMs: number;
}

/** The admin token of hosts on a developer's machine, and what the command line shows them. */
export const devAdminToken = "dev-admin-token";

type Environment = Readonly<Record<string, string | undefined>>;

/** A setting that cannot be used. The message names it, its value and what it may be. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export const configDefaults = {
  region: "local",
  bindAddress: "::",
  port: 8080,
  version: "dev",
  objectsFolder: "objects",
  leaseTtlMs: 9000,
  heartbeatMs: 2000,
  socketsMax: 100_000,
  addressSocketsMax: 2048,
  addressRequestsMax: 512,
  backpressureLimitBytes: 1024 * 1024,
  socketIdleTimeoutMs: 60_000,
  routeCacheEntriesMax: 100_000,
  placementBudgetMs: 5000,
  drainLimitMs: 25_000,
  lameDuckMs: 1000,
  follow: { intervalMs: 30_000, limits: followLimits },
} as const;

/** @throws ConfigError naming the variable. */
export function configFromEnvironment(env: Environment): ServerConfig {
  const number = (name: string, fallback: number, min: number) => numberSetting(env, name, fallback, min);
  const onFly = env.FLY_APP_NAME !== undefined;
  const secrets = clusterSecrets(env, onFly);
  const isDev = env.STATEFUL_DEV === "1";
  return {
    region: env.STATEFUL_REGION ?? env.FLY_REGION ?? configDefaults.region,
    hostId: env.STATEFUL_HOST_ID ?? env.FLY_MACHINE_ID ?? `local-${process.pid}`,
    bindAddress: env.STATEFUL_BIND ?? configDefaults.bindAddress,
    port: number("PORT", configDefaults.port, 0),
    publicUrl: env.STATEFUL_PUBLIC_URL ?? (onFly ? `https://${env.FLY_APP_NAME}.fly.dev` : undefined),
    privateUrl: env.STATEFUL_PRIVATE_URL ?? flyPrivateUrl(env),
    version: env.STATEFUL_VERSION ?? env.FLY_IMAGE_REF ?? configDefaults.version,
    objectsFolder: env.STATEFUL_OBJECTS ?? configDefaults.objectsFolder,
    directory: directoryOptionsFromEnv(env),
    clusterSecrets: secrets,
    adminToken: adminToken(env) ?? (isDev && !onFly ? devAdminToken : undefined),
    heartbeatMs: number("STATEFUL_HEARTBEAT_MS", configDefaults.heartbeatMs, 100),
    leaseTtlMs: number("STATEFUL_LEASE_TTL_MS", configDefaults.leaseTtlMs, 500),
    objectsMax: number("STATEFUL_OBJECTS_MAX", objectsMaxDefault, 1),
    memoryLimitBytes: number("STATEFUL_MEMORY_LIMIT_MB", memoryMb(env), 32) * 1024 * 1024,
    socketsMax: number("STATEFUL_SOCKETS_MAX", configDefaults.socketsMax, 1),
    addressSocketsMax: number("STATEFUL_ADDRESS_SOCKETS_MAX", configDefaults.addressSocketsMax, 0),
    addressRequestsMax: number("STATEFUL_ADDRESS_REQUESTS_MAX", configDefaults.addressRequestsMax, 0),
    backpressureLimitBytes: number(
      "STATEFUL_BACKPRESSURE_LIMIT_BYTES",
      configDefaults.backpressureLimitBytes,
      1024,
    ),
    socketIdleTimeoutMs: number("STATEFUL_SOCKET_IDLE_MS", configDefaults.socketIdleTimeoutMs, 8000),
    routeCacheEntriesMax: number("STATEFUL_ROUTE_CACHE_MAX", configDefaults.routeCacheEntriesMax, 1),
    placementBudgetMs: number("STATEFUL_PLACEMENT_BUDGET_MS", configDefaults.placementBudgetMs, 100),
    drainLimitMs: number("STATEFUL_DRAIN_LIMIT_MS", configDefaults.drainLimitMs, 1000),
    lameDuckMs: number("STATEFUL_LAME_DUCK_MS", configDefaults.lameDuckMs, 0),
    follow: configDefaults.follow,
    clientAddressHeader: env.STATEFUL_CLIENT_ADDRESS_HEADER ?? (onFly ? "fly-client-ip" : undefined),
    logsDebug: env.STATEFUL_LOG === "debug",
    isDev,
    simulatedDelayMs: undefined,
    simulatedPrimaryRoundTripMs: 0,
  };
}

/** One, or two while it is being changed. Blanks around them are none of theirs: hosts that differ in those would refuse each other. */
function clusterSecrets({ CLUSTER_SECRET: text = "" }: Environment, isNeeded: boolean): readonly string[] {
  const secrets = text
    .split(",")
    .map((secret) => secret.trim())
    .filter((secret) => secret !== "");
  if (secrets.length === 0 && isNeeded) {
    throw new ConfigError(
      "CLUSTER_SECRET is not set. Hosts trust each other by it: fly secrets set CLUSTER_SECRET=$(openssl rand -hex 32)",
    );
  }
  if (secrets.length > 2)
    throw new ConfigError("CLUSTER_SECRET has more than two parts: the first signs, both are accepted.");
  if (secrets.some((secret) => secret.length < 16))
    throw new ConfigError("CLUSTER_SECRET must have 16 characters or more in each of its parts.");
  return secrets;
}

function adminToken({ STATEFUL_ADMIN_TOKEN: token }: Environment): string | undefined {
  if (token === undefined || token === "") return undefined;
  if (/^[\x21-\x7e]{16,}$/.test(token)) return token;
  throw new ConfigError(
    "STATEFUL_ADMIN_TOKEN must be 16 or more letters, digits and signs, without blanks: openssl rand -hex 32",
  );
}

function flyPrivateUrl(env: Environment): string | undefined {
  const { FLY_MACHINE_ID: machine, FLY_APP_NAME: app } = env;
  const port = env.PORT ?? String(configDefaults.port);
  // The name outlives the machine's address, which changes when Fly moves it to other hardware.
  return machine && app ? `http://${machine}.vm.${app}.internal:${port}` : undefined;
}

function memoryMb(env: Environment): number {
  const onFly = Number(env.FLY_VM_MEMORY_MB);
  const machineMb = onFly > 0 ? onFly : machineMemoryBytes() / 1024 / 1024;
  return Math.floor(machineMb * memoryShareDefault);
}

function numberSetting(env: Environment, name: string, fallback: number, min: number): number {
  const text = env[name];
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (Number.isInteger(value) && value >= min) return value;
  throw new ConfigError(`${name} is "${text}"; it must be a whole number of ${min} or more.`);
}
