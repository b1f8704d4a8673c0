import { configFromEnvironment, RunningHost, type ServerConfig } from "../../../apps/server/index.ts";
import type { SqlConnection } from "../../../infra/lease/sql-connection.ts";
import { AlternatingConnection } from "../../../infra/lease/alternating-connection.ts";
import { directoryDefaults } from "../../../infra/lease/connect-directory.ts";
import { HintConnection } from "../../../infra/lease/hint-connection.ts";
import { LibsqlDirectory } from "../../../infra/lease/libsql-directory.ts";
import type { Log, LogFields } from "../../../infra/lib/log.ts";
import { adminToken } from "../../support/admin-token.ts";
import { simulatedClasses, simulatedClassesWithAlarms } from "../classes.ts";
import type { Place } from "./connection.ts";
import { dialler } from "./dial.ts";
import { type ClockFaults, SimulatedProcess } from "./simulated-process.ts";
import { SimulatedServer } from "./simulated-server.ts";
import type { World } from "./world.ts";

const clusterSecret = "a-secret-that-only-simulations-use";
/** Longest run of a host that fails to start before somebody starts it again. */
const restartMs = 500;

const base = configFromEnvironment({
  PORT: "0",
  LIBSQL_URL: "file:never-opened",
  CLUSTER_SECRET: clusterSecret,
  STATEFUL_ADMIN_TOKEN: adminToken,
  STATEFUL_MEMORY_LIMIT_MB: "4096",
});

/** One machine, and whatever process of ours runs on it: the whole host as it is in production, but for its network. */
export class SimulatedHost {
  readonly name: string;
  readonly region: string;
  readonly #world: World;
  readonly #clockFaults: ClockFaults;
  #process: SimulatedProcess | undefined;
  #running: RunningHost | undefined;
  #server: SimulatedServer | undefined;
  #isStarted = false;
  /** Nothing answers there, not even its kernel. */
  isOff = false;
  #starts = 0;
  /** Whether it is started again where its process ends. */
  isSupervised = false;

  constructor(world: World, name: string, region: string, clockFaults: ClockFaults) {
    this.#world = world;
    this.name = name;
    this.region = region;
    this.#clockFaults = clockFaults;
  }

  get isAlive(): boolean {
    return this.#process?.isAlive === true;
  }
  /** Whether it has come up, and not been killed since. */
  get isServing(): boolean {
    return this.isAlive && this.#isStarted;
  }
  get running(): RunningHost | undefined {
    return this.isServing ? this.#running : undefined;
  }
  get server(): SimulatedServer | undefined {
    return this.isAlive ? this.#server : undefined;
  }
  get place(): Place | undefined {
    const process = this.#process;
    return process?.isAlive ? { name: this.name, process } : undefined;
  }

  start(): void {
    if (this.isAlive) return;
    this.#starts += 1;
    this.isOff = false;
    this.#isStarted = false;
    const { scheduler } = this.#world;
    const process = new SimulatedProcess(`${this.name}#${this.#starts}`, scheduler, this.#clockFaults);
    this.#process = process;
    scheduler.enter(process, () => {
      const host = new RunningHost(this.#config(), {
        clock: process.clock,
        classes: this.#world.settings.hasAlarms ? simulatedClassesWithAlarms : simulatedClasses,
        directory: this.#directory(process),
        log: this.#log(),
        network: {
          serve: (options) => {
            this.#server = new SimulatedServer(options);
            return this.#server;
          },
          dial: dialler(this.#world, { name: this.name, process }),
        },
      });
      this.#running = host;
      host.start().then(
        () => {
          if (process.isAlive) this.#isStarted = true;
        },
        (error) => {
          this.#world.journal(`${this.name} could not start: ${String(error)}`);
          this.crash(false);
          scheduler.after(restartMs, undefined, () => this.start());
        },
      );
    });
  }

  /** @param isSilent the machine goes with it, so that nobody is told */
  crash(isSilent: boolean): void {
    if (!this.isAlive) return;
    this.isOff = isSilent;
    this.#process?.die(isSilent);
  }

  freeze(forMs: number): void {
    this.#process?.freeze(forMs);
  }
  thaw(): void {
    this.#process?.thawNow();
  }
  stepWall(byMs: number): void {
    this.#process?.clock.step(byMs);
  }

  setClockRight(): void {
    this.#process?.clock.setRight();
  }

  /** Stops in order, and ends its process then. */
  drain(): void {
    const process = this.#process;
    const running = this.running;
    if (process === undefined || running === undefined) return;
    const { scheduler } = this.#world;
    scheduler.after(0, process, () => {
      void running.drain().then(() => {
        if (process.isAlive) process.die(false);
        if (this.isSupervised) scheduler.after(restartMs, undefined, () => this.start());
      });
    });
  }

  #config(): ServerConfig {
    const { leaseTtlMs, heartbeatMs } = this.#world.settings;
    return {
      ...base,
      region: this.region,
      hostId: this.name,
      privateUrl: `http://${this.name}`,
      publicUrl: `http://${this.name}`,
      ...{ leaseTtlMs, heartbeatMs, drainLimitMs: 8_000 },
    };
  }

  #directory(process: SimulatedProcess): LibsqlDirectory {
    const { renewalLimitMs, commitLimitMs, hintLimitMs } = directoryDefaults;
    const connection = (timeLimitMs: number, isReplica = false) =>
      this.#world.directoryConnection({ process, place: this.name, timeLimitMs, isReplica });
    const twoWays = (timeLimitMs: number): SqlConnection =>
      new AlternatingConnection(connection(timeLimitMs), connection(timeLimitMs), process.clock);
    const work = twoWays(commitLimitMs);
    const replica = this.#world.primary.hasReplica ? connection(hintLimitMs, true) : undefined;
    return new LibsqlDirectory({
      ...{ renewals: twoWays(renewalLimitMs), work, reads: twoWays(commitLimitMs) },
      hints: replica === undefined ? work : new HintConnection(replica, work),
    });
  }

  #log(): Log {
    const tell = (level: string) => (event: string, fields?: LogFields) =>
      this.#world.logged(this.name, level, event, fields);
    return { debug: tell("debug"), info: tell("info"), warn: tell("warn"), error: tell("error") };
  }
}
