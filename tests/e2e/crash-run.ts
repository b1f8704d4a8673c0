import { HostProcess } from "../support/host-process.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";
import { TallyBook } from "./tally-book.ts";
import { checkCounters } from "./tally-check.ts";
import { runTallyClient } from "./tally-client.ts";

export interface CrashPlan {
  readonly seed: number;
  readonly hosts: number;
  readonly counters: number;
  readonly kills: number;
  readonly clients: number;
}

/** What `bun run crash` does where it is told nothing else; a test does with `testKills`. */
export const crashPlan: Omit<CrashPlan, "seed"> = { hosts: 3, counters: 100, kills: 30, clients: 16 };
export const testKills = 12;

/** Short, so that what a killed host had is soon elsewhere. */
export const crashLeaseTtlMs = 1_000;
const regions = ["iad", "ams", "nrt", "fra", "syd", "gru", "sin", "jnb"];
export const crashHostsMax = regions.length;
const recoveryLimitMs = 30_000;

/** How often another host is frozen at the moment of a kill, and wakes in a world that may have gone on without it. */
const freezeShare = 0.25;

/** One kill, as the seed has it. */
interface Kill {
  readonly host: number;
  /** After the kill before it. None: two hosts fall together. */
  readonly gapMs: number;
  readonly restartAfterMs: number;
  readonly freeze: { readonly host: number; readonly forMs: number } | undefined;
}

export interface CrashReport {
  readonly lines: readonly string[];
  readonly violations: readonly string[];
}

/**
 * Real hosts that share counters, clients that increment them, and somebody who kills the hosts with `kill -9`, and freezes
 * one now and then. Which of them when, and what each client does, comes from the seed; how it all meets is the machine's.
 */
export async function runCrash(plan: CrashPlan): Promise<CrashReport> {
  const random = new SeededRandom(plan.seed);
  const kills = killsOf(plan, random.fork());
  const sqld = await Sqld.start();
  const hosts = regions.slice(0, plan.hosts).map((region) => hostAt(region, sqld));
  const book = new TallyBook();
  const stop = new AbortController();
  const startedAtMs = performance.now();
  try {
    await Promise.all(hosts.map((host) => host.run()));
    const clients = Array.from({ length: plan.clients }, (_, index) =>
      runTallyClient({
        ...{ name: `client${index}`, hosts, counters: plan.counters, book },
        ...{ random: random.fork(), stop: stop.signal },
      }),
    );
    const restarts = await killAll(kills, hosts, book).finally(() => stop.abort());
    await Promise.all([...clients, ...restarts]);
    await checkCounters(plan.counters, hosts, book, "at the end");
    // And what nobody has in memory any more.
    await Promise.all(hosts.map((host) => host.kill()));
    hosts.push(hostAt("reader", sqld));
    await hosts.at(-1)?.run();
    await checkCounters(plan.counters, hosts.slice(-1), book, "after all hosts were killed");
  } finally {
    stop.abort();
    await Promise.all(hosts.map((host) => host.kill()));
    await sqld.stop();
  }
  return { lines: figures(plan, kills, book, performance.now() - startedAtMs), violations: book.violations };
}

function hostAt(region: string, sqld: Sqld): HostProcess {
  return new HostProcess({
    ...{ region, directoryUrl: sqld.httpUrl, objectsFolder: "tests/e2e/objects" },
    leaseTtlMs: crashLeaseTtlMs,
  });
}

function killsOf({ kills, hosts }: CrashPlan, random: SeededRandom): Kill[] {
  return Array.from({ length: kills }, () => ({
    host: random.between(0, hosts - 1),
    gapMs: random.isLucky(0.15) ? 0 : random.between(300, 1_900),
    restartAfterMs: random.between(0, 800),
    freeze: random.isLucky(freezeShare)
      ? { host: random.between(0, hosts - 1), forMs: random.between(200, 2_500) }
      : undefined,
  }));
}

async function freezeFor(host: HostProcess | undefined, forMs: number): Promise<void> {
  host?.freeze();
  await Bun.sleep(forMs);
  host?.thaw();
}

/** Resolves after the last kill, with what brings the hosts back. */
async function killAll(
  kills: readonly Kill[],
  hosts: readonly HostProcess[],
  book: TallyBook,
): Promise<Promise<void>[]> {
  const restarts: Promise<void>[] = [];
  for (const { host: index, gapMs, restartAfterMs, freeze } of kills) {
    await Bun.sleep(gapMs); // the seed's: when, not what for
    const host = hosts[index];
    if (host === undefined) throw new Error(`There is no host ${index}.`);
    if (freeze !== undefined) restarts.push(freezeFor(hosts[freeze.host], freeze.forMs));
    await until(`${host.id} is back`, () => host.isReady, recoveryLimitMs);
    book.ownerKilled(host.id, performance.now());
    await host.kill();
    const restart = Bun.sleep(restartAfterMs).then(() => host.run());
    restart.catch(() => undefined); // Whoever waits for it is told.
    restarts.push(restart);
  }
  return restarts;
}

function figures(plan: CrashPlan, kills: readonly Kill[], book: TallyBook, tookMs: number): string[] {
  const freezes = kills.filter(({ freeze }) => freeze !== undefined).length;
  const { operations, acknowledged, reads, retries, repeats, failures, outagesMs } = book;
  const outages = outagesMs.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(outages[Math.floor((outages.length - 1) * share)] ?? 0);
  const codes = Array.from(failures, ([code, count]) => `${code} ${count}`).join(", ");
  return [
    `${plan.hosts} hosts, ${plan.counters} counters, ${plan.kills} kills, ${freezes} freezes, ${Math.round(tookMs / 1000)} s`,
    `increments: ${operations} sent, ${acknowledged} acknowledged, ${repeats} duplicates prevented; ${reads} reads`,
    `attempts that were repeated: ${retries} (${codes})`,
    `a killed host's counters were away for ${at(0.5)} ms (median), ${at(0.99)} ms (99 %), ${at(1)} ms at most; lease time ${crashLeaseTtlMs} ms`,
  ];
}

/** The line that replays a run. */
export function replayLine({ seed, kills, hosts, counters, clients }: CrashPlan): string {
  return `bun run crash --seed ${seed} --kills ${kills} --hosts ${hosts} --counters ${counters} --clients ${clients}`;
}
