import { migrate } from "../../infra/lease/directory-schema.ts";
import { WorkerConnection } from "../../infra/lease/worker-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";

/** One process that migrates the file it is given and ends. */
const url = process.argv[2];
if (url === undefined) throw new Error("Usage: migrate-file.ts file:…");
const connection = new WorkerConnection({
  clock: systemClock,
  config: { url, busyTimeoutMs: 5_000 },
  timeLimitMs: 8_000,
});
await migrate(connection);
await connection.close();
