import { afterEach, beforeEach, expect, test } from "bun:test";
import { processOfSession } from "../../infra/lease/session-id.ts";
import { sweepIntervalMs } from "../../infra/storage/alarm-sweeper.ts";
import type { HostProcess } from "../support/host-process.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { slowest } from "../support/slowness.ts";
import { until } from "../support/wait.ts";
import type { Rung } from "./objects/chime.ts";
import { ask, Stage, type StoredSession, type Tenure } from "./stage.ts";

const seed = seedFrom("ALARMS_SEED");
/** How many times as much as the ordinary tests do, in as many times as long: see `bun run alarms`. */
const scale = Number(process.env.ALARMS_SCALE ?? 1);
const objects = 40 * scale;
const alarmsEach = 10;
const kills = 4 * scale;
/** Twice as long as elsewhere: many cold starts at once hold a host up. */
const alarmLeaseTtlMs = 6_000;
/** Set before the first is due, on most machines. */
const firstAfterMs = 2_500;
const spreadMs = 8_000 * scale;
/** Of the object that sleeps: between two passes of a sweep, with the jitter. */
const sweepMsMax = 1.2 * sweepIntervalMs;
/**
 * How late an alarm may be once there is a host to fire it: until a sweep finds it, and what waking and firing take, which are
 * a query and two commits among those of all that is woken with it. That is counted in cold starts with a write on the same
 * hosts at the same time, of which the slowest says how slow the machine was.
 */
const lateMsMax = (slowestStartMs: number) => sweepMsMax + Math.max(800, 4 * slowestStartMs);
/** Of an attempt that was cut off: when the next one comes, at most (`alarmBackoffMs`). */
const backoffMsMax = (attempt: number) => 1_250 * 2 ** (attempt - 1);

let stage: Stage;
beforeEach(async () => {
  stage = await Stage.open();
});
afterEach(() => stage.close());

/** When the process of this host id was killed. */
type Deaths = ReadonlyMap<string, number>;

/** An object's alarms, and how they fired. */
interface Chime {
  readonly id: string;
  readonly dueAtMs: Readonly<Record<string, number>>;
  /** When all were set, at the latest. */
  readonly setAtMs: number;
  rung: readonly Rung[];
}

test(`A1 A2 ${objects * alarmsEach} alarms of ${objects} objects all fire, in time, with ${kills} kill -9 of three hosts (seed ${seed})`, async () => {
  const random = new SeededRandom(seed);
  const hosts = await Promise.all(
    ["iad", "ams", "nrt"].map((region) => stage.host(region, { leaseTtlMs: alarmLeaseTtlMs })),
  );
  await stage.recordTenures("chime");
  const firstAtMs = Date.now() + firstAfterMs;
  const chimes = await Promise.all(
    Array.from({ length: objects }, (_, n) => setAlarms(random.pick(hosts), `c${n}`, firstAtMs, random)),
  );
  const haveFired = new AbortController();
  let starts = 0;
  const starting = slowest(() => coldStart(hosts, starts++), haveFired.signal);
  const deaths = await killNowAndThen(hosts, random.fork(), firstAtMs);
  await until("all have fired", async () => (await stage.alarmsLeft("chime")) === 0, spreadMs + 30_000);
  haveFired.abort();
  const slowestStartMs = await starting;
  for (const chime of chimes) chime.rung = await rungOf(random.pick(hosts), `/chime/${chime.id}`);

  const [tenures, sessions] = [await stage.tenures(), await stage.sessions()];
  const lateness = chimes.flatMap((chime) => {
    const ofObject = tenures.filter(({ id }) => id === chime.id);
    return latenessOf(chime, lossesOf(ofObject, sessions, deaths));
  });
  const ofFresh = lateness.filter(({ isOrphan }) => !isOrphan).map(({ lateMs }) => lateMs);
  const ofOrphans = lateness.filter(({ isOrphan }) => isOrphan).map(({ lateMs }) => lateMs);
  const firings = chimes.reduce((count, { rung }) => count + rung.length, 0);
  const again = chimes.flatMap(({ rung }) => rung).filter(({ attempt }) => attempt > 1).length;
  console.log(
    `alarms: seed ${seed}, ${objects * alarmsEach} set, ${deaths.size} kills: ${firings - lateness.length} fired twice, ${again} after an attempt that was cut off; late by ${max(ofFresh)} ms at most, and ${max(ofOrphans)} ms after the lease of a killed host (${ofOrphans.length}); the slowest cold start took ${slowestStartMs} ms`,
  );
  for (const { rung } of chimes) expect(new Set(rung.map(({ name }) => name)).size).toBe(alarmsEach);
  // A host that was killed keeps what it had for a lease; which that was is told from outside, and not of every object.
  const limitMs = lateMsMax(slowestStartMs);
  expect(lateness.filter(({ lateMs }) => lateMs > alarmLeaseTtlMs + limitMs)).toEqual([]);
  expect(median(ofFresh)).toBeLessThanOrEqual(limitMs);
  expect(median(ofOrphans)).toBeLessThanOrEqual(limitMs);
  expect(lateness.filter(({ earlyMs }) => earlyMs > 0)).toEqual([]);
}, 120_000);

/** Set twice is set once: so they are set again where a host lost its session meanwhile, and cannot say whether they are. */
async function setAlarms(
  host: HostProcess,
  id: string,
  firstAtMs: number,
  random: SeededRandom,
): Promise<Chime> {
  const dueAtMs = Object.fromEntries(
    Array.from({ length: alarmsEach }, (_, n) => [`a${n}`, firstAtMs + random.between(0, spreadMs)]),
  );
  await until(`the alarms of ${id} are set`, async () => {
    const { status } = await ask(host, `/chime/${id}`, "POST", undefined, dueAtMs);
    expect(status).toBeOneOf([200, 502, 503]);
    return status === 200;
  });
  return { id, dueAtMs, setAtMs: Date.now(), rung: [] };
}

/** Starts an object at one of the hosts that are up, and writes to it. */
async function coldStart(hosts: readonly HostProcess[], n: number): Promise<boolean> {
  const host = hosts[n % hosts.length];
  return host?.isReady === true && (await ask(host, `/ledger/probe${n}/entry`)).status === 200;
}

/** Spread over the time in which alarms are due. Each host is back before the next one falls. */
async function killNowAndThen(
  hosts: readonly HostProcess[],
  random: SeededRandom,
  firstAtMs: number,
): Promise<Deaths> {
  const deaths = new Map<string, number>();
  const times = Array.from({ length: kills }, () => firstAtMs + random.between(0, spreadMs)).sort(
    (a, b) => a - b,
  );
  for (const atMs of times) {
    const host = random.pick(hosts);
    await Bun.sleep(Math.max(0, atMs - Date.now())); // the seed's: when, not what for
    deaths.set(host.id, Date.now());
    await host.kill();
    await host.run();
  }
  return deaths;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function rungOf(host: HostProcess, path: string): Promise<readonly Rung[]> {
  return until(`${path} answers`, async () => {
    const answer = await ask(host, path, "GET");
    return answer.status === 200 && (answer.rung as readonly Rung[]); // as the class answers
  });
}

/** An object whose host was killed, or stood still for longer than its lease, had nobody for a while. */
interface Loss {
  /** Since when it had this host. */
  readonly sinceMs: number;
  /** When the host was gone: no attempt began after that. */
  readonly goneAtMs: number;
  /** From when on somebody else could have it. */
  readonly freeAtMs: number;
}

/** What the rows of an object's lease, in order, say of the hosts that did not give it up. */
function lossesOf(
  tenures: readonly Tenure[],
  sessions: ReadonlyMap<string, StoredSession>,
  deaths: Deaths,
): Loss[] {
  return tenures.flatMap(({ session, atMs }, index) => {
    const [held, next] = [sessions.get(session), tenures[index + 1]];
    if (held === undefined || next === undefined) return [];
    const isBack = next.session !== "" && processOfSession(next.session) === processOfSession(session);
    if (!isBack && held.expiresAtMs > next.atMs) return [];
    const freeAtMs = isBack ? next.atMs : whenTakeable(held, sessions);
    return [{ sinceMs: atMs, goneAtMs: deaths.get(held.hostId) ?? next.atMs, freeAtMs }];
  });
}

/** From when on there was somebody who may take what this session had: heard for all of its time to live (L9). */
function whenTakeable(gone: StoredSession, sessions: ReadonlyMap<string, StoredSession>): number {
  const nowMs = Date.now();
  const times = [...sessions.values()].flatMap(({ steadySinceMs, isEnded, expiresAtMs, ttlMs }) => {
    const atMs = Math.max(gone.expiresAtMs, steadySinceMs + gone.ttlMs);
    // Of one that was killed nobody may have said so yet.
    const isAlive = !isEnded && expiresAtMs > nowMs;
    return isAlive || atMs <= expiresAtMs - ttlMs ? [atMs] : [];
  });
  return Math.min(...times);
}

interface Lateness {
  readonly object: string;
  readonly name: string;
  readonly lateMs: number;
  readonly earlyMs: number;
  readonly attempt: number;
  /** Its object had nobody when it was due, or lost its host before it could fire. */
  readonly isOrphan: boolean;
}

/**
 * How late each alarm was, at its first firing, from when a host could have fired it: when it was due, and set; where its
 * object had lost its host, not before the next could have it; and, where that host had begun to fire it, not before the next
 * attempt.
 */
function latenessOf({ id, dueAtMs, setAtMs, rung }: Chime, losses: readonly Loss[]): Lateness[] {
  const inOrder = rung.toSorted((a, b) => a.atMs - b.atMs);
  const firsts = inOrder.filter(
    ({ name }, index) => inOrder.findIndex((other) => other.name === name) === index,
  );
  return firsts.map(({ name, atMs, attempt }) => {
    const due = dueAtMs[name] ?? Number.NaN;
    const relevant = losses.filter(({ sinceMs, freeAtMs }) => freeAtMs > due && sinceMs < atMs);
    const free = relevant.map(({ goneAtMs, freeAtMs }) =>
      Math.max(freeAtMs, attempt > 1 ? goneAtMs + backoffMsMax(attempt - 1) : 0),
    );
    const possibleAtMs = Math.max(due, setAtMs, ...free);
    return {
      ...{ object: id, name, attempt, isOrphan: free.length > 0 },
      ...{ lateMs: atMs - possibleAtMs, earlyMs: due - atMs },
    };
  });
}

function max(numbers: readonly number[]): number {
  return Math.max(0, ...numbers);
}
