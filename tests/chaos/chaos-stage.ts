import { mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "../continuity/stage.ts";
import { adminToken } from "../support/admin-token.ts";
import { HostProcess } from "../support/host-process.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";
import { pidsFile, startJanitor } from "./janitor.ts";
import { type Means, missingMeans } from "./means.ts";
import { Network } from "./network.ts";
import { SmallDisk } from "./small-disk.ts";
import { removeClockRemains, WrongClock } from "./wrong-clock.ts";

/** Short, so that what a lost host had is soon elsewhere; and no shorter than a busy machine may let a host stand still. */
export const leaseTtlMs = 2_000;
/** What the primary's clock may jump ahead by (L3). */
export const marginMs = leaseTtlMs / 9;
/** Longest until all is available again after a fault. */
export const recoveryLimitMs = 60_000;
const heartbeatMs = 500;
const regions = ["iad", "ams", "nrt"];
const primaryIndex = regions.length;
const replicaIndex = primaryIndex + 1;

/** A process of the stage. */
export type Station = HostProcess | "primary" | "replica";

/** Three hosts, the primary and a replica, each process in a network namespace of its own; and everything that can befall them. */
export class ChaosStage {
  readonly hosts: HostProcess[] = [];
  readonly without: readonly Means[];
  readonly #closing: (() => unknown)[] = [];
  readonly #servers = new Map<"primary" | "replica", Sqld>();
  readonly #clocks: WrongClock[] = [];
  /** Of all processes that there have been. */
  readonly #pids = new Set<number>();
  readonly #folder = mkdtempSync(join(tmpdir(), "chaos-"));
  #network: Network | undefined;
  #disk: SmallDisk | undefined;

  private constructor(without: readonly Means[]) {
    this.without = without;
  }

  /** With all means that the machine has. */
  static async open(): Promise<ChaosStage> {
    const stage = new ChaosStage([...missingMeans().keys()]);
    try {
      await stage.#build();
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  get network(): Network {
    return present(this.#network);
  }
  get disk(): SmallDisk {
    return present(this.#disk);
  }
  get primary(): Sqld {
    return this.server("primary");
  }
  server(name: "primary" | "replica"): Sqld {
    return present(this.#servers.get(name));
  }

  /** Nothing that one of the two sends reaches the other; of the result, heals it. */
  async cut(a: Station, b: Station, direction: "both" | "a to b" = "both"): Promise<() => Promise<void>> {
    const there = [this.#indexOf(a), this.#indexOf(b)] as const;
    const ways = direction === "both" ? [there, [there[1], there[0]] as const] : [there];
    for (const [from, to] of ways) await this.network.cut(from, to);
    return async () => {
      for (const [from, to] of ways) await this.network.heal(from, to);
    };
  }

  slow(station: Station): Promise<() => Promise<void>> {
    return this.network.slow(this.#indexOf(station));
  }

  lose(station: Station, share: number): Promise<() => Promise<void>> {
    return this.network.lose(this.#indexOf(station), share);
  }

  /** Sets a host's wall clock that far ahead of the machine's. */
  async shiftHost(host: HostProcess, aheadMs: number): Promise<void> {
    await present(this.#clocks[this.#indexOf(host)]).shift(aheadMs);
  }

  /** The primary's wall clock jumps by that much, from where it is. */
  async stepPrimary(byMs: number): Promise<void> {
    const clock = present(this.#clocks[primaryIndex]);
    await clock.shift(clock.aheadMs + byMs);
  }

  /** The primary's wall clock runs so many times as fast; the result ends that. */
  runPrimaryClock(pace: number): Promise<() => Promise<void>> {
    return present(this.#clocks[primaryIndex]).run(pace, this.primary.startedAtMs);
  }

  async runServer(name: "primary" | "replica"): Promise<void> {
    await this.server(name).run();
    this.#notePids();
  }

  async runHost(host: HostProcess): Promise<void> {
    await host.run();
    this.#notePids();
  }

  /** As a service manager would: a server that has ended by itself is run again. Resolves with those that had. */
  async revive(): Promise<string[]> {
    const ended = [...this.#servers].flatMap(([name, server]) => (server.hasEnded ? [name] : []));
    for (const name of ended) await this.runServer(name);
    return ended;
  }

  /** The hosts but these, which are up. */
  others(...left: readonly HostProcess[]): HostProcess[] {
    return this.hosts.filter((host) => host.isReady && !left.includes(host));
  }

  /** Undefined where nobody says so within `limitMs`. */
  async owner(object: string, limitMs = 5_000): Promise<HostProcess | undefined> {
    const signal = AbortSignal.timeout(limitMs);
    const answers = await Promise.all(this.others().map((host) => ask(host, `/${object}`, { signal })));
    const owners = answers.map(({ owner }) => this.hosts.find(({ id }) => id === owner));
    return owners.find((owner) => owner !== undefined);
  }

  /** Whether a move that is asked for through `via` came about. */
  async move(object: string, to: HostProcess, via: HostProcess): Promise<boolean> {
    const { status } = await ask(via, `/-/objects/${object}/move`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
      body: JSON.stringify({ host: to.id }),
    });
    return status === 200;
  }

  /** Until every host has heard of all others. */
  async allKnowAll(): Promise<void> {
    await until(
      "the hosts know each other",
      async () => {
        const known = await Promise.all(this.hosts.map(async (host) => (await ask(host, "/-/health")).hosts));
        return known.every((count) => count === this.hosts.length);
      },
      recoveryLimitMs,
    );
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
  }

  async #build(): Promise<void> {
    this.#closing.push(() => rm(this.#folder, { recursive: true }));
    const network = await Network.open(replicaIndex + 1);
    this.#network = network;
    this.#closing.push(() => network.close());
    if (!this.without.includes("disk")) {
      const disk = await SmallDisk.open();
      this.#disk = disk;
      this.#closing.push(() => disk.close());
    }
    const { bridge, namespaces } = network;
    const remains = { bridge, namespaces, disk: this.#disk?.folder ?? "", folder: this.#folder };
    this.#closing.push(startJanitor(remains));
    for (let index = 0; index <= primaryIndex && !this.without.includes("clocks"); index += 1)
      this.#clocks.push(await WrongClock.open(join(this.#folder, `clock-${index}`)));
    this.#closing.push(() => {
      for (const pid of this.#pids) removeClockRemains(pid);
    });
    const folder = this.#disk === undefined ? {} : { folder: this.#disk.folder };
    const place = { ...network.place(primaryIndex), env: this.#clockOf(primaryIndex), ...folder };
    const primary = await Sqld.start(undefined, place);
    this.#servers.set("primary", primary);
    this.#closing.push(() => primary.stop());
    const replica = await Sqld.start(primary, network.place(replicaIndex));
    this.#servers.set("replica", replica);
    this.#closing.push(() => replica.stop());
    for (const [index, region] of regions.entries()) {
      const host = this.#hostAt(index, region, primary.httpUrl, replica.httpUrl);
      this.hosts.push(host);
      this.#closing.push(() => host.kill());
    }
    await Promise.all(this.hosts.map((host) => this.runHost(host)));
    await this.allKnowAll();
  }

  #hostAt(index: number, region: string, directoryUrl: string, replicaUrl: string): HostProcess {
    const { address, runner } = this.network.place(index);
    return new HostProcess({
      ...{ region, address, runner, directoryUrl, leaseTtlMs, objectsFolder: "tests/chaos/objects" },
      env: {
        STATEFUL_ADMIN_TOKEN: adminToken,
        STATEFUL_HEARTBEAT_MS: String(heartbeatMs),
        STATEFUL_LOG: process.env.CHAOS_LOGS ?? "info",
        LIBSQL_REPLICA_URL: replicaUrl,
        ...this.#clockOf(index),
      },
    });
  }

  #clockOf(index: number): Readonly<Record<string, string>> {
    return this.#clocks[index]?.env ?? {};
  }

  #notePids(): void {
    for (const { pid } of [...this.hosts, ...this.#servers.values()]) this.#pids.add(pid);
    writeFileSync(join(this.#folder, pidsFile), [...this.#pids].join("\n"));
  }

  #indexOf(station: Station): number {
    if (station === "primary") return primaryIndex;
    return station === "replica" ? replicaIndex : this.hosts.indexOf(station);
  }
}

function present<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("This machine, or this stage, does not have it.");
  return part;
}
