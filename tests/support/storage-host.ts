import { Activation } from "../../infra/host/activation.ts";
import { ActivationTable } from "../../infra/host/activation-table.ts";
import { type ClassRuntime, classRuntime } from "../../infra/host/class-runtime.ts";
import { ResourcePool } from "../../infra/host/resource-pool.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { type RunningLeases, startLeases } from "../../infra/lease/lease-keeper.ts";
import type { LeaseEvents } from "../../infra/lease/leases.ts";
import { type Clock, systemClock } from "../../infra/lib/clock.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { Objects } from "../../infra/object/context.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import type { ObjectStorage } from "../../infra/object/storage.ts";
import { StoredReader } from "../../infra/storage/stored-reader.ts";

const hostLoad = { objects: 0, objectsMax: 1_000, memoryUsedBytes: 0, memoryLimitBytes: 1_000 };
/** No test of storage is about losing it, however long the disk takes. */
const leaseTtlMs = 60_000;
const nobodyToCall = (): Objects => () => ({}) as never; // no test of storage calls another object

/** One host as far as objects and what they store go: real leases and the real table over a directory. */
export class StorageHost {
  readonly #classes = new Map<string, ClassRuntime>();
  readonly #clock: Clock;
  #leases: RunningLeases | undefined;
  #table: ActivationTable | undefined;

  static async start(
    directory: Directory,
    classes: readonly AnyObjectClass[],
    clock: Clock = systemClock,
  ): Promise<StorageHost> {
    const host = new StorageHost(clock);
    for (const objectClass of classes) host.install(objectClass);
    await host.#start(directory);
    return host;
  }

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  get table(): ActivationTable {
    if (this.#table === undefined) throw new Error("the host has not started");
    return this.#table;
  }

  /** From the next start of an object on: a new release of its class. */
  install(objectClass: AnyObjectClass): void {
    const runtime = classRuntime(objectClass, { hostId: "host", region: "ams" }, new ResourcePool());
    this.#classes.set(runtime.definition.name, runtime);
  }

  /** The live activation, started if need be. */
  async live(className: string, id: string): Promise<Activation> {
    const taken = await this.table.activate(objectRef(className, id), "free");
    if (taken instanceof Activation) return taken;
    throw new Error(`${className}/${id} is with ${taken.session}`);
  }

  /** Stops the object and starts it again, from what the directory has. */
  async restart(activation: Activation): Promise<Activation> {
    const { className, id } = activation.ref;
    await this.table.stop(activation, "idle");
    return this.live(className, id);
  }

  async stop(): Promise<void> {
    await this.#table?.close("drain", 0);
    await this.#leases?.stop();
  }

  async #start(directory: Directory): Promise<void> {
    const leases = await startLeases({
      directory,
      clock: this.#clock,
      random: () => 0.5,
      ttlMs: leaseTtlMs,
      held: () => this.#table?.held() ?? [],
      self: {
        hostId: "host",
        region: "ams",
        privateUrl: "http://private.example",
        publicUrl: "http://public.example",
        version: "1",
        classes: () => [...this.#classes.keys()],
        load: () => hostLoad,
        draining: () => false,
      },
      events: this.#events,
    });
    this.#leases = leases;
    this.#table = new ActivationTable({
      leases,
      classes: this.#classes,
      region: "ams",
      clock: this.#clock,
      log: silentLog,
      isDraining: () => false,
      load: () => hostLoad,
      callsFrom: nobodyToCall,
      stores: {
        reader: new StoredReader(directory, this.#clock),
        send: (source) => leases.write(source),
        waiting: { bytes: 0 },
        nowMs: () => leases.nowMs(),
        random: () => 0.5,
      },
      version: "test",
      edgePorts: nobodyElse,
      movePeers: nobodyElse,
      checkState: true,
    });
  }

  readonly #events: LeaseEvents = {
    sessionOver: () => this.#table?.suspendAll(),
    sessionOpened: (_, __, hasForgotten) => void this.#table?.adoptAll(hasForgotten),
    leasesLost: (leases) => this.#table?.endLost(leases),
    hostsChanged: () => undefined,
  };
}

/** The object's storage as one event has it. */
export function storageOf(activation: Activation): ObjectStorage {
  return activation.storageFor({});
}

/** A host without others, and without clients. */
const nobodyElse = {
  to(): never {
    throw new Error("there are no edges here");
  },
  begin(): never {
    throw new Error("there is no other host");
  },
};
