import { afterEach, beforeEach, expect, test } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import type { Rung } from "./objects/chime.ts";
import { ask, leaseTtlMs, Stage } from "./stage.ts";

const seed = seedFrom("ALARMS_SEED");
const objects = 100;
const alarmsEach = 10;
const kills = 8;
/** Set before the first is due. */
const firstAfterMs = 2_500;
const spreadMs = 14_000;
/** How late an alarm may be once there is a host to fire it. */
const lateMsMax = 2_000;
/** Of an attempt that was cut off: when the next one comes, at most (`alarmBackoffMs`). */
const backoffMsMax = (attempt: number) => 1_250 * 2 ** (attempt - 1);

let stage: Stage;
beforeEach(async () => {
  stage = await Stage.open();
});
afterEach(() => stage.close());

interface Death {
  readonly owner: string;
  readonly atMs: number;
}

/** An object's alarms, who has set them, and how they fired. */
interface Chime {
  readonly path: string;
  readonly dueAtMs: Readonly<Record<string, number>>;
  readonly owner: string;
  rung: readonly Rung[];
}

test(`A1 A2 ${objects * alarmsEach} alarms of ${objects} objects all fire, in time, with ${kills} kill -9 of three hosts (seed ${seed})`, async () => {
  const random = new SeededRandom(seed);
  const hosts = await Promise.all(["iad", "ams", "nrt"].map((region) => stage.host(region)));
  const firstAtMs = Date.now() + firstAfterMs;
  const chimes = await Promise.all(
    Array.from({ length: objects }, (_, n) =>
      setAlarms(random.pick(hosts), `/chime/c${n}`, firstAtMs, random),
    ),
  );
  expect(Date.now()).toBeLessThan(firstAtMs);
  const deaths = await killNowAndThen(hosts, random.fork(), firstAtMs);
  await until("all have fired", async () => (await stage.alarmsLeft("chime")) === 0, spreadMs + 30_000);
  for (const chime of chimes) chime.rung = await rungOf(random.pick(hosts), chime.path);

  const lateness = chimes.flatMap((chime) => latenessOf(chime, deaths));
  const ofFresh = lateness.filter(({ isOrphan }) => !isOrphan).map(({ lateMs }) => lateMs);
  const ofOrphans = lateness.filter(({ isOrphan }) => isOrphan).map(({ lateMs }) => lateMs);
  const firings = chimes.reduce((count, { rung }) => count + rung.length, 0);
  const again = chimes.flatMap(({ rung }) => rung).filter(({ attempt }) => attempt > 1).length;
  console.log(
    `alarms: seed ${seed}, ${objects * alarmsEach} set, ${deaths.length} kills: ${firings - lateness.length} fired twice, ${again} after an attempt that was cut off; late by ${max(ofFresh)} ms at most, and ${max(ofOrphans)} ms after the lease of a killed host (${ofOrphans.length})`,
  );
  for (const { rung } of chimes) expect(new Set(rung.map(({ name }) => name)).size).toBe(alarmsEach);
  expect(lateness.filter(({ lateMs }) => lateMs > lateMsMax)).toEqual([]);
  expect(lateness.filter(({ earlyMs }) => earlyMs > 0)).toEqual([]);
}, 120_000);

async function setAlarms(
  host: HostProcess,
  path: string,
  firstAtMs: number,
  random: SeededRandom,
): Promise<Chime> {
  const dueAtMs = Object.fromEntries(
    Array.from({ length: alarmsEach }, (_, n) => [`a${n}`, firstAtMs + random.between(0, spreadMs)]),
  );
  const response = await fetch(host.url(path), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(dueAtMs),
  });
  expect(response.status).toBe(200);
  const { owner } = await response.json();
  return { path, dueAtMs, owner, rung: [] };
}

/** Spread over the time in which alarms are due. Each host is back before the next one falls. */
async function killNowAndThen(
  hosts: readonly HostProcess[],
  random: SeededRandom,
  firstAtMs: number,
): Promise<Death[]> {
  const deaths: Death[] = [];
  const times = Array.from({ length: kills }, () => firstAtMs + random.between(0, spreadMs)).sort(
    (a, b) => a - b,
  );
  for (const atMs of times) {
    const host = random.pick(hosts);
    await Bun.sleep(Math.max(0, atMs - Date.now())); // the seed's: when, not what for
    deaths.push({ owner: host.id, atMs: Date.now() });
    await host.kill();
    await host.run();
  }
  return deaths;
}

function rungOf(host: HostProcess, path: string): Promise<readonly Rung[]> {
  return until(
    `${path} answers`,
    async () => {
      const answer = await ask(host, path, "GET");
      return answer.status === 200 && (answer.rung as readonly Rung[]); // as the class answers
    },
    15_000,
  );
}

interface Lateness {
  readonly object: string;
  readonly name: string;
  readonly lateMs: number;
  readonly earlyMs: number;
  readonly attempt: number;
  /** Its host was killed before it could fire it. */
  readonly isOrphan: boolean;
}

/**
 * How late each alarm was, at its first firing, from when a host could have fired it: when it was due; where its object was
 * on a host that was killed, not before that host's lease was over; and, where that host had begun to fire it, not before the
 * next attempt.
 */
function latenessOf({ path, dueAtMs, owner, rung }: Chime, deaths: readonly Death[]): Lateness[] {
  const inOrder = rung.toSorted((a, b) => a.atMs - b.atMs);
  const firsts = inOrder.filter(
    ({ name }, index) => inOrder.findIndex((other) => other.name === name) === index,
  );
  return firsts.map(({ name, atMs, attempt }) => {
    const due = dueAtMs[name] ?? Number.NaN;
    const before = inOrder.findLast((other) => other.atMs < atMs && other.atMs < due);
    const first = deaths.find((death) => death.owner === (before?.owner ?? owner));
    // Whoever took it from there may have been killed as well.
    const relevant =
      first && first.atMs < atMs
        ? deaths.filter((death) => death.atMs >= first.atMs && death.atMs < atMs)
        : [];
    const orphaned = relevant.filter((death) => death.atMs + leaseTtlMs > due);
    const free = orphaned.map(
      (death) => death.atMs + Math.max(leaseTtlMs, attempt > 1 ? backoffMsMax(attempt - 1) : 0),
    );
    const possibleAtMs = Math.max(due, ...free);
    return {
      ...{ object: path, name, attempt, isOrphan: free.length > 0 },
      ...{ lateMs: atMs - possibleAtMs, earlyMs: due - atMs },
    };
  });
}

function max(numbers: readonly number[]): number {
  return Math.max(0, ...numbers);
}
