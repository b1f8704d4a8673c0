import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { AlternatingConnection } from "./alternating-connection.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { Directory } from "./directory.ts";
import { DistantConnection } from "./distant-connection.ts";
import { HintConnection, type ReplicaConnection } from "./hint-connection.ts";
import { LibsqlDirectory } from "./libsql-directory.ts";
import { RemoteConnection } from "./remote-connection.ts";
import type { SqlConnection } from "./sql-connection.ts";
import { StreamConnection } from "./stream-connection.ts";
import { WorkerConnection } from "./worker-connection.ts";

/** Where the directory is, and where hints may be read closer by. Everything but `url` has a default. */
export interface DirectoryOptions {
  /** `file:data/directory.db`, or a libSQL server: `http:`, `https:`, `ws:`, `wss:`, `libsql:`. */
  readonly url: string;
  readonly authToken?: string | undefined;
  /** `file:…` for an embedded replica of the server at `url`; the URL of a replica server otherwise. */
  readonly replicaUrl?: string | undefined;
  /** The replica server's token. Default: `authToken`. */
  readonly replicaAuthToken?: string | undefined;
  /** Longest time for a renewal. Several must fit into the lease time: shorter finds a dead connection sooner. */
  readonly renewalLimitMs?: number | undefined;
  /** Longest time for a commit or a verification. An unknown outcome is settled only after it (L6). */
  readonly commitLimitMs?: number | undefined;
  /** Longest time for a hint. After it the caller goes to placement, which asks the primary anyway. */
  readonly hintLimitMs?: number | undefined;
  /** How often an embedded replica asks for news. Shorter: fresher hints, more requests to the primary. */
  readonly syncIntervalMs?: number | undefined;
  /** Simulated distance: the round trip added to every call of the primary. Replica reads are not delayed. */
  readonly primaryDelayMs?: number | (() => number) | undefined;
  readonly clock?: Clock | undefined;
}

export const directoryDefaults = {
  url: "file:data/directory.db",
  renewalLimitMs: 1_500,
  commitLimitMs: 3_000,
  hintLimitMs: 500,
  syncIntervalMs: 1_000,
} as const;

/**
 * Chooses how to reach the directory. Returns at once and connects later: a primary that is away, or a replica that takes
 * minutes to fill, is met by the calls that need it. Whoever calls this also closes what it returns.
 */
export function connectDirectory(options: DirectoryOptions): Directory {
  const site = new Site(options);
  const renewals = site.own(options.renewalLimitMs ?? directoryDefaults.renewalLimitMs, false);
  const work = site.own(options.commitLimitMs ?? directoryDefaults.commitLimitMs, true);
  const reads = isFile(options.url)
    ? undefined
    : site.own(options.commitLimitMs ?? directoryDefaults.commitLimitMs, false);
  const replica = site.replica(options.hintLimitMs ?? directoryDefaults.hintLimitMs);
  const hints = replica === undefined ? work : new HintConnection(replica, work);
  return new LibsqlDirectory({ renewals, work, reads, hints });
}

/**
 * `TURSO_DATABASE_URL`, `TURSO_AUTH_TOKEN`, `TURSO_REPLICA_URL`, or the same with `LIBSQL_URL`, `LIBSQL_AUTH_TOKEN`,
 * `LIBSQL_REPLICA_URL`; the embedded file where none is set.
 */
export function directoryOptionsFromEnv(env: Readonly<Record<string, string | undefined>>): DirectoryOptions {
  return withoutTokens({
    url: env.TURSO_DATABASE_URL || env.LIBSQL_URL || directoryDefaults.url,
    authToken: env.TURSO_AUTH_TOKEN || env.LIBSQL_AUTH_TOKEN || undefined,
    replicaUrl: env.TURSO_REPLICA_URL || env.LIBSQL_REPLICA_URL || undefined,
  });
}

class Site {
  readonly #options: DirectoryOptions;
  readonly #clock: Clock;

  constructor(options: DirectoryOptions) {
    this.#options = withoutTokens(options);
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * A connection of one's own to the primary. Over a WebSocket where the server is one of HTTP: no other request of this
   * process is ever in the way, and a commit takes half as long. `keepsStream`: for one that commits all the time.
   */
  own(timeLimitMs: number, keepsStream: boolean): SqlConnection {
    const { url, authToken } = this.#options;
    const connection = this.#connect(url, authToken, timeLimitMs, keepsStream);
    const socketUrl = url.replace(/^http/, "ws").replace(/^libsql:/, "wss:");
    if (isFile(url) || socketUrl === url) return this.#atDistance(connection);
    const socket = this.#connect(socketUrl, authToken, timeLimitMs, keepsStream);
    return this.#atDistance(new AlternatingConnection(socket, connection, this.#clock));
  }

  #atDistance(near: SqlConnection): SqlConnection {
    const { primaryDelayMs } = this.#options;
    if (primaryDelayMs === undefined || primaryDelayMs === 0) return near;
    const roundTripMs = typeof primaryDelayMs === "function" ? primaryDelayMs : () => primaryDelayMs;
    return new DistantConnection(near, this.#clock, roundTripMs);
  }

  replica(timeLimitMs: number): ReplicaConnection | undefined {
    const { url, authToken, replicaUrl, replicaAuthToken } = this.#options;
    if (replicaUrl === undefined) return undefined;
    const token = replicaAuthToken ?? authToken;
    // A second reader of the same file is a replica too: always filled, and not at the simulated distance.
    if (!isFile(replicaUrl) || isFile(url)) return this.#connect(replicaUrl, token, timeLimitMs);
    const syncIntervalMs = this.#options.syncIntervalMs ?? directoryDefaults.syncIntervalMs;
    const replica = { syncUrl: url, syncIntervalMs, ...(authToken === undefined ? {} : { authToken }) };
    const config = { url: existingFile(replicaUrl), busyTimeoutMs: timeLimitMs, replica };
    return new WorkerConnection({ clock: this.#clock, config, timeLimitMs });
  }

  #connect(
    url: string,
    authToken: string | undefined,
    timeLimitMs: number,
    keepsStream = false,
  ): SqlConnection {
    const clock = this.#clock;
    if (isFile(url)) {
      // The file's own wait for its lock ends before ours, so that the outcome is known: nothing happened.
      const config = { url: existingFile(url), busyTimeoutMs: timeLimitMs * 0.8 };
      return new WorkerConnection({ clock, config, timeLimitMs });
    }
    if (!/^(https?|wss?|libsql):/.test(url)) throw unknownScheme(url);
    const options = { clock, url, authToken, timeLimitMs };
    return /^wss?:/.test(url) ? new StreamConnection(options, keepsStream) : new RemoteConnection(options);
  }
}

/** A URL is told to whoever reads a log, by the client library's own errors above all: no token stays in one. */
function withoutTokens(options: DirectoryOptions): DirectoryOptions {
  const { url, token = options.authToken } = withoutToken(options.url);
  if (options.replicaUrl === undefined) return { ...options, url, authToken: token };
  const replica = withoutToken(options.replicaUrl);
  const replicaAuthToken = replica.token ?? options.replicaAuthToken;
  return { ...options, url, authToken: token, replicaUrl: replica.url, replicaAuthToken };
}

/** libSQL's clients take `?authToken=` as well. */
function withoutToken(text: string): { readonly url: string; readonly token?: string } {
  const url = isFile(text) ? null : URL.parse(text);
  const token = url?.searchParams.get("authToken");
  if (!url || !token) return { url: text };
  url.searchParams.delete("authToken");
  return { url: url.href, token };
}

function isFile(url: string): boolean {
  return url.startsWith("file:");
}

/** A `file:` URL as SQLite takes it, whose folder is there: SQLite makes the file alone. */
export function existingFile(url: string): string {
  const path = url.startsWith("file://") ? fileURLToPath(url) : decodeURIComponent(url.slice("file:".length));
  mkdirSync(dirname(path), { recursive: true });
  return pathToFileURL(path).href;
}

function unknownScheme(url: string): StatefulError {
  const scheme = url.split(":", 1)[0]?.slice(0, 32);
  return new StatefulError(
    "internal",
    `The directory cannot be reached by "${scheme}:". Use file:, http:, https:, ws:, wss: or libsql:.`,
  );
}
