import { migrate } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { type SqlConnection, statement } from "../../infra/lease/sql-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";

const tables = ["sessions", "leases", "storage", "alarms", "messages"];
const begin = `UPDATE directory SET
  generation = lower(hex(randomblob(16))), former = '', quarantine_until = 0, now = 0, ahead = 0`;

/** Makes the directory on a server as good as new: its tables are there, and know nothing. */
export async function clearDirectory(url: string): Promise<void> {
  const connection = new RemoteConnection({ clock: systemClock, url, timeLimitMs: 20_000 });
  await migrate(connection);
  await clearTables(connection);
  await connection.close();
}

/** The same for one whose tables are there. */
export async function clearTables(connection: SqlConnection): Promise<void> {
  await connection.batch(
    [...tables.map((table) => `DELETE FROM ${table}`), begin].map((sql) => statement(sql, {})),
  );
}
