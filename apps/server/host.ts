import { Dispatcher } from "../../infra/edge/dispatcher.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import type { SearchSetup } from "../../infra/edge/owner-search.ts";
import { RouteCache } from "../../infra/edge/route-cache.ts";
import { SystemRoutes } from "../../infra/edge/system-routes.ts";
import { ActivationTable } from "../../infra/host/activation-table.ts";
import type { LoadedClass } from "../../infra/host/class-folder.ts";
import { objectCalls } from "../../infra/host/object-calls.ts";
import { ResourcePool } from "../../infra/host/resource-pool.ts";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { Directory, HostLoad, HostRecord } from "../../infra/lease/directory.ts";
import { type RunningLeases, startLeases } from "../../infra/lease/lease-keeper.ts";
import type { LeaseEvents } from "../../infra/lease/leases.ts";
import { type Clock, systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type Log, silentLog } from "../../infra/lib/log.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import { ClassSet } from "./class-set.ts";
import type { ServerConfig } from "./config.ts";
import { Frontend } from "./frontend.ts";
import { HostLinks } from "./host-links.ts";
import { MemoryGauge } from "./memory-gauge.ts";

export interface HostOptions {
  readonly log?: Log;
  readonly clock?: Clock;
  /** Classes in memory, instead of those in `config.objectsFolder`. */
  readonly classes?: readonly AnyObjectClass[];
  /** A directory that is already connected; the caller closes it. */
  readonly directory?: Directory;
}

/** How long a stopping host lets open requests finish before it gives its objects up. */
const stopQuietLimitMs = 5000;
/** How long all objects together may take to stop, their `onStop` hooks included; then the session is handed back. */
const objectsStopLimitMs = 20_000;
/** How long any other step of the stop may take. With these a stop ends within 45 s; `fly.toml` allows 60. */
const stepLimitMs = 5000;
const privateFallbackHost = "127.0.0.1";
/** Class names that this host has ever seen on another: what tells "nobody has it now" from "there is no such class". */
const knownClassesMax = 10_000;
const refreshIntervalMs = 500;
const refreshLimitMs = 1000;

/** Starts one host. Rejects when a class file is wrong, the port is taken or the directory does not answer. */
export async function startHost(config: ServerConfig, options: HostOptions = {}): Promise<RunningHost> {
  const host = new RunningHost(config, options);
  try {
    await host.start();
  } catch (error) {
    await host.stop();
    throw error;
  }
  return host;
}

/** The parts of a host that runs. */
export interface HostParts {
  readonly leases: RunningLeases;
  readonly table: ActivationTable;
  readonly links: HostLinks;
  readonly routes: RouteCache;
  readonly sockets: EdgeSockets;
  readonly dispatcher: Dispatcher;
  readonly system: SystemRoutes;
}

/** One host: everything wired together. It decides nothing; every decision is made in `infra/`. */
export class RunningHost {
  readonly config: ServerConfig;
  readonly log: Log;
  readonly #clock: Clock;
  readonly #options: HostOptions;
  readonly #resources = new ResourcePool();
  readonly #classes: ClassSet;
  readonly #memory: MemoryGauge;
  readonly #knownClasses = new Set<string>();
  readonly #routes: RouteCache;
  readonly #sockets: EdgeSockets;
  readonly #frontend: Frontend;
  #isDraining = false;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #directory: Directory | undefined;
  #running: HostParts | undefined;
  #stopped: Promise<void> | undefined;

  constructor(config: ServerConfig, options: HostOptions) {
    this.config = config;
    this.log = options.log ?? silentLog;
    this.#clock = options.clock ?? systemClock;
    this.#options = options;
    this.#classes = new ClassSet(config, this.#resources);
    this.#memory = new MemoryGauge(this.#clock);
    this.#routes = new RouteCache(config.routeCacheEntriesMax);
    this.#sockets = new EdgeSockets({
      clock: this.#clock,
      publishNatively: (name, message) => this.#frontend.publish(name, message),
      socketsMax: config.socketsMax,
      backpressureLimitBytes: config.backpressureLimitBytes,
    });
    this.#frontend = new Frontend(config, this.#classes.runtimes, () => this.#running);
  }

  get hostId(): string {
    return this.config.hostId;
  }
  get region(): string {
    return this.config.region;
  }
  get port(): number {
    return this.#frontend.port;
  }
  get url(): string {
    return this.config.publicUrl ?? `http://localhost:${this.port}`;
  }
  /** For tests and tools: the parts as they run. */
  get parts(): HostParts {
    if (this.#running === undefined) throw new StatefulError("internal", "The host has not started.");
    return this.#running;
  }

  async start(): Promise<void> {
    const { config } = this;
    if (this.#options.classes)
      for (const objectClass of this.#options.classes) this.#classes.add(objectClass);
    else await this.#classes.loadFolder(config.objectsFolder);
    // Bound before the session opens, so that the address in the directory is one that answers.
    this.#frontend.listen();
    this.#directory = this.#options.directory ?? connectDirectory(this.#directoryOptions());
    this.#running = await this.#run(this.#directory);
    this.log.info("host.started", { url: this.url, classes: this.#classes.names });
  }

  /** Reads one file of `objects/` again. For dev. */
  async reloadClass(file: string): Promise<LoadedClass> {
    const loaded = await this.#classes.reload(this.config.objectsFolder, file, this.parts.table);
    this.#frontend.reload();
    await this.parts.leases.refresh();
    this.log.info("class.loaded", { class: loaded.name, file });
    return loaded;
  }

  /** A file of `objects/` is gone. For dev. */
  async removeClass(file: string): Promise<void> {
    const name = await this.#classes.removeFile(file, this.parts.table);
    if (name === undefined) return;
    this.#frontend.reload();
    await this.parts.leases.refresh();
    this.log.info("class.removed", { class: name, file });
  }

  /** Stops taking objects, ends those that run, hands the session back and closes. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#isDraining = true;
    const running = this.#running;
    await this.#step("objects", objectsStopLimitMs, running?.table.close("drain", stopQuietLimitMs));
    await this.#step("session", stepLimitMs, running?.leases.stop());
    this.#sockets.closeAll(1012, "The host is going away; connect again.");
    await this.#step("links", stepLimitMs, running?.links.close());
    this.#sockets.stop();
    this.#memory.stop();
    await this.#step("server", stepLimitMs, this.#frontend.stop());
    if (this.#options.directory === undefined) {
      await this.#step("directory", stepLimitMs, this.#directory?.close());
    }
    await this.#step("resources", stepLimitMs, this.#resources.close());
    this.log.info("host.stopped");
  }

  /** One step of the stop. Whatever fails or hangs in it, the next is taken: the session above all is handed back. */
  async #step(step: string, limitMs: number, work: Promise<void> | undefined): Promise<void> {
    if (work === undefined) return;
    const late = () => new Error(`It did not end within ${limitMs} ms.`);
    await withTimeLimit(this.#clock, limitMs, work, late).catch((error: unknown) => {
      this.log.warn("stop.step_failed", { step, error });
    });
  }

  // -- wiring

  async #run(directory: Directory): Promise<HostParts> {
    const dispatcher = () => this.parts.dispatcher;
    const callsFrom = objectCalls((request, chain) => dispatcher().call(request, chain));
    let table: ActivationTable | undefined;
    const leases = await startLeases({
      directory,
      clock: this.#clock,
      log: this.log,
      ttlMs: this.config.leaseTtlMs,
      self: this.#self(() => table?.size ?? 0),
      events: this.#leaseEvents(() => this.#running),
      held: () => table?.held() ?? [],
    });
    table = new ActivationTable({
      leases,
      classes: this.#classes.runtimes,
      region: this.config.region,
      clock: this.#clock,
      log: this.log,
      isDraining: () => this.#isDraining,
      load: () => this.#load(table?.size ?? 0),
      callsFrom,
      checkState: this.config.isDev,
    });
    this.#learnClasses(leases.hosts);
    const links = new HostLinks({
      config: this.config,
      clock: this.#clock,
      log: this.log,
      leases,
      table,
      sockets: this.#sockets,
    });
    const search = this.#searchSetup(leases, table, links);
    const { placementBudgetMs } = this.config;
    const edge = {
      links,
      routes: this.#routes,
      sockets: this.#sockets,
      clock: this.#clock,
      log: this.log,
      placementBudgetMs,
    };
    return {
      leases,
      table,
      links,
      routes: this.#routes,
      sockets: this.#sockets,
      dispatcher: new Dispatcher({ ...search, ...edge }),
      system: new SystemRoutes({ ...search, hostId: this.hostId, isDraining: () => this.#isDraining }),
    };
  }

  #searchSetup(leases: RunningLeases, table: ActivationTable, links: HostLinks): SearchSetup {
    return {
      region: this.config.region,
      table,
      leases,
      routes: this.#routes,
      policyOf: (className) => this.#classes.policyOf(className),
      isKnownClass: (className) => this.#classes.runtimes.has(className) || this.#knownClasses.has(className),
      refreshHosts: () => this.#refreshHosts(leases),
      roundTripMs: (host) => (host.session === leases.session.id ? 0 : links.roundTripMs(host)),
    };
  }

  /** A class that nobody is known to run may have started elsewhere since the last renewal. Asked rarely, briefly. */
  async #refreshHosts(leases: RunningLeases): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#refreshedAtMs < refreshIntervalMs) return;
    this.#refreshedAtMs = nowMs;
    const late = () => new StatefulError("directory_unavailable", "The directory does not answer.");
    await withTimeLimit(this.#clock, refreshLimitMs, leases.refresh(), late).catch((error) => {
      this.log.warn("refresh.failed", { error });
    });
  }

  #leaseEvents(running: () => HostParts | undefined): LeaseEvents {
    return {
      sessionOver: () => running()?.table.suspendAll(),
      sessionOpened: () => void running()?.table.adoptAll(),
      leasesLost: (leases) => running()?.table.endLost(leases),
      hostsChanged: (hosts, gone) => {
        this.#learnClasses(hosts);
        this.#routes.dropSessions(new Set(gone.map(({ session }) => session)));
        running()?.links.hostsChanged(hosts, gone);
      },
    };
  }

  #self(objects: () => number) {
    const port = this.port;
    return {
      hostId: this.config.hostId,
      region: this.config.region,
      version: this.config.version,
      privateUrl: this.config.privateUrl ?? `http://${privateFallbackHost}:${port}`,
      publicUrl: this.url,
      classes: () => this.#classes.names,
      draining: () => this.#isDraining,
      load: () => this.#load(objects()),
    };
  }

  #load(objects: number): HostLoad {
    const { objectsMax, memoryLimitBytes } = this.config;
    return { objects, objectsMax, memoryUsedBytes: this.#memory.usedBytes, memoryLimitBytes };
  }

  #learnClasses(hosts: readonly HostRecord[]): void {
    for (const host of hosts) {
      for (const name of host.classes)
        if (this.#knownClasses.size < knownClassesMax) this.#knownClasses.add(name);
    }
  }

  #directoryOptions() {
    const { directory, simulatedPrimaryRoundTripMs } = this.config;
    return { ...directory, clock: this.#clock, primaryDelayMs: simulatedPrimaryRoundTripMs };
  }
}
