import { parseArgs } from "node:util";
import { directoryOptionsFromEnv } from "../../infra/lease/connect-directory.ts";
import {
  type DirectoryStatus,
  directoryStatus,
  markRestored,
  type Restored,
} from "../../infra/lease/directory-restored.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import type { SqlConnection } from "../../infra/lease/sql-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { loadDump } from "./directory-load.ts";

/** `bun run directory …`: looks at the directory itself, and tells it that it was restored from a backup. */
const usage = `bun run directory status      who is alive, what they own, and which schema the tables are of
bun run directory load <file> fills an empty database with what GET /dump of another has answered, and does what
                              "restored" does, both or nothing. Keep hosts away from it meanwhile
bun run directory restored    to be run on a database that was put back from a backup, before hosts reach it:
                              ends all sessions, and has nothing acquired for one lease time

  --lease-ttl-ms <ms>         of the hosts, where it is longer than 9000 and none was in the backup
  --json

The database is that of LIBSQL_URL (and LIBSQL_AUTH_TOKEN), or TURSO_DATABASE_URL (and TURSO_AUTH_TOKEN).
infra/deploy/README.md has the whole procedure.`;

/** Every object of a large directory may be looked at. */
const timeLimitMs = 120_000;
const progressEveryMs = 2_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const given = parse(args);
  if (given === undefined) {
    console.error(usage);
    return 2;
  }
  try {
    console.log(await answerTo(given));
    return 0;
  } catch (error) {
    console.error(error instanceof StatefulError ? error.message : error);
    return 1;
  }
}

async function answerTo(given: Given): Promise<string> {
  const { command, isJson, leaseTtlMs } = given;
  if (command === "status") return said(await connected(directoryStatus), isJson, statusInWords);
  if (command === "load") return said(await load(given), isJson, restoredInWords);
  const mark = (connection: SqlConnection) => markRestored(connection, leaseTtlMs);
  return said(await connected(mark), isJson, restoredInWords);
}

function said<T>(answer: T, isJson: boolean, inWords: (answer: T) => string): string {
  return isJson ? JSON.stringify(answer) : inWords(answer);
}

interface Given {
  readonly command: "status" | "restored" | "load";
  /** Of `load`. */
  readonly file: string;
  readonly leaseTtlMs: number | undefined;
  readonly isJson: boolean;
}

function parse(args: readonly string[]): Given | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { "lease-ttl-ms": { type: "string" }, json: { type: "boolean", default: false } },
    });
    const [command, file = "", ...rest] = positionals;
    const text = values["lease-ttl-ms"];
    const leaseTtlMs = text === undefined ? undefined : Number(text);
    const isSound = leaseTtlMs === undefined || (Number.isInteger(leaseTtlMs) && leaseTtlMs > 0);
    if (command !== "status" && command !== "restored" && command !== "load") return undefined;
    if ((command === "load") !== (file !== "") || rest.length > 0 || !isSound) return undefined;
    return { command, file, leaseTtlMs, isJson: values.json };
  } catch {
    return undefined;
  }
}

/** Says how far it is beside its answer, which may be JSON. */
async function load({ file, leaseTtlMs }: Given): Promise<Restored> {
  const { url, authToken } = directoryOptionsFromEnv(process.env);
  const dump = Bun.file(file);
  if (!(await dump.exists())) throw new StatefulError("not_found", `There is no file "${file}".`);
  let toldAtMs = systemClock.monotonicMs();
  const progress = (readBytes: number) => {
    const nowMs = systemClock.monotonicMs();
    if (nowMs - toldAtMs < progressEveryMs) return;
    toldAtMs = nowMs;
    console.error(`Loaded ${inMegabytes(readBytes)} of ${inMegabytes(dump.size)} MB …`);
  };
  return loadDump({ url, authToken, dump, progress }, (connection) => markRestored(connection, leaseTtlMs));
}

function inMegabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}

async function connected<T>(work: (connection: SqlConnection) => Promise<T>): Promise<T> {
  const connection = connect();
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

function connect(): SqlConnection {
  const { url, authToken } = directoryOptionsFromEnv(process.env);
  if (!url.startsWith("file:"))
    return new RemoteConnection({
      clock: systemClock,
      url: url.replace(/^ws/, "http"),
      authToken,
      timeLimitMs,
    });
  const config = { url, busyTimeoutMs: timeLimitMs / 2 };
  return new WorkerConnection({ clock: systemClock, config, timeLimitMs });
}

function restoredInWords({
  sessionsEnded,
  objectsOwned,
  lastWriteAtMs,
  quarantineMs,
  histories,
}: Restored): string {
  const at = lastWriteAtMs === 0 ? "never" : new Date(lastWriteAtMs).toISOString();
  return [
    `The directory knows that it was restored. Its last write before that: ${at}; what was acknowledged later is lost.`,
    `${sessionsEnded} sessions are over, and ${objectsOwned} objects free. Nothing is acquired for ${quarantineMs / 1000} s.`,
    `${histories} topics with a history begin it anew: whoever resumes is told that messages are missing.`,
  ].join("\n");
}

function statusInWords({ schema, generation, aheadMs, quarantineMs, sessions }: DirectoryStatus): string {
  const lines = sessions.map(({ hostId, region, version, linkVersions, objects, expiresInMs }) => {
    const life = expiresInMs > 0 ? `for ${Math.round(expiresInMs / 1000)} s` : "not heard in time";
    return `${hostId} (${region}) ${version}: ${objects} objects, links ${linkVersions || "1"}, ${life}`;
  });
  const wait = quarantineMs > 0 ? `; nothing is acquired for ${quarantineMs / 1000} s` : "";
  const { current, required } = schema;
  const ahead =
    aheadMs > 0
      ? [
          `The primary's clock was set back: its times are ${aheadMs / 1000} s ahead of it, and pass at half its pace until it has caught up.`,
        ]
      : [];
  return [
    `Schema ${current}, of which builds must know ${required}; generation ${generation}${wait}`,
    ...ahead,
    ...lines,
  ].join("\n");
}
