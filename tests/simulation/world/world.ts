import type { SqlConnection } from "../../../infra/lease/sql-connection.ts";
import { StatefulError } from "../../../infra/lib/errors.ts";
import type { LogFields } from "../../../infra/lib/log.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { witness } from "../classes.ts";
import { FenceCheck } from "../checks/fence-check.ts";
import { OneCopyCheck } from "../checks/one-copy-check.ts";
import type { Connection, Place } from "./connection.ts";
import { carry, type Outcome } from "./dial.ts";
import {
  DirectoryConnection,
  directoryPlace,
  noStorm,
  replicaPlace,
  type Storm,
} from "./directory-connection.ts";
import { Network } from "./network.ts";
import { Primary } from "./primary.ts";
import type { Scheduler } from "./scheduler.ts";
import { SimulatedHost } from "./simulated-host.ts";
import { SimulatedProcess } from "./simulated-process.ts";
import type { SqlDatabase } from "./sql-database.ts";

/** What a seed decides about a run before it begins. */
export interface WorldSettings {
  readonly seed: number;
  readonly hosts: number;
  readonly leaseTtlMs: number;
  readonly heartbeatMs: number;
  readonly hasReplica: boolean;
  /** Clocks leave the bounds that the promises assume: then only what is stored is held to be right. */
  readonly beyondBounds: boolean;
  /** Nothing happens but what no message of a socket may be lost by: moves, drains, broken connections and slow ways. */
  readonly isGentle: boolean;
  /** Every process ends at the end, and what is looked at is what was stored. */
  readonly endsDark: boolean;
}

/** What the promises assume of clocks. */
export const assumed = {
  /** Of both clocks of a host, and of the primary's, against true time. The margin is a ninth of the lease time. */
  rateOff: 0.01,
  skewMs: 5_000,
} as const;

const regionsOfHosts = ["iad", "ams", "nrt", "iad"] as const;
/** One way, in ms. The directory stands in iad. */
const distances: Readonly<Record<string, number>> = { "ams iad": 40, "iad nrt": 75, "ams nrt": 110 };
const nearMs = 1;

/** Everything that a run consists of, and how its parts find each other. It is a stage: what happens on it is decided elsewhere. */
export class World {
  readonly settings: WorldSettings;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly primary: Primary;
  readonly hosts = new Map<string, SimulatedHost>();
  /** Those on which more than one message travels. */
  readonly connections = new Set<Connection>();
  readonly clients: SimulatedProcess;
  readonly oneCopy: OneCopyCheck;
  readonly violations: string[] = [];
  /** What was done and seen, line by line, where somebody wants to read it. */
  readonly lines: string[] | undefined;
  storm: Storm = noStorm;
  /** Whether a message of a socket may be lost while its connection lives. */
  mayLoseMessages: boolean;
  /** How much longer answers of the directory take to a host. */
  readonly slowAnswers = new Map<string, number>();
  readonly #regions = new Map<string, string>();

  constructor(
    settings: WorldSettings,
    scheduler: Scheduler,
    databases: { readonly primary: SqlDatabase; readonly replica: SqlDatabase },
    isTold: boolean,
  ) {
    this.settings = settings;
    this.scheduler = scheduler;
    this.mayLoseMessages = !settings.isGentle;
    this.lines = isTold ? [] : undefined;
    this.random = new SeededRandom(settings.seed ^ 0x5eed);
    this.network = new Network(scheduler, this.random.fork(), (from, to) => this.#distanceMs(from, to));
    const replica = settings.hasReplica ? databases.replica : undefined;
    this.primary = new Primary(scheduler, { primary: databases.primary, replica }, this.#rate());
    this.clients = new SimulatedProcess("clients", scheduler, { skewMs: 0, rate: 1 });
    this.oneCopy = new OneCopyCheck(this);
    this.primary.fence = new FenceCheck(this.primary, (what) => this.violation(`fencing: ${what}`));
    this.primary.onLeases = (leases) => this.oneCopy.leasesChanged(leases);
    witness.accepted = (key, hostId) => this.oneCopy.accepted(key, hostId);
    for (let index = 0; index < settings.hosts; index += 1) this.#addHost(index);
    this.#regions.set(directoryPlace, "iad").set(replicaPlace, "nrt");
  }

  get isTold(): boolean {
    return this.lines !== undefined;
  }

  journal(line: string): void {
    this.lines?.push(`${this.scheduler.nowMs.toFixed(1).padStart(9)} ${line}`);
  }

  violation(what: string): void {
    this.journal(`VIOLATION ${what}`);
    if (this.violations.length < 20)
      this.violations.push(`at ${this.scheduler.nowMs.toFixed(1)} ms: ${what}`);
  }

  logged(host: string, level: string, event: string, fields: LogFields | undefined): void {
    if (this.isTold) this.journal(`${host} ${level} ${event} ${brief(fields)}`);
    this.oneCopy.logged(host, event, fields);
    // A host that goes away, and that no other could take an object from in its time.
    const isLeftBehind = event === "object.stopped" || event === "object.not_moved";
    if (isLeftBehind && fields?.reason === "drain") this.mayLoseMessages = true;
    // What can happen to a host has a code; anything else would be a bug anywhere.
    if (level === "error" && isBug(fields?.error))
      this.violation(`${host} logged ${event}: ${brief(fields)}`);
  }

  /** A place for a client, near the hosts of a region. */
  clientPlace(name: string, region: string): Place {
    this.#regions.set(name, region);
    return { name, process: this.clients };
  }

  connect(from: Place, hostName: string, request: Request, outcome: Outcome): void {
    carry(this, from, hostName, request, outcome);
  }

  directoryConnection(
    of: Pick<
      ConstructorParameters<typeof DirectoryConnection>[0],
      "process" | "place" | "timeLimitMs" | "isReplica"
    >,
  ): SqlConnection {
    const { scheduler, network, primary } = this;
    return new DirectoryConnection({
      ...{ ...of, scheduler, network, primary, random: this.random.fork() },
      storm: () => this.storm,
      slowAnswers: this.slowAnswers,
    });
  }

  #addHost(index: number): void {
    const region = regionsOfHosts[index % regionsOfHosts.length] ?? "iad";
    const name = `${region}-${index + 1}`;
    const { beyondBounds } = this.settings;
    const skewMs = (2 * this.random.next() - 1) * assumed.skewMs * (beyondBounds ? 2 : 1);
    this.#regions.set(name, region);
    this.hosts.set(name, new SimulatedHost(this, name, region, { skewMs, rate: this.#rate() }));
  }

  #rate(): number {
    const off = assumed.rateOff * (this.settings.beyondBounds ? 15 : 1);
    return 1 + (2 * this.random.next() - 1) * off;
  }

  #distanceMs(from: string, to: string): number {
    const regions = [this.#regions.get(from) ?? "iad", this.#regions.get(to) ?? "iad"].sort();
    return distances[regions.join(" ")] ?? nearMs;
  }
}

function isBug(error: unknown): boolean {
  return error instanceof Error && !(error instanceof StatefulError && error.code !== "internal");
}

function brief(fields: LogFields | undefined): string {
  if (fields === undefined) return "";
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${shortOf(value)}`);
  return shown.join(" ").slice(0, 400);
}

function shortOf(value: unknown): string {
  if (value instanceof Error)
    return `${value.message}${value.cause === undefined ? "" : ` (${shortOf(value.cause)})`}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
