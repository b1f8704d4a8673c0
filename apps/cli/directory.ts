import { parseArgs } from "node:util";
import { createClient } from "@libsql/client";
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

/** `bun run directory …`: looks at the directory itself, and tells it that it was restored from a backup. */
const usage = `bun run directory status      who is alive, what they own, and which schema the tables are of
bun run directory load <file> fills an empty database with what GET /dump of another has answered, and then does
                              what "restored" does
bun run directory restored    to be run on a database that was put back from a backup, before hosts reach it:
                              ends all sessions, and has nothing acquired for one lease time

  --lease-ttl-ms <ms>         of the hosts, where it is longer than 9000 and none was in the backup
  --json

The database is that of LIBSQL_URL (and LIBSQL_AUTH_TOKEN), or TURSO_DATABASE_URL (and TURSO_AUTH_TOKEN).
infra/deploy/README.md has the whole procedure.`;

/** Every object of a large directory may be looked at. */
const timeLimitMs = 120_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const given = parse(args);
  if (given === undefined) {
    console.error(usage);
    return 2;
  }
  const connection = connect();
  try {
    if (given.command === "load") await loadDump(given.file);
    if (given.command === "status") print(await directoryStatus(connection), given.isJson, statusInWords);
    else print(await markRestored(connection, given.leaseTtlMs), given.isJson, restoredInWords);
    return 0;
  } catch (error) {
    console.error(error instanceof StatefulError ? error.message : error);
    return 1;
  } finally {
    await connection.close();
  }
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

/** Statement for statement, in the dump's own transaction. */
async function loadDump(file: string): Promise<void> {
  const { url, authToken } = directoryOptionsFromEnv(process.env);
  const client = createClient({ url, ...(authToken === undefined ? {} : { authToken }) });
  try {
    const tables = await client.execute("SELECT count(*) AS n FROM sqlite_master WHERE type = 'table'");
    if (Number(tables.rows[0]?.n) > 0)
      throw new StatefulError(
        "bad_request",
        "The database is not empty. Load into a new one, and then point the hosts there.",
      );
    await client.executeMultiple(await Bun.file(file).text());
  } finally {
    client.close();
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

function print<T>(answer: T, isJson: boolean, inWords: (answer: T) => string): void {
  console.log(isJson ? JSON.stringify(answer) : inWords(answer));
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

function statusInWords({ schema, generation, quarantineMs, sessions }: DirectoryStatus): string {
  const lines = sessions.map(({ hostId, region, version, linkVersions, objects, expiresInMs }) => {
    const life = expiresInMs > 0 ? `for ${Math.round(expiresInMs / 1000)} s` : "not heard in time";
    return `${hostId} (${region}) ${version}: ${objects} objects, links ${linkVersions || "1"}, ${life}`;
  });
  const wait = quarantineMs > 0 ? `; nothing is acquired for ${quarantineMs / 1000} s` : "";
  const { current, required } = schema;
  return [
    `Schema ${current}, of which builds must know ${required}; generation ${generation}${wait}`,
    ...lines,
  ].join("\n");
}
