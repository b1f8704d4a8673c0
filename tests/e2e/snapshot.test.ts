import { afterEach, beforeEach, expect, test } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import { type Answer, ask, Stage } from "./stage.ts";

/** What a class with `durability: "snapshot"` may lose, as `infra/object/options.ts` states it. */
const lossMsMax = 5_000;
const objects = 20;
/** Objects start one after the other, so that they are saved at different times. */
const startEveryMs = 150;
/** Between two rounds: far more often than they are saved, and not as fast as the machine can, which others need as well. */
const changeEveryMs = 30;
const busyClients = 4;
const seed = seedFrom("SNAPSHOT_SEED");

let stage: Stage;
let stop: AbortController;
let hosts: readonly [owner: HostProcess, other: HostProcess];
beforeEach(async () => {
  stage = await Stage.open();
  stop = new AbortController();
  stage.onClose(() => stop.abort());
  hosts = await Promise.all([stage.host("iad"), stage.host("ams")]);
});
afterEach(() => stage.close());

/** Changes all objects again and again until told to stop. Resolves with what each was told last. */
async function changeAll(host: HostProcess): Promise<Map<string, Answer>> {
  const told = new Map<string, Answer>();
  const startedAtMs = performance.now();
  while (!stop.signal.aborted) {
    const started = Math.ceil((performance.now() - startedAtMs) / startEveryMs);
    for (let n = 0; n < Math.min(started, objects); n += 1) await change(host, `/drift/d${n}`, told);
    await Bun.sleep(changeEveryMs);
  }
  return told;
}

async function change(host: HostProcess, path: string, told: Map<string, Answer>): Promise<void> {
  if (stop.signal.aborted) return;
  const answer = await ask(host, path);
  if (stop.signal.aborted) return; // Maybe killed by now.
  if (answer.status !== 200 || answer.owner !== host.id)
    throw new Error(`${path}: ${JSON.stringify(answer)}`);
  told.set(path, answer);
}

/** Several clients at once, so that the object always has something under way. */
async function keepBusy(host: HostProcess, path: string): Promise<void> {
  const client = async () => {
    const told = new Map<string, Answer>();
    while (!stop.signal.aborted) await change(host, path, told);
  };
  await Promise.all(Array.from({ length: busyClients }, client));
}

function recovered(host: HostProcess, path: string): Promise<Answer> {
  return until(
    `${path} is served by ${host.id}`,
    async () => {
      const answer = await ask(host, path, "GET");
      return answer.status === 200 && answer.owner === host.id && answer;
    },
    15_000,
  );
}

/** Milliseconds between what the object has and the kill. */
async function lossOf(host: HostProcess, path: string, killedAtMs: number): Promise<number> {
  return killedAtMs - Number((await recovered(host, path)).atMs);
}

/** More than may be lost, so that a snapshot is due; how much more is the seed's. */
async function liveFor(random: SeededRandom): Promise<number> {
  const lifeMs = objects * startEveryMs + lossMsMax + random.between(200, 3_000);
  await Bun.sleep(lifeMs);
  return lifeMs;
}

test(`a snapshot class loses ${lossMsMax} ms at most with kill -9, whether it is changed once, often or in transactions (seed ${seed})`, async () => {
  const [owner, other] = hosts;
  const once = await ask(owner, "/drift/once");
  const changing = changeAll(owner);
  const busy = keepBusy(owner, "/drift/busy/busy");
  const lifeMs = await liveFor(new SeededRandom(seed));
  stop.abort();
  const killedAtMs = Date.now();
  await owner.kill();
  await busy;
  const paths = [...(await changing).keys()];
  const losses = await Promise.all(paths.map((path) => lossOf(other, path, killedAtMs)));
  const busyLoss = await lossOf(other, "/drift/busy", killedAtMs);
  losses.sort((a, b) => a - b);
  console.log(
    `snapshot: seed ${seed}, killed after ${lifeMs} ms: ${objects} objects lost ${losses[0]} to ${losses.at(-1)} ms, one that was always in a transaction ${busyLoss} ms`,
  );
  expect(paths.length).toBe(objects);
  expect(await recovered(other, "/drift/once")).toMatchObject({ changes: 1, atMs: once.atMs });
  expect(losses.at(-1)).toBeLessThanOrEqual(lossMsMax);
  expect(busyLoss).toBeLessThanOrEqual(lossMsMax);
}, 60_000);

test("a snapshot class is saved in time, also while its storage is never at rest", async () => {
  const [first, owner] = hosts;
  expect((await ask(first, "/drift/crowded/crowd")).owner).toBe(first.id);
  // Elsewhere most of it is not in memory, and has to be read.
  expect(await first.stop()).toBe(0);
  await recovered(owner, "/drift/crowded");
  const busy = keepBusy(owner, "/drift/crowded/delete");
  await Bun.sleep(lossMsMax + 500); // as long as may be lost, and a little more
  stop.abort();
  const killedAtMs = Date.now();
  await owner.kill();
  await busy;
  expect(await lossOf(await stage.host("nrt"), "/drift/crowded", killedAtMs)).toBeLessThanOrEqual(lossMsMax);
}, 60_000);

test("a snapshot class loses nothing when its host stops in order", async () => {
  const [owner, other] = hosts;
  const last = new Map<string, Answer>();
  for (let round = 0; round < 5; round += 1)
    for (let n = 0; n < objects; n += 1) await change(owner, `/drift/d${n}`, last);
  expect(await owner.stop()).toBe(0);
  expect(last.size).toBe(objects);
  for (const [path, { changes, atMs }] of last)
    expect(await recovered(other, path)).toMatchObject({ changes, atMs });
}, 60_000);
