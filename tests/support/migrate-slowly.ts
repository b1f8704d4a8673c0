import { type Migration, migrate, migrations, schemaVersion } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";

/**
 * One process of a later release that migrates a database, with a migration that takes long enough to be killed in: it makes
 * a table, counts for as long as it is told, and makes another. Prints "migrating" when it begins, and "done".
 */
const [url = "", kind = "go on", rows = "1"] = process.argv.slice(2);
const timeLimitMs = 60_000;
const isFile = url.startsWith("file:");
const connection = isFile
  ? new WorkerConnection({ clock: systemClock, config: { url, busyTimeoutMs: 50_000 }, timeLimitMs })
  : new RemoteConnection({ clock: systemClock, url, timeLimitMs });

const next: Migration = {
  version: schemaVersion + 1,
  olderHosts: kind === "end" ? "end" : "go on",
  statements: [
    `CREATE TABLE begun (n INTEGER)`,
    `INSERT INTO begun WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < ${Number(rows)})
      SELECT max(n) FROM up`,
    `CREATE TABLE ended (n INTEGER)`,
  ],
};
await migrate(connection);
console.log("migrating");
await migrate(connection, [...migrations, next]);
console.log("done");
await connection.close();
