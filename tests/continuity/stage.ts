import { adminToken } from "../support/admin-token.ts";
import { HostProcess } from "../support/host-process.ts";
import { Sqld } from "../support/sqld.ts";
import { until } from "../support/wait.ts";
import { openWays, type Stop, type Ways } from "./ways.ts";

/** Short, so that a broken way is found in two seconds and not in eight. */
export const heartbeatMs = 500;
/**
 * Short, so that what a killed host had is soon elsewhere. In an outage that is longer everything that clients say waits: with
 * three seconds that was more than an object lets wait, and the sockets were closed for it, as they should be.
 */
export const leaseTtlMs = 1_000;
/** Where nobody may lose its session: a host that a busy machine lets stand still for a second has done nothing wrong. */
export const longLeaseTtlMs = 3_000;
const regions = ["iad", "ams", "nrt", "fra", "syd", "gru", "sin", "jnb"];
export const hostsMax = regions.length;
const answerLimitMs = 5_000;
export const recoveryLimitMs = 40_000;

export interface StageOptions {
  readonly hosts?: number;
  readonly leaseTtlMs?: number;
  /** From the root of the project; default: classes made for these tests, which `startAt` and `owner` need. */
  readonly objectsFolder?: string;
  /** The root of the tree whose hosts they are. Default: this project's. */
  readonly tree?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether ways between hosts will be cut. */
  readonly cutsWays?: boolean;
}

/** What a host answers to a move, a problem document where it refused. */
export interface MoveAnswer {
  /** 0: no answer at all. */
  readonly status: number;
  readonly from?: string;
  readonly to?: string;
  readonly epoch?: number;
  readonly pauseMs?: number;
  readonly code?: string;
  readonly detail?: string;
}

/** A real database and real host processes, one in each region, and everything that can befall them. */
export class Stage {
  readonly sqld: Sqld;
  readonly hosts: readonly HostProcess[];
  readonly #ways: Ways | undefined;

  private constructor(sqld: Sqld, hosts: readonly HostProcess[], ways: Ways | undefined) {
    this.sqld = sqld;
    this.hosts = hosts;
    this.#ways = ways;
  }

  static async open(options: StageOptions = {}): Promise<Stage> {
    const ways = options.cutsWays === true ? await openWays() : undefined;
    const sqld = await Sqld.start(undefined, ways?.kind === "namespaces" ? { address: "0.0.0.0" } : {});
    const directoryUrl = `http://${ways?.primaryAddress ?? "127.0.0.1"}:${sqld.port}`;
    const hosts: HostProcess[] = [];
    const stage = new Stage(sqld, hosts, ways);
    try {
      for (const [index, region] of regions.slice(0, options.hosts ?? 3).entries()) {
        const { address, runner, preload, env } = (await ways?.place(index)) ?? {};
        hosts.push(
          new HostProcess({
            ...{ region, directoryUrl, objectsFolder: options.objectsFolder ?? "tests/continuity/objects" },
            leaseTtlMs: options.leaseTtlMs ?? leaseTtlMs,
            env: {
              STATEFUL_ADMIN_TOKEN: adminToken,
              STATEFUL_LOG: process.env.CONTINUITY_LOGS ?? "info",
              ...options.env,
              ...env,
            },
            ...(options.tree === undefined ? {} : { tree: options.tree }),
            ...(address === undefined ? {} : { address }),
            ...(runner === undefined ? {} : { runner }),
            ...(preload === undefined ? {} : { preload }),
          }),
        );
      }
      await Promise.all(hosts.map((host) => host.run()));
      await stage.allKnowAll();
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  get ways(): Ways["kind"] | undefined {
    return this.#ways?.kind;
  }

  /** A host by its place in the stage. */
  host(index: number): HostProcess {
    const host = this.hosts[index];
    if (host === undefined) throw new Error(`There is no host ${index} on a stage of ${this.hosts.length}.`);
    return host;
  }

  /** The hosts but these, those that are up first. */
  others(...left: readonly HostProcess[]): HostProcess[] {
    const others = this.hosts.filter((host) => !left.includes(host));
    return others.sort((a, b) => Number(b.isReady) - Number(a.isReady));
  }

  /** One host but these, which is up. */
  other(...left: readonly HostProcess[]): HostProcess {
    const found = this.others(...left).find(({ isReady }) => isReady);
    if (found === undefined) throw new Error("No other host is up.");
    return found;
  }

  /** Until every host that is up has heard of all others, and of nobody else: who is gone is known to be. */
  async allKnowAll(): Promise<void> {
    const ready = this.hosts.filter(({ isReady }) => isReady);
    await until(
      `${ready.length} hosts know each other`,
      async () => {
        const known = await Promise.all(ready.map(async (host) => (await ask(host, "/-/health")).hosts));
        return known.every((count) => count === ready.length);
      },
      recoveryLimitMs,
    );
  }

  /** Brings back whoever is gone; resolves when all hosts are up and know each other. */
  async gather(): Promise<void> {
    const gone = this.hosts.filter(({ isReady }) => !isReady);
    await Promise.all(gone.map((host) => this.restart(host, "new port")));
    await this.allKnowAll();
  }

  /** Has `host` be the owner of an object that nobody has touched yet. */
  async startAt(host: HostProcess, object: string): Promise<void> {
    const { owner } = await ask(host, object);
    if (owner !== host.id) throw new Error(`${object} was to start at ${host.id}, and is at ${owner}.`);
  }

  /** Asked through a host that is up, and is none of these. */
  owner(object: string, except: readonly HostProcess[] = []): Promise<HostProcess> {
    return until(
      `somebody owns ${object}`,
      async () => {
        const ready = this.hosts.find((host) => host.isReady && !except.includes(host));
        const answer = ready && (await ask(ready, object));
        return this.hosts.find(({ id }) => id === answer?.owner);
      },
      recoveryLimitMs,
    );
  }

  /** Asks `via`, by default a host that is neither owner nor target, to have the object moved. */
  async move(object: string, to: HostProcess, via: HostProcess = this.other(to)): Promise<MoveAnswer> {
    const answer = await ask(via, `/-/objects${object}/move`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
      body: JSON.stringify({ host: to.id }),
    });
    return { ...answer, ...hostIds(answer) };
  }

  /** Ends a process in order; resolves once it is gone. */
  async drain(host: HostProcess, signal: "SIGTERM" | "SIGINT" = "SIGTERM"): Promise<void> {
    const code = await host.stop(signal);
    if (code !== 0) throw new Error(`${host.id} ended with ${code} after ${signal}.`);
  }

  /** A new process in the place of one that is gone. */
  async restart(host: HostProcess, port: "new port" | "same port"): Promise<void> {
    await host.run(port === "same port" ? host.port : undefined);
  }

  /** Nothing that one of two hosts sends reaches the other. Both go on reaching everybody else. */
  async cut(a: HostProcess, b: HostProcess, direction: "both" | "a to b" = "both"): Promise<void> {
    await this.#set(a, b, direction, true);
  }

  async heal(a: HostProcess, b: HostProcess, direction: "both" | "a to b" = "both"): Promise<void> {
    await this.#set(a, b, direction, false);
  }

  async close(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.kill()));
    await this.sqld.stop();
    await this.#ways?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #set(a: HostProcess, b: HostProcess, direction: "both" | "a to b", isCut: boolean): Promise<void> {
    if (this.#ways === undefined) throw new Error("The stage was opened without `cutsWays`.");
    await this.#ways.set(this.#stop(a), this.#stop(b), isCut);
    if (direction === "both") await this.#ways.set(this.#stop(b), this.#stop(a), isCut);
  }

  #stop(host: HostProcess): Stop {
    return { index: this.hosts.indexOf(host), port: host.port };
  }
}

export interface Answer {
  /** 0: no answer at all. */
  readonly status: number;
  readonly [member: string]: unknown;
}

/** Asks once; resolves in any case. */
export async function ask(host: HostProcess, path: string, init: RequestInit = {}): Promise<Answer> {
  try {
    const signal = AbortSignal.timeout(answerLimitMs);
    const response = await fetch(host.url(path), { signal, ...init });
    return { ...(await response.json()), status: response.status };
  } catch {
    return { status: 0 };
  }
}

/** The hosts between which an object moved. */
function hostIds({ from, to }: Readonly<Record<string, unknown>>) {
  const idOf = (host: unknown) => String((host as { hostId?: unknown } | undefined)?.hostId); // as the host answers
  return from === undefined ? {} : { from: idOf(from), to: idOf(to) };
}
