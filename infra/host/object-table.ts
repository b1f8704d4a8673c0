import type { Acquisition } from "../lease/leases.ts";
import type { LoadedObject } from "../lease/stored-objects.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { StopReason } from "../object/context.ts";
import type { Activation } from "./activation.ts";
import type { ActivationLife } from "./activation-life.ts";
import { type ActivationHost, sharedWaits } from "./activation-setup.ts";
import { type Adoptable, Adoption } from "./adoption.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import { type Elsewhere, HostObjects } from "./host-objects.ts";
import { checkRoom } from "./host-limits.ts";
import { IdleSweep } from "./idle-sweep.ts";
import type { MovePackage } from "./move-package.ts";
import type { MoveOffer } from "./move-ports.ts";
import { type ArrivedObject, MovesIn } from "./moves-in.ts";
import { MovesOut } from "./moves-out.ts";
import type { ObjectTableSetup } from "./object-table-setup.ts";
import { ObjectEdges } from "./object-edges.ts";
import { arrivedParts, loadsWithLease, ObjectStarter, reasonOf, withDefaults } from "./object-starter.ts";
import type { ObjectLease, StoredParts } from "./object-starter.ts";
import type { Sleeper } from "./sleeper.ts";
import { Sleepers } from "./sleepers.ts";
import { callCycle, classMissing, outsideRegions, tooManyWait, waitsForDirectory } from "./start-refusals.ts";

export type { Elsewhere } from "./host-objects.ts";
export type { ObjectTableSetup } from "./object-table-setup.ts";

/** How long an object waits for the first edge of those that asked for it. */
const unattachedLimitMs = 15_000;
const noCallers: readonly string[] = [];

/**
 * The objects of this host: at most one activation of each, and those that sleep here. This half finds and starts them;
 * `activation-table.ts` has how they stop, move and get over the end of a session.
 */
export abstract class ObjectTable extends HostObjects {
  protected readonly setup: ObjectTableSetup;
  protected readonly leases: ObjectTableSetup["leases"];
  protected readonly sleepers: Sleepers;
  protected readonly carriedState = new Map<string, object>();
  /** What came with a move after which the object could not start: made anew for each attempt, until one succeeds. */
  protected readonly arrivedState = new Map<string, () => MovePackage>();
  /** Who waits for one of those, by key. */
  readonly #waiting = new Map<string, number>();
  protected readonly adoption: Adoption;
  readonly #host: ActivationHost;
  protected readonly starter: ObjectStarter;
  protected readonly movesOut: MovesOut;
  protected readonly movesIn: MovesIn;
  protected readonly sweep: IdleSweep;
  /** Objects whose lease is being asked for: they take room already, or a burst of starts would go past the limit. */
  #acquiring = 0;

  constructor(setup: ObjectTableSetup) {
    super();
    this.setup = setup;
    this.leases = setup.leases;
    const { leases, clock, log, callsFrom, stores, checkState, movePeers: peers, version } = setup;
    this.#host = {
      ...{ clock, log, callsFrom, stores, ...sharedWaits(clock) },
      edgesOf: (activation) => {
        const edges = this.edgesFor(activation.ref, activation.runtime);
        edges.starting(activation);
        if (activation.phase.name === "moving") edges.shut(true);
        else edges.open();
        return edges;
      },
      broken: (activation, cause) => this.break(activation, cause),
    };
    this.starter = new ObjectStarter({
      ...{ host: this.#host, leases, checkState },
      began: (activation) => this.byKey.set(activation.ref.key, activation),
      failed: (activation) => this.forget(activation),
    });
    this.sleepers = new Sleepers({
      ...{ clock, log, nowMs: stores.nowMs },
      wake: (ref) => this.activate(ref, "mine"),
      expired: (sleeper) => this.#giveUpUnattached(sleeper),
    });
    this.movesOut = new MovesOut({ leases, clock, log, peers, codeVersion: version });
    this.movesIn = new MovesIn({
      ...{ leases, clock, log },
      memoryLimitBytes: () => setup.load().memoryLimitBytes,
      check: (offer) => this.checkOffer(offer),
      start: (arrived) => this.startArrived(arrived),
    });
    this.adoption = new Adoption({
      ...{ leases, clock, log, isTakenAnew: (old: Adoptable) => this.isTakenAnew(old) },
      lost: (adoptable, cause) => this.lose(adoptable, cause),
      over: (adoptable) => this.over(adoptable),
    });
    this.sweep = new IdleSweep({
      clock,
      all: () => this.byKey.values(),
      idle: (activation) => this.stopSoon(activation, "idle"),
      swept: (nowMs) => setup.swept?.(nowMs),
    });
  }

  protected abstract checkOffer(offer: MoveOffer): void;
  protected abstract startArrived(arrived: ArrivedObject): Promise<void>;
  protected abstract stopSoon(activation: Activation, reason: StopReason): void;
  protected abstract lose(adoptable: Adoptable, cause: StatefulError): void;
  /** It had stopped, or ended, before its lease was confirmed. */
  protected abstract over(adoptable: Adoptable): void;
  protected abstract forget(adoptable: Adoptable): void;
  protected abstract break(activation: ActivationLife, cause: StatefulError): void;

  // -- edges

  /**
   * For an edge that has lost the owner of its sockets: the object's edges here, its lease taken if need be, or who has it. It
   * is not started for that, unless it was awake when its owner was lost: then as soon as the edge has told its sockets.
   */
  async claim(ref: ObjectRef, when: "free" | "mine", isAsleep: boolean): Promise<ObjectEdges | Elsewhere> {
    const { key } = ref;
    for (let change = this.change(key); change; change = this.change(key)) {
      const elsewhere = await change;
      if (elsewhere) return elsewhere;
    }
    const live = this.live(key);
    if (live) return live.edges;
    this.checkNotWaiting(ref);
    const starting = this.starting.get(key);
    if (starting) {
      const started = await starting;
      return "owned" in started ? started : started.edges;
    }
    const sleeper = this.sleepers.get(key) ?? (await this.#claimed(ref, when));
    if ("owned" in sleeper) return sleeper;
    if (!isAsleep) sleeper.edges.wakeOnceTold();
    return sleeper.edges;
  }

  /** One at a time: to ask again for a lease that is ours raises its epoch, under whoever has started meanwhile. */
  #claimed(ref: ObjectRef, when: "free" | "mine"): Promise<Sleeper | Elsewhere> {
    const claim = this.#takeAsleep(ref, when).finally(() => this.claiming.delete(ref.key));
    this.claiming.set(
      ref.key,
      claim.then(
        () => undefined,
        () => undefined,
      ),
    );
    return claim;
  }

  async #takeAsleep(ref: ObjectRef, when: "free" | "mine"): Promise<Sleeper | Elsewhere> {
    const runtime = this.#checkAccepts(ref, when);
    const acquisition = await this.#acquire(ref, when, false);
    if (!acquisition.owned) return acquisition;
    const { session, epoch } = acquisition;
    const isAfterCrash = reasonOf(acquisition, undefined) === "crash";
    const edges = this.edgesFor(ref, runtime);
    const nothing = { sinceMs: undefined, nextAlarmMs: undefined };
    const sleeper = this.sleepers.add({ ref, session, epoch, edges, isAfterCrash, ...nothing });
    this.setup.clock.after(unattachedLimitMs, () => this.#giveUpUnattached(sleeper));
    return sleeper;
  }

  /** The edge that asked has gone before it was attached, or the last client has left: it sleeps on while a history may be asked for. */
  #giveUpUnattached(sleeper: Sleeper): void {
    const { ref, edges } = sleeper;
    if (edges.size > 0 || this.sleepers.get(ref.key) !== sleeper || this.starting.has(ref.key)) return;
    if (sleeper.keepsMessages) return;
    this.sleepers.lose(sleeper, new StatefulError("not_owner", `No edge holds sockets of ${ref.key}.`));
    // What came with a move and has not started yet is kept here, with the lease.
    if (!this.arrivedState.has(ref.key)) this.setup.leases.release({ object: ref, epoch: sleeper.epoch });
  }

  protected edgesFor(ref: ObjectRef, { definition }: ClassRuntime): ObjectEdges {
    const { clock, leases } = this.setup;
    const { autoResponse, redeliver, wakeOnClose } = definition;
    return new ObjectEdges({
      clock,
      definition,
      facts: () => {
        const owner = this.byKey.get(ref.key) ?? this.sleepers.get(ref.key);
        const session = leases.session.id;
        return { ref, session, epoch: owner?.epoch ?? 0, autoResponse, redeliver, wakeOnClose };
      },
      wake: () => this.sleepers.wake(ref),
      emptied: () => {
        const sleeper = this.sleepers.get(ref.key);
        if (sleeper) this.#giveUpUnattached(sleeper);
      },
    });
  }

  // -- starting

  /**
   * The live activation, started if need be, or who has it. Rejects with a `StatefulError`; with `host_full`,
   * `host_draining` and `unknown_class` another host may be asked. `chain`: the objects that wait for this one.
   */
  async activate(
    ref: ObjectRef,
    when: "free" | "mine",
    chain: readonly string[] = noCallers,
  ): Promise<Activation | Elsewhere> {
    const { key } = ref;
    const existing = this.byKey.get(key);
    if (existing?.isLive) return existing;
    if (chain.includes(key) && (this.starting.has(key) || this.isChanging(key))) throw callCycle(ref, chain);
    const waiting = this.#waiting.get(key) ?? 0;
    const limits = this.setup.classes.get(ref.className)?.definition.limits;
    if (limits && waiting >= limits.queueLengthMax) throw tooManyWait(ref, waiting);
    this.#waiting.set(key, waiting + 1);
    try {
      return await this.#activated(ref, when);
    } finally {
      const left = (this.#waiting.get(key) ?? 1) - 1;
      if (left > 0) this.#waiting.set(key, left);
      else this.#waiting.delete(key);
    }
  }

  async #activated(ref: ObjectRef, when: "free" | "mine"): Promise<Activation | Elsewhere> {
    const { key } = ref;
    for (let change = this.change(key); change; change = this.change(key)) {
      const elsewhere = await change;
      if (elsewhere) return elsewhere;
    }
    const existing = this.byKey.get(key);
    if (existing?.isLive) return existing;
    const starting = this.starting.get(key);
    if (starting) return starting;
    if (existing) throw waitsForDirectory(ref);
    const sleeper = this.sleepers.get(key);
    const elsewhere = this.movedAway.get(key);
    // Whoever wants it placed here knows of no owner: that it had moved is old news then, and the primary is asked.
    const isNews = when === "mine" && sleeper === undefined;
    if (elsewhere && isNews && this.setup.leases.host(elsewhere.session)) return elsewhere;
    this.movedAway.delete(key);
    // Noted before anything runs: an edge of this host answers a roll call in the same turn, and has its object woken for that.
    const { promise: start, resolve } = Promise.withResolvers<Activation | Elsewhere>();
    this.starting.set(key, start);
    const begun = sleeper ? this.#wake(sleeper) : this.#start(ref, when);
    resolve(begun.finally(() => this.starting.delete(key)));
    return start;
  }

  async #start(ref: ObjectRef, when: "free" | "mine"): Promise<Activation | Elsewhere> {
    const { leases, classes } = this.setup;
    this.#checkAccepts(ref, when);
    const loads = loadsWithLease(classes.get(ref.className)?.definition);
    const acquisition = await this.#acquire(ref, when, loads);
    if (!acquisition.owned) {
      this.dropCarried(ref.key); // It has been elsewhere since.
      return acquisition;
    }
    const { session, epoch, loaded } = acquisition;
    const runtime = classes.get(ref.className);
    if (runtime === undefined) {
      leases.release({ object: ref, epoch });
      throw classMissing(ref);
    }
    if (!session.isValid()) throw waitsForDirectory(ref);
    return this.#begin({ ref, runtime, session, epoch }, acquisition, loaded);
  }

  /** Reads what did not come with the lease, and starts. What fails gives the lease back. */
  async #begin(
    start: ObjectLease,
    acquisition: Extract<Acquisition, { owned: true }>,
    loaded: LoadedObject | undefined,
  ): Promise<Activation> {
    const { ref, runtime } = start;
    const found = loaded && (await this.#found(start, loaded));
    const arrived = this.arrivedState.get(ref.key)?.();
    const facts = { reason: arrived ? "move" : reasonOf(acquisition, found), gapMs: undefined } as const;
    const carriedState = this.#takeCarriedState(ref, runtime);
    const more = arrived && arrivedParts(runtime, arrived);
    const activation = await this.starter.start({ ...start, ...found, facts, carriedState, ...more });
    this.arrivedState.delete(ref.key);
    return this.settleLateStart(activation);
  }

  async #found({ ref, runtime, epoch }: ObjectLease, loaded: LoadedObject): Promise<StoredParts> {
    try {
      return await this.starter.found(ref, runtime, loaded);
    } catch (thrown) {
      this.setup.leases.release({ object: ref, epoch });
      throw asStatefulError(thrown, "start_failed");
    }
  }

  /** Its lease is ours already. Where something of it is stored, the lease is taken again and that comes along. */
  async #wake(sleeper: Sleeper): Promise<Activation | Elsewhere> {
    const { classes, leases, stores } = this.setup;
    const { ref, edges } = sleeper;
    const runtime = classes.get(ref.className);
    if (runtime === undefined) {
      this.sleepers.lose(sleeper, classMissing(ref));
      leases.release({ object: ref, epoch: sleeper.epoch });
      throw classMissing(ref);
    }
    // What is read is ours where the lease still is: then nobody else has had it since.
    const read = this.starter.topics(ref, runtime, sleeper.topics);
    const [held, topics] = await Promise.all([this.#heldBy(sleeper, runtime), read, edges.rollCall()]);
    if (!held.owned) {
      const cause = new StatefulError("session_over", `${ref.key} lives on another host by now.`);
      this.sleepers.lose(sleeper, cause);
      this.dropCarried(ref.key); // It has been elsewhere since.
      return held;
    }
    const { session, epoch, loaded } = held;
    const stored = loaded && (await this.starter.stored(ref, loaded));
    // Lost while it woke: what was asked for before that is nothing to start with.
    if (!session.isValid() || (sleeper.isOver && !held.isAnew)) throw waitsForDirectory(ref);
    const gapMs = sleeper.sinceMs === undefined ? undefined : Math.max(0, stores.nowMs() - sleeper.sinceMs);
    const arrived = this.arrivedState.get(ref.key)?.();
    const reason = arrived ? "move" : sleeper.isAfterCrash ? "crash" : "wake";
    const carriedState = this.#takeCarriedState(ref, runtime);
    this.sleepers.remove(sleeper);
    const activation = await this.starter.start({
      ...{ ref, runtime, session, epoch, stored, carriedState, ...topics },
      edges: held.isAnew ? this.edgesFor(ref, runtime) : edges, // those of before look for it, and come
      ...(arrived && arrivedParts(runtime, arrived)),
      facts: { reason, gapMs },
    });
    this.arrivedState.delete(ref.key);
    return this.settleLateStart(activation);
  }

  /** `isAnew`: it was lost, and is ours again by this very answer. */
  async #heldBy(sleeper: Sleeper, { definition }: ClassRuntime): Promise<Acquisition & { isAnew?: boolean }> {
    const { ref, session, epoch } = sleeper;
    if (!session.isValid()) throw waitsForDirectory(ref);
    if (!loadsWithLease(definition)) return { owned: true, session, epoch, former: "" };
    const acquisition = await this.setup.leases.acquire(ref, "mine", true);
    if (acquisition.owned) sleeper.resume(acquisition.session, acquisition.epoch);
    return { ...acquisition, isAnew: sleeper.isOver };
  }

  async #acquire(ref: ObjectRef, when: "free" | "mine", load: boolean): Promise<Acquisition> {
    this.#acquiring++;
    try {
      return await this.setup.leases.acquire(ref, when, load);
    } finally {
      this.#acquiring--;
    }
  }

  #checkAccepts(ref: ObjectRef, when: "free" | "mine"): ClassRuntime {
    try {
      return this.checkAccepts(ref);
    } catch (refusal) {
      // Others were told to ask here: what is left in the directory of an earlier time must not send them again.
      if (when === "mine") {
        this.setup.leases.disown(ref);
        this.dropCarried(ref.key); // The lease that kept it here goes with it.
      }
      throw refusal;
    }
  }

  protected checkAccepts(ref: ObjectRef): ClassRuntime {
    const { isDraining, classes, region, load } = this.setup;
    if (isDraining()) throw new StatefulError("host_draining", "This host is going away.");
    const runtime = classes.get(ref.className);
    if (runtime === undefined) throw classMissing(ref);
    const { regions } = runtime.definition.placement;
    if (regions.length > 0 && !regions.includes(region)) throw outsideRegions(ref, regions);
    const { objects, ...rest } = load();
    checkRoom({ ...rest, objects: objects + this.#acquiring + this.movesIn.size }, this.setup.pressure?.());
    return runtime;
  }

  /** A session that ended while `onStart` ran: the activation missed the adoption and catches up with it here. */
  protected async settleLateStart(activation: Activation, hasMoved = false): Promise<Activation> {
    const { phase } = activation;
    if (phase.name !== "suspended") return activation;
    if (phase.session !== this.setup.leases.session) {
      const adopted = this.adoption.adopt([activation], hasMoved ? undefined : 1);
      if (!hasMoved) await adopted;
    }
    if (activation.isLive) return activation;
    // Nobody has seen anything of it yet, unless it came from another host, whole: then the next session adopts it.
    if (!hasMoved) this.break(activation, waitsForDirectory(activation.ref));
    throw waitsForDirectory(activation.ref);
  }

  protected dropCarried(key: string): void {
    this.carriedState.delete(key);
    this.arrivedState.delete(key);
  }

  #takeCarriedState({ key }: ObjectRef, runtime: ClassRuntime): object | undefined {
    const carried = this.carriedState.get(key);
    this.carriedState.delete(key);
    return withDefaults(runtime, carried);
  }
}
