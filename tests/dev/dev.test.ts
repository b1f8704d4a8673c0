import { expect, test } from "bun:test";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../support/wait.ts";
import { allGone, counterClass, type DevFolders, DevRun, devFolders, writeClass } from "./dev-run.ts";

/** `bun run dev` as a person has it: real processes, real files, nothing replaced. */
async function foldersWithCounter(): Promise<DevFolders> {
  const folders = await devFolders();
  await writeClass(folders, "counter.ts", counterClass("counter"));
  return folders;
}

async function increment(url: string, object: string): Promise<number | undefined> {
  const response = await fetch(`${url}/${object}/increment`, { method: "POST" });
  const answer: unknown = await response.json();
  const isCount = typeof answer === "object" && answer !== null && "count" in answer;
  return isCount ? Number(answer.count) : undefined;
}

function countOnce(url: string, object: string, wanted: number): Promise<number> {
  return until(`${object} counts ${wanted} at ${url}`, async () => {
    const count = await increment(url, object);
    return count === wanted && count;
  });
}

test("three regions count one number, and Ctrl-C leaves nothing running", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders);
  const urls = await run.urls();
  expect(urls).toHaveLength(3);
  const counts: (number | undefined)[] = [];
  for (const url of [...urls, ...urls]) counts.push(await increment(url, "counter/a"));
  expect(counts).toEqual([1, 2, 3, 4, 5, 6]);
  await run.says("object started    counter/a");

  const hosts = run.hostPids();
  expect(hosts).toHaveLength(3);
  run.process.kill("SIGINT");
  expect(await run.process.exited).toBe(0);
  await allGone(hosts);
  expect(await run.says("done in")).toContain("Stopping iad, ams, nrt");
});

test("a new class is live in every region, a changed one too, a broken one leaves the code from before", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders);
  const [first = "", second = "", third = ""] = await run.urls();

  await writeClass(folders, "extra.ts", counterClass("extra", 2));
  await run.says("class live        extra  (extra.ts");
  expect([await increment(first, "extra/a"), await increment(second, "extra/a")]).toEqual([2, 4]);
  expect(await increment(third, "extra/a")).toBe(6);

  await writeClass(folders, "extra.ts", `${counterClass("extra", 100)}export default broken(`);
  expect(await run.says("The code from before goes on.")).toContain("extra.ts cannot be loaded.");
  expect(await increment(third, "extra/a")).toBe(8);

  run.mark();
  await writeClass(folders, "extra.ts", counterClass("extra", 1000));
  await run.says("class live        extra  (extra.ts");
  expect([await increment(first, "extra/b"), await increment(second, "extra/c")]).toEqual([1000, 1000]);
  expect(await increment(third, "extra/d")).toBe(1000);

  await unlink(join(folders.objects, "extra.ts"));
  await run.says("class removed     extra.ts");
  const gone = await fetch(`${second}/extra/a/increment`, { method: "POST" });
  expect(gone.ok).toBeFalse();
});

test("a failed handler is a line with the author's frames", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders);
  const [url] = await run.urls();
  expect((await fetch(`${url}/counter/a/fail`)).status).toBe(500);
  const output = await run.says("RangeError: on purpose");
  expect(await run.says("counter.ts:6:")).toContain("handler failed");
  expect(output).not.toContain("node_modules");
});

test.concurrent("a host that dies is started again on its port", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders, "--regions", "fra,syd");
  const urls = await run.urls();
  const [victim = 0] = run.hostPids();
  process.kill(victim, "SIGKILL");
  await run.says("host is back");
  expect(await run.says("host died")).toContain("SIGKILL");
  for (const url of urls) await countOnce(url, `counter/${crypto.randomUUID()}`, 1);
});

test.concurrent("a killed run leaves no process behind and no lease that the next run waits for", async () => {
  await using folders = await foldersWithCounter();
  const killed = DevRun.start(folders);
  const [url = ""] = await killed.urls();
  expect(await increment(url, "counter/a")).toBe(1);
  const hosts = killed.hostPids();
  // All at once, so that no host can hand its session back.
  for (const pid of [killed.process.pid, ...hosts]) process.kill(pid, "SIGKILL");
  await allGone(hosts);

  await using next = DevRun.start(folders);
  const [again = ""] = await next.urls();
  expect(await increment(again, "counter/a")).toBe(1);
});

test.concurrent("hosts end with the process that started them, even one whose handler never ends", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders, "--regions", "iad,ams");
  const [url] = await run.urls();
  const blocked = fetch(`${url}/counter/a/block`).catch(() => undefined);
  await run.says("object started    counter/a");
  const hosts = run.hostPids();
  run.process.kill("SIGKILL");
  await allGone(hosts, 20_000);
  await blocked;
}, 40_000);

test("a class file that is wrong stops the start with a sentence that names it", async () => {
  await using folders = await foldersWithCounter();
  await writeClass(folders, "wrong.ts", "export const a = 1;\n");
  await using run = DevRun.start(folders);
  expect(await run.process.exited).toBe(1);
  const output = await run.says("wrong.ts has no default export. Write:");
  expect(output).not.toContain("    at ");
});

test("a folder of data belongs to one cluster at a time", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders, "--regions", "iad");
  await run.urls();
  await using second = DevRun.start(folders, "--regions", "iad");
  expect(await second.process.exited).toBe(1);
  await second.says(`Another dev cluster (process ${run.process.pid})`);
});

test("a command line that makes no sense ends with code 2", async () => {
  await using folders = await foldersWithCounter();
  await using run = DevRun.start(folders, "--regions", "nowhere");
  expect(await run.process.exited).toBe(2);
  await run.says('There is no region "nowhere"');
});
