import { afterAll, beforeAll, expect, test } from "bun:test";
import { RemoteConnection } from "../../infra/lease/remote-connection.ts";
import { statement } from "../../infra/lease/sql-connection.ts";
import { StreamConnection } from "../../infra/lease/stream-connection.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { Sqld } from "../support/sqld.ts";

let sqld: Sqld;
beforeAll(async () => {
  sqld = await Sqld.start();
}, 30_000);
afterAll(() => sqld.stop());

const run = (sql: string) => statement(sql, {});
/** More than a server puts into one answer. */
const tooLarge = run(
  `SELECT zeroblob(4000000) AS z UNION ALL SELECT zeroblob(4000000) UNION ALL SELECT zeroblob(4000000)`,
);

for (const keepsStream of [true, false]) {
  const how = keepsStream ? "on a stream that is kept" : "on a stream of its own";
  test(`an answer that the server has no room for leaves no transaction open, ${how}`, async () => {
    const options = { clock: systemClock, timeLimitMs: 2_000 };
    const connection = new StreamConnection({ ...options, url: sqld.wsUrl }, keepsStream);
    const other = new RemoteConnection({ ...options, url: sqld.httpUrl });
    await connection.batch([run("DROP TABLE IF EXISTS t"), run("CREATE TABLE t (a INTEGER)")]);
    const failing = connection.batch([run("INSERT INTO t VALUES (1)"), tooLarge]);
    await expect(failing).rejects.toMatchObject({ code: "directory_unavailable" });
    await other.batch([run("INSERT INTO t VALUES (2)")]);
    await connection.batch([run("INSERT INTO t VALUES (3)")]);
    expect(await other.query(run("SELECT group_concat(a) AS found FROM t"))).toEqual([{ found: "2,3" }]);
    await Promise.all([connection.close(), other.close()]);
  });
}
