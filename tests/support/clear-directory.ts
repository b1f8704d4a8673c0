import { createClient } from "@libsql/client/http";
import { migrate } from "../../infra/lease/directory-schema.ts";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";

/** Makes the directory on a server as good as new: its tables are there, and know nothing. */
export async function clearDirectory(url: string): Promise<void> {
  const connection = new RemoteConnection({ clock: systemClock, url, timeLimitMs: 20_000 });
  await migrate(connection);
  await connection.close();
  const client = createClient({ url });
  await client.batch(
    [
      "DELETE FROM sessions",
      "DELETE FROM leases",
      "UPDATE directory SET generation = lower(hex(randomblob(16))), former = '', quarantine_until = 0, now = 0, ahead = 0",
    ],
    "write",
  );
  client.close();
}
