import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory, type DirectoryOptions } from "../../infra/lease/connect-directory.ts";
import type { Acquisition } from "../../infra/lease/leases.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { clearDirectory } from "../support/clear-directory.ts";
import { LeaseHost } from "../support/lease-host.ts";
import { TcpProxy } from "../support/proxy.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";

/** The schedules that would break one live copy, with whole hosts, real databases and real time. */
const ttlMs = 900;
const limits = { renewalLimitMs: 200, commitLimitMs: 200, hintLimitMs: 200 };
/** Where nobody is to lose a session, however slow the machine is. */
const patient = { ttlMs: 30_000, renewalLimitMs: 10_000, commitLimitMs: 10_000, hintLimitMs: 10_000 };
/** Of a loop that waits for nothing. One that waited for a database would stand still for as long as that is silent. */
const pauseMsMax = 500;
let cleanups: Array<() => Promise<unknown>> = [];

afterEach(async () => {
  const newestFirst = cleanups.toReversed();
  cleanups = [];
  for (const cleanup of newestFirst) await cleanup();
});

async function start(options: DirectoryOptions, times = { ttlMs, ...limits }): Promise<LeaseHost> {
  const directory = connectDirectory({ ...times, ...options });
  cleanups.push(() => directory.close());
  const host = await LeaseHost.start(directory, { ttlMs: times.ttlMs });
  cleanups.push(() => host.leases.stop());
  return host;
}

function objects(count: number) {
  const salt = crypto.randomUUID();
  return Array.from({ length: count }, (_, n) => objectRef("room", `${n}-${salt}`));
}

async function take(host: LeaseHost): Promise<Acquisition & { readonly owned: true }> {
  const [object] = objects(1);
  if (object === undefined) throw new Error("one object was asked for");
  const acquisition = await host.leases.acquire(object, "free");
  if (!acquisition.owned) throw new Error("a fresh object was not given");
  return acquisition;
}

async function raceOfThree(url: string): Promise<void> {
  const hosts = await Promise.all(Array.from({ length: 3 }, () => start({ url }, patient)));
  const wanted = objects(1_000);
  const acquireAll = (host: LeaseHost) =>
    Promise.all(wanted.map((object) => host.leases.acquire(object, "free")));
  const answers = await Promise.all(hosts.map(acquireAll));
  for (const index of wanted.keys()) {
    const column = answers.map((answer) => answer[index]);
    expect(column.filter((one) => one?.owned)).toHaveLength(1);
    const winner = column.find((one) => one?.owned);
    for (const loser of column.filter((one) => one?.owned === false)) {
      expect(loser?.epoch).toBe(winner?.epoch ?? 0);
      expect(loser?.owned === false && loser.owner?.session).toBe(loser?.owned === false && loser.session);
    }
  }
}

describe("on a file", () => {
  let folder: string;
  const url = () => `file:${join(folder, "directory.db")}`;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "schedules-"));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
  });

  test("L2 three hosts race for the same 1,000 objects: one owner each, losers know it", () =>
    raceOfThree(url()));

  test("L1 a restarted host with the same host id while the old process still lives", async () => {
    const old = await start({ url: url() });
    const restarted = await start({ url: url() });
    const [object] = objects(1);
    if (object === undefined) throw new Error("one object was asked for");
    expect(await old.leases.acquire(object, "free")).toMatchObject({ owned: true });
    expect(await restarted.leases.acquire(object, "free")).toMatchObject({
      owned: false,
      owner: { session: old.leases.session.id },
    });
  });

  test("a simulated distance is added to the primary and not to a replica", async () => {
    const directory = connectDirectory({ url: url(), replicaUrl: url(), primaryDelayMs: 120 });
    cleanups.push(() => directory.close());
    await LeaseHost.start(directory, { ttlMs: 9_000 }).then((host) =>
      cleanups.push(() => host.leases.stop()),
    );
    const find = () => timed(() => directory.find(objects(1)));
    await until("the second reader is open", async () => (await find()) < 60);
    expect(await timed(() => directory.verify("nobody", []))).toBeGreaterThanOrEqual(119);
  });
});

describe("on sqld", () => {
  let sqld: Sqld;

  beforeAll(async () => {
    sqld = await Sqld.start();
  }, 30_000);
  afterAll(() => sqld?.stop());
  beforeEach(() => clearDirectory(sqld.httpUrl));

  test("L2 three hosts race for the same 1,000 objects: one owner each, losers know it", () =>
    raceOfThree(sqld.httpUrl));

  test("L6 an acquisition whose bytes are held up on the way lands late and takes nothing", async () => {
    const proxy = await TcpProxy.start(sqld.port);
    cleanups.push(() => proxy.stop());
    const [slow, other] = [
      await start({ url: `http://127.0.0.1:${proxy.port}` }),
      await start({ url: sqld.httpUrl }),
    ];
    const { session } = slow.leases;
    const [object] = objects(1);
    if (object === undefined) throw new Error("one object was asked for");
    proxy.requests("hold");
    const acquired = slow.leases.acquire(object, "free").catch((error) => error.code);
    await until("the request is held", () => proxy.heldCount > 0);
    expect(await acquired).toBe("session_over");
    expect(session.isValid()).toBe(false);
    const won = await until("the other host may take it", () => other.leases.acquire(object, "free"));
    proxy.requests("flow");
    await until("the slow host is back", () => slow.leases.session.isValid());
    expect(await slow.leases.acquire(object, "free")).toMatchObject({ owned: false, epoch: won.epoch });
  });

  test("L6 an acquisition whose answer is lost is settled, once", async () => {
    const proxy = await TcpProxy.start(sqld.port);
    cleanups.push(() => proxy.stop());
    const host = await start({ url: `http://127.0.0.1:${proxy.port}` });
    proxy.answers("drop");
    const acquired = take(host);
    await until("the acquisition has reached the server", () => proxy.droppedCount > 0);
    proxy.answers("flow");
    const acquisition = await acquired;
    expect(acquisition.session.id).toBe(host.leases.session.id);
    expect(host.events.some((event) => event.name === "sessionOver")).toBe(false);
  });

  test("L3 L10 a database that accepts and never answers: the loop goes on, the host fences itself in time", async () => {
    const host = await start({ url: sqld.httpUrl });
    await frozen(sqld, host);
  });

  test("L3 the same over WebSocket, and the connection is replaced when it answers again", async () => {
    const host = await start({ url: sqld.wsUrl });
    await frozen(sqld, host);
    await until("the host has a session again", () => host.leases.session.isValid());
    await until("and takes objects", () => take(host).catch(() => undefined));
  });

  test("L9 a database that forgets its last seconds ends the sessions of whole hosts, and none serves twice", async () => {
    const [first, second] = [await start({ url: sqld.httpUrl }), await start({ url: sqld.httpUrl })];
    const sessions = [first.leases.session, second.leases.session];
    const forget = await sqld.backup();
    const won = await take(first);
    await Promise.all([first.leases.refresh(), second.leases.refresh()]);
    await forget();
    await until("both sessions are over", () => sessions.every((session) => !session.isValid()));
    const reasons = [
      first.overReason(sessions[0] ?? won.session),
      second.overReason(sessions[1] ?? won.session),
    ];
    // A host that could not reach the server while it was away may have fenced itself first; both ends are safe.
    for (const reason of reasons) expect(reason).toMatch(/^(directory_lost_memory|unconfirmed)$/);
    const again = await until("objects start again", () => take(second).catch(() => undefined));
    expect(again.epoch).toBeGreaterThan(won.epoch);
  });
});

test("L10 an embedded replica whose primary never answers stalls nothing: not the loop, not the stop", async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  if (address === null || typeof address === "string")
    throw new Error("a TCP server has an address with a port");
  const folder = await mkdtemp(join(tmpdir(), "silent-"));
  const script = join(import.meta.dir, "../support/stuck-replica.ts");
  const url = `http://127.0.0.1:${address.port}`;
  const child = Bun.spawn([process.execPath, script, url, `file:${join(folder, "replica.db")}`], {
    stdout: "pipe",
  });
  const ended = await Promise.race([child.exited, Bun.sleep(8_000).then(() => "still running")]);
  child.kill("SIGKILL");
  const report = JSON.parse(await new Response(child.stdout).text());
  silent.close();
  await rm(folder, { recursive: true, force: true });
  expect(ended).toBe(0);
  expect(report.longestPauseMs).toBeLessThan(pauseMsMax);
  expect(report.closeMs).toBeLessThan(1_500);
});

test("L5 hints come from the embedded replica once it is filled, and not from the primary's distance", async () => {
  const sqld = await Sqld.start();
  cleanups.push(() => sqld.stop());
  const folder = await mkdtemp(join(tmpdir(), "hints-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const far = { url: sqld.httpUrl, primaryDelayMs: 200 };
  const directory = connectDirectory({
    ...far,
    replicaUrl: `file:${join(folder, "replica.db")}`,
    syncIntervalMs: 50,
  });
  cleanups.push(() => directory.close());
  const host = await LeaseHost.start(directory, { ttlMs: 9_000 });
  cleanups.push(() => host.leases.stop());
  const wanted = objects(1);
  await Promise.all(wanted.map((object) => host.leases.acquire(object, "free")));
  expect((await directory.find(wanted)).size).toBe(1);
  await until("the replica answers, and has the lease", async () => {
    const startMs = performance.now();
    const found = await directory.find(wanted);
    return found.size === 1 && performance.now() - startMs < 100;
  });
});

async function frozen(sqld: Sqld, host: LeaseHost): Promise<void> {
  const { session } = host.leases;
  const pause = longestPause();
  sqld.freeze();
  const frozenAtMs = performance.now();
  try {
    await until("the host has fenced itself", () => !session.isValid(), ttlMs * 2);
    expect(performance.now() - frozenAtMs).toBeLessThan(ttlMs);
    await until("and was told why", () => host.overReason(session) === "unconfirmed");
    await expect(take(host)).rejects.toMatchObject({ code: "session_over" });
  } finally {
    sqld.thaw();
  }
  expect(pause()).toBeLessThan(pauseMsMax);
}

/** Watches the loop; the result tells how long it stood still at most. */
function longestPause(): () => number {
  let longestMs = 0;
  let lastMs = performance.now();
  const beat = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 5);
  return () => {
    clearInterval(beat);
    return longestMs;
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
