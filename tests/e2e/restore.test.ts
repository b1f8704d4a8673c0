import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { adminToken } from "../support/admin-token.ts";
import { HostProcess } from "../support/host-process.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";

/** A backup of the directory put back under hosts that run (L9): real hosts in processes of their own, and a real server. */
const leaseTtlMs = 1_500;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

test("L9 what was stored since the backup is gone, whole, whoever had it in memory, and the log says whose", async () => {
  const { sqld, hosts } = await cluster(2);
  const [first, second] = hosts;
  // A key at a time, so that a memory that went on beside another truth would show: what is read is cached, what is listed is not.
  await add(first, "/tally-keys/a", 3);
  await add(second, "/tally-state/b", 3);
  const restore = await sqld.backup();
  await add(first, "/tally-keys/a", 2);
  await add(second, "/tally-state/b", 2);
  await restore();
  await lossNoticed(hosts);
  for (const path of ["/tally-keys/a", "/tally-state/b"]) {
    const answers = await Promise.all(hosts.map((host) => answered(host, `${path}/applied`)));
    for (const answer of answers) expect([answer.count, appliedIn(answer).length]).toEqual([3, 3]);
    expect(await add(first, path, 1)).toBe(4);
    const after = await answered(second, `${path}/applied`);
    expect([after.count, appliedIn(after).length]).toEqual([4, 4]);
  }
  const told = hosts.flatMap(({ entries }) => entries.filter(({ event }) => event === "directory.forgot"));
  expect(told.flatMap(({ objects }) => objects).sort()).toEqual(["tally-keys/a", "tally-state/b"]);
});

test("L9 an owner of before the backup does not come back to life, and epochs only rise", async () => {
  const { sqld, hosts } = await cluster(3);
  const [first, second, third] = hosts;
  const path = "/tally-keys/moving";
  await add(first, path, 2);
  const atBackup = await epochOf(first, path);
  const restore = await sqld.backup();
  const moved = await answered(third ?? first, `/-/objects${path}/move`, {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ host: second.id }),
  });
  expect(Number(moved.epoch)).toBeGreaterThan(atBackup);
  const tally = load(hosts, path);
  await until("the new owner has counted", () => tally.answers.some(({ owner }) => owner === second.id));
  await restore();
  const restoredAtMs = performance.now();
  await lossNoticed(hosts);
  const noticedAtMs = performance.now();
  await until("somebody counts again", () => tally.answers.some(({ sentAtMs }) => sentAtMs > noticedAtMs));
  await tally.stop();
  // From the restore on whatever is acknowledged is kept: nobody is told so by an owner of the time that was forgotten.
  const kept = new Map(appliedIn(await answered(first, `${path}/applied`)));
  const later = tally.answers.filter(({ sentAtMs }) => sentAtMs > restoredAtMs);
  expect(later.length).toBeGreaterThan(0);
  for (const { key, value } of later) expect([key, kept.get(key)]).toEqual([key, value]);
  expect(new Set(later.map(({ owner }) => owner)).size).toBe(1);
  expect(await epochOf(first, path)).toBeGreaterThan(Number(moved.epoch));
  expect((await answered(first, `${path}/applied`)).count).toBe(kept.size);
});

test("L9 where nobody remembers, the directory is told that it was restored, and one lease time is waited out", async () => {
  const { sqld, hosts } = await cluster(2);
  const [first, second] = hosts;
  await add(first, "/tally-keys/a", 3);
  const epoch = await epochOf(first, "/tally-keys/a");
  const restore = await sqld.backup();
  await add(first, "/tally-keys/a", 2);
  for (const host of [first, second]) await host.stop();
  await restore();
  const told = await directory(sqld.httpUrl, "restored", "--lease-ttl-ms", String(leaseTtlMs), "--json");
  const toldAtMs = performance.now();
  expect(JSON.parse(told)).toMatchObject({ sessionsEnded: 2, objectsOwned: 1, quarantineMs: leaseTtlMs });
  await first.run();
  expect((await answered(first, "/tally-keys/a/applied")).count).toBe(3);
  expect(performance.now() - toldAtMs).toBeGreaterThan(leaseTtlMs * 0.8);
  expect(await epochOf(first, "/tally-keys/a")).toBeGreaterThan(epoch);
  expect(await directory(sqld.httpUrl, "status")).toMatch(
    /Schema \d+, of which builds must know \d+; generation .*\niad-2 \(iad\) dev: 1 objects, links \[1,2\], for \d+ s/,
  );
});

test("L9 a dump is taken under running hosts, and loaded into an empty server", async () => {
  const { sqld, hosts } = await cluster(2);
  const [first, second] = hosts;
  await add(first, "/tally-keys/a", 3);
  await add(second, "/tally-state/b", 2);
  const dump = await (await fetch(`${sqld.httpUrl}/dump`)).text();
  await add(first, "/tally-keys/a", 1);
  const other = await Sqld.start();
  cleanups.push(() => other.stop());
  const folder = await mkdtemp(join(tmpdir(), "dump-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const file = join(folder, "backup.sql");
  await Bun.write(file, dump);
  await directory(other.httpUrl, "load", file, "--lease-ttl-ms", String(leaseTtlMs));
  const host = hostOf("nrt", other.httpUrl);
  await host.run();
  expect((await answered(host, "/tally-keys/a/applied")).count).toBe(3);
  expect((await answered(host, "/tally-state/b/applied")).count).toBe(2);
  await expect(directory(other.httpUrl, "load", file)).rejects.toThrow("is not empty");
});

test("L9 a replica that is ahead of a restored primary misleads nobody", async () => {
  const sqld = await Sqld.start();
  cleanups.push(() => sqld.stop());
  const replica = await Sqld.start(sqld);
  cleanups.push(() => replica.stop());
  const regions = ["iad", "ams"] as const;
  const hosts = regions.map((region) =>
    hostOf(region, sqld.httpUrl, { LIBSQL_REPLICA_URL: replica.httpUrl }),
  );
  await Promise.all(hosts.map((host) => host.run()));
  const [first, second] = hosts;
  if (first === undefined || second === undefined) throw new Error("There are two.");
  await add(first, "/tally-keys/a", 3);
  const restore = await sqld.backup();
  // The replica knows of these, and of who has them; the primary will not.
  await add(first, "/tally-keys/a", 2);
  await add(second, "/tally-keys/later", 2);
  await restore();
  await lossNoticed(hosts);
  for (const host of hosts) {
    expect((await answered(host, "/tally-keys/a/applied")).count).toBe(3);
    expect((await answered(host, "/tally-keys/later/applied")).count).toBe(0);
  }
  expect(await add(second, "/tally-keys/later", 1)).toBe(1);
  expect((await answered(first, "/tally-keys/later/applied")).count).toBe(1);
});

interface Cluster {
  readonly sqld: Sqld;
  readonly hosts: readonly [HostProcess, HostProcess, ...HostProcess[]];
}

async function cluster(count: number): Promise<Cluster> {
  const sqld = await Sqld.start();
  cleanups.push(() => sqld.stop());
  const regions = ["iad", "ams", "nrt"].slice(0, count);
  const hosts = regions.map((region) => hostOf(region, sqld.httpUrl));
  await Promise.all(hosts.map((host) => host.run()));
  await until("the hosts know each other", async () => {
    const healths = await Promise.all(hosts.map((host) => answered(host, "/-/health")));
    return healths.every((health) => health.hosts === count);
  });
  return { sqld, hosts: hosts as unknown as Cluster["hosts"] }; // two at least, by every call
}

function hostOf(region: string, directoryUrl: string, more: Record<string, string> = {}): HostProcess {
  const env = { STATEFUL_ADMIN_TOKEN: adminToken, ...more };
  const host = new HostProcess({ region, directoryUrl, objectsFolder: "tests/e2e/objects", leaseTtlMs, env });
  cleanups.push(() => host.kill());
  return host;
}

/** `bun run directory`, as an operator runs it. Rejects with what it complains of. */
async function directory(url: string, ...args: readonly string[]): Promise<string> {
  const child = Bun.spawn([process.execPath, "apps/cli/directory.ts", ...args], {
    cwd: join(import.meta.dir, "../.."),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LIBSQL_URL: url },
  });
  const [said, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(complaint);
  return said.trim();
}

/** Each key that was counted, with the number that it was told. */
function appliedIn({ applied }: Record<string, unknown>): [string, number][] {
  return applied as [string, number][]; // as the classes answer
}

async function epochOf(host: HostProcess, path: string): Promise<number> {
  return until("the object has an owner", async () => {
    const { owner } = await answered(host, `/-/explain${path}`);
    return (owner as { readonly epoch: number } | null)?.epoch; // as explain answers
  });
}

interface Counted {
  readonly key: string;
  readonly value: number;
  readonly owner: string;
  readonly sentAtMs: number;
}

/** Increments without a pause, at all hosts at once, until stopped. */
function load(hosts: readonly HostProcess[], path: string) {
  const stop = new AbortController();
  const answers: Counted[] = [];
  const run = async (host: HostProcess) => {
    while (!stop.signal.aborted) {
      const sentAtMs = performance.now();
      const key = crypto.randomUUID();
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ client: host.id, key });
      const init = { method: "POST", headers, body, signal: AbortSignal.timeout(3_000) };
      const answer = await fetch(host.url(`${path}/increment`), init).then(
        (response) => (response.ok ? response.json() : undefined),
        () => undefined,
      );
      if (answer === undefined)
        await Bun.sleep(20); // a client that was refused does not hammer
      else answers.push({ key, value: answer.value, owner: answer.owner, sentAtMs });
    }
  };
  const running = Promise.all(hosts.map(run));
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  cleanups.push(end);
  return { answers, stop: end };
}

/** Until every host has found out, and serves under a session that is of the directory as it is now. */
async function lossNoticed(hosts: readonly HostProcess[]): Promise<void> {
  await until("every host has noticed the loss, and has a session again", async () => {
    const healths = await Promise.all(hosts.map((host) => answered(host, "/-/health")));
    const haveNoticed = hosts.every(({ entries }) => entries.some(({ event }) => event === "session.over"));
    return haveNoticed && healths.every(({ status }) => status === 200);
  });
}

/** Increments at a host, until so many are acknowledged; the last answer's count. */
async function add(host: HostProcess, path: string, count: number): Promise<unknown> {
  let last: unknown;
  for (let n = 0; n < count; n += 1) {
    const body = JSON.stringify({ client: "one", key: crypto.randomUUID() });
    const answer = await answered(host, `${path}/increment`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    last = answer.count;
  }
  return last;
}

/** Asks until there is an answer of the class: while nothing may be acquired, hosts say so and are asked again. */
async function answered(
  host: HostProcess,
  path: string,
  init: RequestInit = {},
): Promise<Record<string, unknown>> {
  return until(`${host.id} answers ${path}`, async () => {
    const response = await fetch(host.url(path), { signal: AbortSignal.timeout(3_000), ...init }).catch(
      () => undefined,
    );
    if (response === undefined) return undefined;
    const answer: Record<string, unknown> = await response.json(); // every answer here is an object
    if (path === "/-/health") return { ...answer, status: response.status };
    return response.status === 200 ? answer : undefined;
  });
}
