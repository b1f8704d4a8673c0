import { AddressLimits } from "../../infra/edge/address-limits.ts";
import { AdminRoutes } from "../../infra/edge/admin-routes.ts";
import { AdminToken } from "../../infra/edge/admin-token.ts";
import { ConnectRoute } from "../../infra/edge/connect-route.ts";
import { Dispatcher } from "../../infra/edge/dispatcher.ts";
import { HostEdgePorts } from "../../infra/edge/edge-ports.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { MoveLinks } from "../../infra/edge/move-channel.ts";
import { OwnerCalls } from "../../infra/edge/owner-calls.ts";
import type { SearchSetup } from "../../infra/edge/owner-search.ts";
import { Registrar, seekRefreshMs } from "../../infra/edge/registrar.ts";
import { RouteCache } from "../../infra/edge/route-cache.ts";
import { SystemRoutes } from "../../infra/edge/system-routes.ts";
import { ActivationTable } from "../../infra/host/activation-table.ts";
import type { LoadedClass } from "../../infra/host/class-folder.ts";
import { objectCalls } from "../../infra/host/object-calls.ts";
import { ResourcePool } from "../../infra/host/resource-pool.ts";
import { callsPerTurn, callsWaitingMax, subscriptionsPerTurn, Turns } from "../../infra/host/turns.ts";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { Directory, HostLoad, HostRecord } from "../../infra/lease/directory.ts";
import { type RunningLeases, startLeases } from "../../infra/lease/lease-keeper.ts";
import type { LeaseEvents } from "../../infra/lease/leases.ts";
import { processOfSession } from "../../infra/lease/session-id.ts";
import { type Clock, systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type Log, silentLog } from "../../infra/lib/log.ts";
import type { VersionRange } from "../../infra/lib/version-range.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import type { Dial } from "../../infra/link/websocket-transport.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import { AlarmSweeper } from "../../infra/storage/alarm-sweeper.ts";
import { StoredReader } from "../../infra/storage/stored-reader.ts";
import { alarmWakes } from "./alarm-wakes.ts";
import { ClassSet } from "./class-set.ts";
import type { ServerConfig } from "./config.ts";
import { Drain, drainShares, lameDuck } from "./drain.ts";
import { Frontend, type Serve } from "./frontend.ts";
import { HostLinks } from "./host-links.ts";
import { hostMetrics, type MeteredHost } from "./host-metrics.ts";
import { MemoryGauge } from "./memory-gauge.ts";
import { MemoryWatch } from "./memory-watch.ts";
import { Mover } from "./mover.ts";
import { ObjectMoves } from "./object-moves.ts";
import { ObjectTraffic } from "./object-traffic.ts";

export interface HostOptions {
  readonly log?: Log;
  readonly clock?: Clock;
  /** Classes in memory, instead of those in `config.objectsFolder`. */
  readonly classes?: readonly AnyObjectClass[];
  /** A directory that is already connected; the caller closes it. */
  readonly directory?: Directory;
  /** As `LeaseOptions.onSession`: told of each session before it is asked for, and `""` when all were handed back. */
  readonly onSession?: (session: string) => void;
  /** The directory was migrated to what this build does not know: the host serves nobody any more, and should be stopped. */
  readonly onOutdated?: (error: StatefulError) => void;
  /** Versions of the links between hosts. Default: all that this build speaks. For tests. */
  readonly linkVersions?: VersionRange;
  /** How it listens, and how it reaches other hosts, where that is not the network of this machine. */
  readonly network?: { readonly serve: Serve; readonly dial: Dial };
}

/** How long a stopping host lets open requests finish before it gives its objects up. */
const stopQuietLimitMs = 5000;
/** How long all objects together may take to stop, their `onStop` hooks included; then the session is handed back. */
const objectsStopLimitMs = 20_000;
/** How long any other step of the stop may take. */
const stepLimitMs = 5000;
/** What the session's hand-back is given at least, however late it is: others wait for its leases. */
const handBackLimitMinMs = 2000;
/** What each of the last steps of a drain is given, however late it is. */
const lateStepLimitMs = 250;
const privateFallbackHost = "127.0.0.1";
/** Class names that this host has ever seen on another: what tells "nobody has it now" from "there is no such class". */
const knownClassesMax = 10_000;
const refreshIntervalMs = seekRefreshMs;
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
  readonly ports: HostEdgePorts;
  readonly registrar: Registrar;
  readonly dispatcher: Dispatcher;
  readonly owners: OwnerCalls;
  readonly moves: ObjectMoves;
  readonly mover: Mover;
  readonly memory: MemoryWatch;
  readonly connect: ConnectRoute;
  readonly system: SystemRoutes;
  readonly admin: AdminRoutes;
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
  readonly #addresses: AddressLimits;
  readonly #sockets: EdgeSockets;
  readonly #frontend: Frontend;
  #isDraining = false;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #refreshing = Promise.resolve(false);
  #directory: Directory | undefined;
  #running: HostParts | undefined;
  #sweeper: AlarmSweeper | undefined;
  #stopped: Promise<void> | undefined;

  constructor(config: ServerConfig, options: HostOptions) {
    this.config = config;
    this.log = options.log ?? silentLog;
    this.#clock = options.clock ?? systemClock;
    this.#options = options;
    this.#classes = new ClassSet(config, this.#resources);
    this.#memory = new MemoryGauge(this.#clock);
    this.#routes = new RouteCache(config.routeCacheEntriesMax);
    this.#addresses = new AddressLimits({
      socketsMax: config.addressSocketsMax,
      requestsMax: config.addressRequestsMax,
    });
    this.#sockets = new EdgeSockets({
      clock: this.#clock,
      addresses: this.#addresses,
      publishNatively: (name, message) => this.#frontend.publish(name, message),
      socketsMax: config.socketsMax,
      backpressureLimitBytes: config.backpressureLimitBytes,
      seek: (held) => this.#running?.registrar.seek(held),
      owns: (key, session, epoch) => this.#routes.put(key, { session, epoch }),
    });
    this.#frontend = new Frontend({
      ...{ config, classes: this.#classes.runtimes, clock: this.#clock, serve: options.network?.serve },
      ...{ parts: () => this.#running, addresses: this.#addresses },
    });
  }

  get #linkVersions(): VersionRange {
    return this.#options.linkVersions ?? linkVersions;
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
    this.#sweeper = this.#alarmSweeper(this.#directory, this.#running);
    this.#sweeper.start();
    this.#running.mover.start();
    this.#running.memory.start();
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

  /** As `stop`, and before that moves the objects to other hosts, and after it forwards for a while what still arrives (L11). */
  drain(): Promise<void> {
    this.#stopped ??= this.#drain();
    return this.#stopped;
  }

  async #drain(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return this.#stop();
    const { drainLimitMs, lameDuckMs } = this.config;
    const startMs = this.#clock.monotonicMs();
    const leftUntil = (share: number) => startMs + share * drainLimitMs - this.#clock.monotonicMs();
    const earlyLimitMs = Math.min(stepLimitMs, drainLimitMs / 5);
    this.#isDraining = true;
    this.#frontend.leave();
    running.mover.stop();
    running.memory.stop();
    const drain = new Drain({ ...running, clock: this.#clock, log: this.log });
    await this.#step("refusal of placements", earlyLimitMs, running.leases.refresh());
    await this.#step("alarms", earlyLimitMs, this.#sweeper?.stop());
    await drain.moveAll(startMs + drainShares.moves * drainLimitMs);
    const objectsLimitMs = Math.max(0, leftUntil(drainShares.objects));
    const quietLimitMs = Math.min(stopQuietLimitMs, objectsLimitMs / 2);
    await this.#step("objects", objectsLimitMs, drain.stopRest(quietLimitMs));
    drain.report();
    const handBackLimitMs = Math.max(handBackLimitMinMs, leftUntil(1) - lameDuckMs);
    running.links.sayLeaving();
    await this.#step("session", Math.min(stepLimitMs, handBackLimitMs), running.leases.stop());
    running.links.sayLeft();
    await lameDuck({ clock: this.#clock, limitMs: lameDuckMs, requests: () => this.#requests(running) });
    await this.#close(() => Math.min(stepLimitMs, Math.max(lateStepLimitMs, leftUntil(1))));
  }

  /** Those of clients, and what other hosts still send here. */
  #requests({ links }: HostParts) {
    const { open, taken } = this.#frontend.requests;
    return { open, taken: taken + links.channelsTaken };
  }

  async #stop(): Promise<void> {
    this.#isDraining = true;
    const running = this.#running;
    running?.mover.stop();
    running?.memory.stop();
    await this.#step("alarms", stepLimitMs, this.#sweeper?.stop());
    await this.#step("objects", objectsStopLimitMs, running?.table.close("drain", stopQuietLimitMs));
    await this.#step("session", stepLimitMs, running?.leases.stop());
    await this.#close();
  }

  /** Nothing is owned here any more. `limitMs`: of each step. */
  async #close(limitMs = () => stepLimitMs): Promise<void> {
    const running = this.#running;
    running?.registrar.stop();
    this.#sockets.closeAll(1012, "The host is going away; connect again.");
    await this.#step("links", limitMs(), running?.links.close());
    this.#sockets.stop();
    this.#memory.stop();
    await this.#step("server", limitMs(), this.#frontend.stop());
    if (this.#options.directory === undefined) {
      await this.#step("directory", limitMs(), this.#directory?.close());
    }
    await this.#step("resources", limitMs(), this.#resources.close());
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
    const turns = new Turns(this.#clock, callsPerTurn, callsWaitingMax);
    const callsFrom = objectCalls((request, chain) => this.parts.dispatcher.call(request, chain), turns);
    let table: ActivationTable | undefined;
    const leases = await startLeases({
      ...{ directory, clock: this.#clock, log: this.log, onSession: this.#options.onSession },
      ttlMs: this.config.leaseTtlMs,
      self: this.#self(() => table?.size ?? 0),
      events: this.#leaseEvents(() => this.#running),
      held: () => table?.held() ?? [],
    });
    const ports = this.#edgePorts(leases);
    table = new ActivationTable({
      leases,
      version: this.config.version,
      edgePorts: ports,
      movePeers: new MoveLinks({
        links: { to: (host) => this.parts.links.to(host) },
        clock: this.#clock,
      }),
      classes: this.#classes.runtimes,
      region: this.config.region,
      clock: this.#clock,
      log: this.log,
      isDraining: () => this.#isDraining,
      load: () => this.#load(table?.size ?? 0),
      callsFrom,
      stores: {
        reader: new StoredReader(directory, this.#clock),
        send: (source) => leases.write(source),
        waiting: { bytes: 0 },
        nowMs: () => leases.nowMs(),
        random: Math.random,
      },
      pressure: () => this.#running?.memory.pressure,
      swept: (nowMs) => this.#running?.memory.look(nowMs),
      checkState: this.config.isDev,
    });
    this.#learnClasses(leases.hosts);
    const links = new HostLinks({
      ...{ config: this.config, clock: this.#clock, log: this.log },
      ...{ dial: this.#options.network?.dial, versions: this.#linkVersions },
      ...{ leases, table, ports, sockets: this.#sockets },
      objects: () => this.parts.mover,
      refreshHosts: () => this.#refreshHosts(leases),
      processesGone: (processes) => this.#processesGone(processes),
    });
    const search = this.#searchSetup(leases, table, links);
    const dispatcher = this.#dispatcher(search, ports, links);
    const registrar = this.#registrar(search, ports, links);
    const { moves, mover } = this.#mover(search, table, leases);
    const { isDev, placementBudgetMs } = this.config;
    const token = new AdminToken(this.config.adminToken);
    const own = { objects: mover, clock: this.#clock, placementBudgetMs };
    const owners = new OwnerCalls({ ...search, ...own, links });
    return {
      ...{ leases, table, links, routes: this.#routes, sockets: this.#sockets, ports, registrar, dispatcher },
      ...{ owners, moves, mover, memory: this.#memoryWatch(table, mover) },
      connect: this.#connectRoute(dispatcher),
      system: new SystemRoutes({
        ...{ ...search, owners, hostId: this.hostId, isDraining: () => this.#isDraining },
        pathTo: (host) => links.pathTo(host),
        showsFigures: (request) => isDev || token.isShownBy(request),
      }),
      admin: new AdminRoutes({
        ...{ token, dispatcher, owners, storedObjects: directory, log: this.log },
        metrics: () => hostMetrics(this.#metered(table, links)),
      }),
    };
  }

  #metered(table: ActivationTable, links: HostLinks): MeteredHost {
    const openRequests = () => this.#frontend.requests.open;
    return {
      ...{ table, links, openRequests },
      ...{ sockets: this.#sockets, addresses: this.#addresses, routes: this.#routes, gauge: this.#memory },
    };
  }

  #memoryWatch(table: ActivationTable, mover: Mover): MemoryWatch {
    const { memoryLimitBytes: limitBytes } = this.config;
    const gauge = this.#memory;
    return new MemoryWatch({ table, mover, gauge, limitBytes, clock: this.#clock, log: this.log });
  }

  #mover({ policyOf, roundTripMs, routes }: SearchSetup, table: ActivationTable, leases: RunningLeases) {
    const { config: self, log } = this;
    const clock = this.#clock;
    const traffic = new ObjectTraffic(self.region, clock);
    const moves = new ObjectMoves({
      ...{ self, table, leases, routes, traffic, policyOf, roundTripMs, clock },
      linkVersions: this.#linkVersions,
    });
    const session = () => leases.session.id;
    const isDraining = () => this.#isDraining;
    const refreshHosts = () => this.#refreshHosts(leases);
    const settings = self.follow;
    const setup = { self, table, session, moves, traffic, settings, clock, log, isDraining, refreshHosts };
    return { moves, mover: new Mover(setup) };
  }

  #edgePorts(leases: RunningLeases): HostEdgePorts {
    const { hostId, region } = this.config;
    return new HostEdgePorts({
      clock: this.#clock,
      sockets: this.#sockets,
      self: () => ({ process: processOfSession(leases.session.id), hostId, region }),
      links: () => this.parts.links,
    });
  }

  #dispatcher(search: SearchSetup, ports: HostEdgePorts, links: HostLinks): Dispatcher {
    const { placementBudgetMs, leaseTtlMs } = this.config;
    return new Dispatcher({
      ...search,
      ...{ ports, links, leaseTtlMs, placementBudgetMs },
      sockets: this.#sockets,
      onOwnerLost: (className) => this.#classes.runtimes.get(className)?.definition.onOwnerLost ?? "fail",
      originsOf: (className) => this.#classes.runtimes.get(className)?.definition.origins,
      random: Math.random,
      clock: this.#clock,
      log: this.log,
    });
  }

  #connectRoute(dispatcher: Dispatcher): ConnectRoute {
    const { hostId, region, clientAddressHeader } = this.config;
    return new ConnectRoute({
      ...{ dispatcher, hostId, region, sockets: this.#sockets, clock: this.#clock, log: this.log },
      trustedHeaders: clientAddressHeader === undefined ? [] : [clientAddressHeader.toLowerCase()],
      isDraining: () => this.#isDraining,
      turns: new Turns(this.#clock, subscriptionsPerTurn),
    });
  }

  #registrar(search: SearchSetup, ports: HostEdgePorts, links: HostLinks): Registrar {
    const { leaseTtlMs } = this.config;
    const { log } = this;
    const own = { sockets: this.#sockets, clock: this.#clock, random: Math.random, log, leaseTtlMs };
    return new Registrar({ search, ports, links, ...own });
  }

  /** Whoever waits for one of these waits in vain. */
  #processesGone(processes: ReadonlySet<string>): void {
    const running = this.#running;
    running?.dispatcher.ownersGone(processes);
    running?.ports.edgesGone(processes);
    this.#sockets.ownersGone(processes);
  }

  /** Classes that run somewhere. One without an `onAlarm` by now is among them: that its alarms have nobody is logged. */
  #wakeable(hosts: readonly HostRecord[]): readonly string[] {
    return [...new Set([...this.#classes.names, ...hosts.flatMap(({ classes }) => classes)])];
  }

  #alarmSweeper(directory: Directory, { dispatcher, leases }: HostParts): AlarmSweeper {
    const runsSomewhere = (className: string) =>
      this.#classes.runtimes.has(className) ||
      leases.hosts.some(({ classes }) => classes.includes(className));
    return new AlarmSweeper({
      storedObjects: directory,
      classes: () => this.#wakeable(leases.hosts),
      wake: alarmWakes(dispatcher, runsSomewhere),
      clock: this.#clock,
      random: Math.random,
      log: this.log,
    });
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
      linkVersions: this.#linkVersions,
      roundTripMs: (host) => (host.session === leases.session.id ? 0 : links.roundTripMs(host)),
    };
  }

  /** A class that nobody is known to run may have started elsewhere since the last renewal. Asked rarely, briefly, for all. */
  #refreshHosts(leases: RunningLeases): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#refreshedAtMs < refreshIntervalMs) return this.#refreshing;
    this.#refreshedAtMs = nowMs;
    const late = () => new StatefulError("directory_unavailable", "The directory does not answer.");
    this.#refreshing = withTimeLimit(this.#clock, refreshLimitMs, leases.refresh(), late).then(
      () => true,
      (error) => {
        this.log.warn("refresh.failed", { error });
        return false;
      },
    );
    return this.#refreshing;
  }

  #leaseEvents(running: () => HostParts | undefined): LeaseEvents {
    return {
      sessionOver: (_, reason) => {
        running()?.links.sessionOver();
        running()?.table.suspendAll(reason === "unconfirmed");
      },
      sessionOpened: (_, __, hasForgotten) => {
        running()?.links.sessionOpened();
        void running()?.table.adoptAll(hasForgotten);
      },
      outdated: (error) => this.#options.onOutdated?.(error),
      leasesLost: (leases) => running()?.table.endLost(leases),
      hostsChanged: (hosts, gone) => {
        this.#learnClasses(hosts);
        running()?.links.hostsChanged(hosts, gone);
        running()?.registrar.hostsChanged();
      },
    };
  }

  #self(objects: () => number) {
    const port = this.port;
    return {
      hostId: this.config.hostId,
      region: this.config.region,
      version: this.config.version,
      linkVersions: this.#linkVersions,
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
