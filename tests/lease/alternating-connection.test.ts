import { expect, test } from "bun:test";
import { AlternatingConnection } from "../../infra/lease/alternating-connection.ts";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { SqlConnection } from "../../infra/lease/sql-connection.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { Sqld } from "../support/sqld.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { until } from "../support/wait.ts";

function connection(name: string, asked: string[], isUp: () => boolean): SqlConnection {
  const query = async () => {
    asked.push(name);
    if (!isUp()) throw new StatefulError("directory_unavailable", `${name} does not answer.`);
    return [];
  };
  return {
    query,
    batch: query,
    reset: () => undefined,
    close: async () => void asked.push(`${name} closed`),
  };
}

const statement = { sql: "SELECT 1", args: {} };

test("L1 a call that was not answered sends the next one the other way, and closing closes both", async () => {
  const asked: string[] = [];
  let isFirstUp = true;
  const either = new AlternatingConnection(
    connection("socket", asked, () => isFirstUp),
    connection("http", asked, () => true),
    new VirtualClock(),
  );
  await either.query(statement);
  isFirstUp = false;
  expect(await either.query(statement).catch(({ code }: StatefulError) => code)).toBe(
    "directory_unavailable",
  );
  await either.query(statement);
  await either.batch([statement]);
  await either.close();
  expect(asked).toEqual(["socket", "socket", "http", "http", "http closed", "socket closed"]);
});

test("the first way is tried again after 30 s, and after twice as long each time that it alone fails", async () => {
  const asked: string[] = [];
  const clock = new VirtualClock();
  let isFirstUp = false;
  const either = new AlternatingConnection(
    connection("socket", asked, () => isFirstUp),
    connection("http", asked, () => true),
    clock,
  );
  const ask = () => either.query(statement).catch(() => undefined);
  for (const afterMs of [0, 0, 29_000, 1_000, 0, 59_000, 1_000, 0]) {
    await clock.advance(afterMs);
    await ask();
  }
  expect(asked).toEqual(["socket", "http", "http", "socket", "http", "http", "socket", "http"]);
  isFirstUp = true;
  await clock.advance(120_000);
  await ask();
  await ask();
  expect(asked.slice(-2)).toEqual(["socket", "socket"]);
});

test("L1 renewals are answered while 300 requests of this process are held open elsewhere", async () => {
  const sqld = await Sqld.start();
  const directory = connectDirectory({ url: sqld.httpUrl });
  const held: (() => void)[] = [];
  const slow = Bun.serve({
    port: 0,
    idleTimeout: 0,
    fetch: () => new Promise<Response>((resolve) => held.push(() => resolve(new Response("")))),
  });
  try {
    const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
    const self = {
      hostId: "h",
      region: "iad",
      privateUrl: "http://h",
      publicUrl: "http://h",
      version: "1",
      classes: [],
    };
    const opened = await directory.openSession({
      ...self,
      session: "s.1",
      draining: false,
      load,
      ttlMs: 60_000,
    });
    const requests = Array.from({ length: 300 }, () => fetch(slow.url).then((response) => response.text()));
    // Bun lets 256 through; the others wait for them, and so would a renewal over HTTP.
    await until("the requests fill what Bun allows", () => held.length >= 256, 10_000);
    const renewal = {
      session: "s.1",
      ttlMs: 60_000,
      draining: false,
      classes: [],
      load,
      seen: opened.position,
    };
    expect((await directory.renew(renewal)).alive).toBe(true);
    const release = setInterval(() => {
      for (const answer of held.splice(0)) answer();
    }, 5);
    await Promise.all(requests);
    clearInterval(release);
  } finally {
    await directory.close();
    await slow.stop(true);
    await sqld.stop();
  }
}, 30_000);
