import { expect, test } from "bun:test";
import { HostProcess } from "../support/host-process.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";

const limitMb = 300;
/** More than fit under the limit, at 2 MiB each. */
const objects = 150;

interface Filled {
  readonly small: HostProcess;
  readonly ownerOf: ReadonlyMap<number, string>;
}

/** A host with little memory is asked for more objects than it can hold; another has room. */
async function fill(query: string, look: (filled: Filled) => Promise<void>): Promise<void> {
  const sqld = await Sqld.start();
  const start = (region: string, memoryMb: number) =>
    HostProcess.start({
      ...{ region, directoryUrl: sqld.httpUrl, objectsFolder: "tests/e2e/hoard-objects", leaseTtlMs: 3000 },
      env: { STATEFUL_MEMORY_LIMIT_MB: String(memoryMb) },
    });
  const hosts = await Promise.all([start("iad", limitMb), start("nrt", 4000)]);
  const [small] = hosts;
  try {
    await until("they know each other", async () => (await health(small)).hosts === 2, 10_000);
    const ownerOf = new Map<number, string>();
    for (let n = 0; n < objects; n += 1) {
      const response = await fetch(`http://localhost:${small.port}/hoard/${n}/fill?${query}`, {
        method: "POST",
      });
      expect(response.status).toBe(200);
      ownerOf.set(n, (await response.json()).owner);
      // As long as it takes a host to notice: its memory is looked at once a second.
      await Bun.sleep(25);
    }
    await look({ small, ownerOf });
  } finally {
    await Promise.all(hosts.map((host) => host.kill()));
    await sqld.stop();
  }
}

async function health(host: HostProcess): Promise<{ readonly hosts: number; readonly objects: number }> {
  return (await fetch(`http://localhost:${host.port}/-/health`)).json();
}

function heard(host: HostProcess, event: string) {
  return host.entries.filter((entry) => entry.event === event);
}

test.concurrent("H23 H24 a host that is full refuses more, lets go of what is idle, and goes on; nobody is refused elsewhere", async () => {
  await fill("", async ({ small, ownerOf }) => {
    expect(new Set(ownerOf.values()).size).toBe(2);
    // Twice as long as two rounds of the guard take: a look, a collection, a look, and what was let go has time to show.
    await until("it is under its low mark", () => heard(small, "memory.under_low_mark").length > 0, 90_000);
    expect(heard(small, "memory.idle_objects_stop").length).toBeGreaterThan(0);
    expect((await fetch(`http://localhost:${small.port}/hoard/new`)).status).toBe(200);
  });
}, 150_000);

test.concurrent("H24 H25 what is busy is moved away instead, whole, a few a minute", async () => {
  await fill("awake=yes", async ({ small, ownerOf }) => {
    const moved = await until(
      "objects are moved for lack of memory",
      () => {
        const moves = heard(small, "object.moved").filter(({ reason }) => reason === "memory");
        return moves.length >= 3 && moves;
      },
      40_000,
    );
    for (const { object } of moved) {
      const response = await fetch(`http://localhost:${small.port}/${String(object)}`);
      const { bytes, owner } = await response.json();
      expect([bytes, owner]).toEqual([2 * 1024 * 1024, "nrt-1"]);
    }
    expect(heard(small, "memory.idle_objects_stop")).toEqual([]);
    expect((await health(small)).objects).toBeGreaterThan(ownerOf.size / 3); // the rest waits for its turn
  });
}, 90_000);
