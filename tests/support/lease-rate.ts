import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { LeaseHost } from "./lease-host.ts";
import { Sqld } from "./sqld.ts";

/** Acquisitions of fresh objects per second by one host, all asked for in one turn: `bun tests/support/lease-rate.ts`. */
const rounds = 5;
const folder = await mkdtemp(join(tmpdir(), "lease-rate-"));
const sqld = await Sqld.start();
try {
  await measure("sqld over http", sqld.httpUrl);
  await measure("sqld over ws", sqld.wsUrl);
  await measure("file", `file:${join(folder, "directory.db")}`);
} finally {
  await sqld.stop();
  await rm(folder, { recursive: true, force: true });
}

async function measure(name: string, url: string): Promise<void> {
  const directory = connectDirectory({ url });
  const host = await LeaseHost.start(directory);
  for (const count of [1, 1_000, 20_000]) {
    const rates: number[] = [];
    for (let round = 0; round < rounds; round += 1) rates.push(await rateOf(host, count));
    const median = rates.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
    console.log(`${name}: ${Math.round(median)} acquisitions/s with ${count} at once (median of ${rounds})`);
  }
  await host.leases.stop();
  await directory.close();
}

async function rateOf(host: LeaseHost, count: number): Promise<number> {
  const salt = crypto.randomUUID();
  const objects = Array.from({ length: count }, (_, n) => objectRef("room", `${n}-${salt}`));
  const startMs = performance.now();
  await Promise.all(objects.map((object) => host.leases.acquire(object, "free")));
  return (count / (performance.now() - startMs)) * 1_000;
}
