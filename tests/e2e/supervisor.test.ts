import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { type Client, createClient } from "@libsql/client";
import { restartDelayMs } from "../../apps/server/supervisor.ts";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { HostLogEntry, HostProcess, HostProcessOptions } from "../support/host-process.ts";
import { until } from "../support/wait.ts";
import { ask, Stage } from "./stage.ts";

/** What a host has in production: long enough that nobody could take an object "at once" by waiting. */
const leaseTtlMs = 9_000;
/** As a session is in the directory. */
const alive = 0;
const handedBack = 1;
/** A takeover that did not wait for the lease time. Measured: 20 to 70 ms. */
const atOnceMs = 2_500;
/** The limit of the supervisor, and room for a busy machine. */
const givenUpWithinMs = 5_000 + 1_500;

let stage: Stage;
let client: Client;
beforeEach(async () => {
  stage = await Stage.open();
  client = createClient({ url: stage.sqld.httpUrl });
});
afterEach(async () => {
  client.close();
  await stage.close();
});

async function startHost(region: string, options: Partial<HostProcessOptions> = {}): Promise<HostProcess> {
  return await stage.host(region, { objectsFolder: "tests/e2e/ending-objects", leaseTtlMs, ...options });
}

/** A host whose `pid` is that of its supervisor. */
async function startSupervised(options: Partial<HostProcessOptions> = {}): Promise<HostProcess> {
  const host = await startHost("iad", {
    runner: [process.execPath, "apps/server/supervisor.ts"],
    ...options,
  });
  // A supervisor that is killed leaves a child that takes its time to stop, or is frozen.
  stage.onClose(() => signalChild(host, "SIGKILL"));
  return host;
}

function eventsOf(host: HostProcess, event: string): HostLogEntry[] {
  return host.entries.filter((entry) => entry.event === event);
}

function childPid(host: HostProcess): number {
  return Number(eventsOf(host, "supervisor.child_started").at(-1)?.pid);
}

function signalChild(host: HostProcess, signal: NodeJS.Signals): void {
  const starts = eventsOf(host, "supervisor.child_started").length;
  // By now the number may be another process's.
  if (starts === eventsOf(host, "supervisor.child_ended").length) return;
  try {
    process.kill(childPid(host), signal);
  } catch {
    // It has ended by itself.
  }
}

/** The sessions that hosts have opened, by the order of that. */
async function sessionsOf(hostId: string): Promise<{ session: string; ended: number }[]> {
  const sql = "SELECT session, ended FROM sessions WHERE host_id = ? ORDER BY opened_at, session";
  const { rows } = await client.execute({ sql, args: [hostId] });
  return rows.map((row) => ({ session: String(row.session), ended: Number(row.ended) }));
}

/** Resolves with the time until the host has the object. */
async function takeover(by: HostProcess, id: string, limitMs = 20_000): Promise<number> {
  const startedAtMs = performance.now();
  await until(
    `${by.id} has ${id}`,
    async () => {
      const { status, owner } = await ask(by, `/ender/${id}`, "POST", 2_000);
      return status === 200 && owner === by.id;
    },
    limitMs,
  );
  return performance.now() - startedAtMs;
}

test("a killed host's objects are taken at once, and the supervisor ends as its child did", async () => {
  const [iad, ams] = await Promise.all([startSupervised(), startHost("ams")]);
  expect(await ask(iad, "/ender/a")).toMatchObject({ owner: iad.id, calls: 1 });
  expect(await ask(ams, "/ender/a")).toMatchObject({ owner: iad.id, calls: 2 });
  signalChild(iad, "SIGKILL");
  expect(await takeover(ams, "a")).toBeLessThan(atOnceMs);
  expect(await iad.stop()).toBe(128 + 9);
  const [ended] = eventsOf(iad, "supervisor.sessions_ended");
  expect(await sessionsOf(iad.id)).toEqual([{ session: String(ended?.sessions), ended: handedBack }]);
}, 60_000);

test("SIGTERM, SIGINT and SIGHUP reach the host, which hands its session back itself", async () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    const iad = await startSupervised();
    const [opened] = eventsOf(iad, "session.opened");
    // As a service manager does, which signals the whole group, and the supervisor passes its own on.
    signalChild(iad, signal);
    expect(await iad.stop(signal)).toBe(0);
    expect(await sessionsOf(iad.id)).toContainEqual({ session: String(opened?.session), ended: handedBack });
    expect(eventsOf(iad, "host.stopped")).toHaveLength(1);
    expect(eventsOf(iad, "supervisor.sessions_ended")).toEqual([]);
    iad.entries.length = 0;
  }
}, 60_000);

test("an author's process.exit(3) frees the host's objects, and is the supervisor's exit code", async () => {
  const [iad, ams] = await Promise.all([startSupervised(), startHost("ams")]);
  expect(await ask(iad, "/ender/a")).toMatchObject({ owner: iad.id });
  await ask(iad, "/ender/a/exit/3");
  expect(await takeover(ams, "a")).toBeLessThan(atOnceMs);
  expect(await iad.stop()).toBe(3);
}, 60_000);

test("a frozen host keeps its session until that expires; awake, it is known under the next one", async () => {
  const [iad, ams] = await Promise.all([
    startSupervised({ leaseTtlMs: 2_000 }),
    startHost("ams", { leaseTtlMs: 2_000 }),
  ]);
  expect(await ask(iad, "/ender/a")).toMatchObject({ owner: iad.id });
  signalChild(iad, "SIGSTOP");
  await takeover(ams, "a");
  expect((await sessionsOf(iad.id)).map(({ ended }) => ended)).not.toContain(handedBack);
  signalChild(iad, "SIGCONT");
  const isAwake = async () => (await sessionsOf(iad.id)).slice(1).some(({ ended }) => ended === alive);
  await until("iad has its next session", isAwake, 20_000);
  expect(await takeover(iad, "b")).toBeLessThan(20_000);
  signalChild(iad, "SIGKILL");
  expect(await iad.stop()).toBe(128 + 9);
  expect((await sessionsOf(iad.id)).at(-1)?.ended).toBe(handedBack);
}, 60_000);

test.each(["kill", "freeze"] as const)(
  "a directory that is away (%s) is given up within a limit",
  async (how) => {
    const iad = await startSupervised();
    await stage.sqld[how]();
    const killedAtMs = performance.now();
    signalChild(iad, "SIGKILL");
    expect(await iad.stop()).toBe(128 + 9);
    expect(performance.now() - killedAtMs).toBeLessThan(givenUpWithinMs);
    const [left] = eventsOf(iad, "supervisor.sessions_left");
    expect(left?.sessions).toEqual([String(eventsOf(iad, "session.opened")[0]?.session)]);
  },
  60_000,
);

test("STATEFUL_RESTART=1 starts the host again, until the supervisor is asked to stop", async () => {
  const iad = await startSupervised({ env: { STATEFUL_RESTART: "1" } });
  await ask(iad, "/ender/a/exit/3");
  await until("the host is back", async () => (await ask(iad, "/ender/a")).calls === 1, 20_000);
  signalChild(iad, "SIGKILL");
  await until("the host is back again", async () => (await ask(iad, "/ender/a")).calls === 1, 20_000);
  expect(await iad.stop()).toBe(0);
  const ends = eventsOf(iad, "supervisor.child_ended").map(({ exitCode }) => exitCode);
  expect(ends).toEqual([3, 128 + 9, 0]);
  expect((await sessionsOf(iad.id)).map(({ ended }) => ended)).toEqual([handedBack, handedBack, handedBack]);
}, 60_000);

test("the delay of a restart doubles up to a limit", () => {
  expect([0, 1, 2, 6, 7, 5_000].map(restartDelayMs)).toEqual([100, 200, 400, 6_400, 10_000, 10_000]);
});

test("a host whose supervisor was killed stops in order", async () => {
  const iad = await startSupervised();
  await iad.kill();
  await until("the session is handed back", async () => (await sessionsOf(iad.id))[0]?.ended === handedBack);
}, 60_000);

/** Runs a child that says `notices`, and kills itself. Resolves when its supervisor has ended. */
async function superviseDying(notices: readonly object[]): Promise<void> {
  const says = `for (const notice of ${JSON.stringify(notices)}) process.send({ pid: process.pid, ...notice });`;
  const code = `${says} process.kill(process.pid, "SIGKILL")`;
  const supervisor = Bun.spawn(
    [process.execPath, "apps/server/supervisor.ts", process.execPath, "-e", code],
    {
      cwd: join(import.meta.dir, "../.."),
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, LIBSQL_URL: stage.sqld.httpUrl },
    },
  );
  expect(await supervisor.exited).toBe(128 + 9);
}

/** Opens sessions as a host would whose process the supervisor has started. */
async function openSessions(...sessions: readonly string[]): Promise<void> {
  const directory = connectDirectory({ url: stage.sqld.httpUrl });
  const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
  const place = {
    hostId: "ghost",
    region: "iad",
    privateUrl: "http://a",
    publicUrl: "http://b",
    version: "1",
  };
  for (const session of sessions)
    await directory.openSession({ ...place, session, classes: [], draining: false, load, ttlMs: leaseTtlMs });
  await directory.close();
}

test("what a dead process had asked for and not been told of is ended with what it had", async () => {
  await openSessions("ghost.1", "ghost.2");
  const unanswered = { session: "ghost.3", ended: false };
  await superviseDying([
    { session: "ghost.1", ended: false },
    { session: "ghost.2", ended: false },
    unanswered,
  ]);
  const ended = (await sessionsOf("ghost")).map((row) => row.ended);
  expect(ended).toEqual([handedBack, handedBack]);
});

test("a session is left alone that was handed back, is another process's, or is no session", async () => {
  await openSessions("ghost.1", "ghost.2");
  await superviseDying([
    { session: "ghost.1", ended: false },
    { session: "", ended: true },
    { session: "ghost.2", ended: false, pid: process.pid },
    { session: 3 },
  ]);
  expect((await sessionsOf("ghost")).map((row) => row.ended)).toEqual([alive, alive]);
});
