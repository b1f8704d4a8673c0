import type { HeldLease, HostRecord } from "../lease/directory.ts";
import type { Session } from "../lease/leases.ts";
import { sleep } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { StopReason } from "../object/context.ts";
import type { Activation } from "./activation.ts";
import type { ActivationLife } from "./activation-life.ts";
import type { Adoptable } from "./adoption.ts";
import type { MoveOffer, MoveResult } from "./move-ports.ts";
import type { MoveOptions } from "./moves-out.ts";
import type { MovePackage } from "./move-package.ts";
import type { ArrivedObject } from "./moves-in.ts";
import type { ObjectEdges } from "./object-edges.ts";
import { storedOf } from "./object-starter.ts";
import { ObjectTable } from "./object-table.ts";
import { Sleeper, type SleeperSetup } from "./sleeper.ts";
import { keptUntilMs } from "../topics/topic-histories.ts";
import { startingState } from "../storage/state-keeper.ts";
import { classMissing, dataTooNew, waitsForDirectory } from "./start-refusals.ts";

export type { Elsewhere, ObjectTableSetup as ActivationTableSetup } from "./object-table.ts";

const reloadQuietLimitMs = 5000;
/** Where objects have gone is remembered of so many, for whoever still asks here. */
const movedAwayMax = 20_000;
/** Objects that are named in the log where the directory lost memory. */
const forgottenNamedMax = 1_000;

/**
 * The objects that live on this host, at most one activation of each, and those that sleep here. Everything that starts,
 * suspends, moves, resumes or ends an activation goes through here.
 */
export class ActivationTable extends ObjectTable {
  /** The sessions since the directory last lost memory; undefined where it never has. */
  #sinceLoss: WeakSet<Session> | undefined;

  // -- the session (L1, L9)

  /** Nothing is served from here on, but where a class asks for that (L8); what lives may be adopted by the next session. */
  suspendAll(isUnconfirmed = false): void {
    for (const activation of this.byKey.values()) activation.suspend(isUnconfirmed);
    this.carriedOver.clear(); // The leases that kept it here are gone.
  }

  /**
   * The next session is open: takes over what nobody took since, ends the rest. Never rejects. `hasForgotten`: the directory lost
   * memory meanwhile (L9).
   */
  async adoptAll(hasForgotten = false): Promise<void> {
    if (hasForgotten) this.movesIn.close(); // what has come is of before
    if (hasForgotten) this.#sinceLoss = new WeakSet();
    this.#sinceLoss?.add(this.setup.leases.session);
    if (hasForgotten) this.#endForgotten([...this.byKey.values()].filter((each) => this.#isForgotten(each)));
    const all: Adoptable[] = [...this.byKey.values(), ...this.sleepers.all()];
    await this.adoption.adopt(all.filter(({ suspendedUnder }) => suspendedUnder !== undefined));
  }

  /** One that was starting is looked at once it has: what it has read may be of before. */
  #isForgotten({ phase, isStored }: Activation): boolean {
    return phase.name === "suspended" && isStored && this.#sinceLoss?.has(phase.session) === false;
  }

  /**
   * What they have in memory is of a directory that is no more: they would go on with writes that are lost, beside others that
   * are not. Whoever asks next starts them from what is stored.
   */
  #endForgotten(stored: readonly Activation[]): void {
    if (stored.length === 0) return;
    const advice =
      "What they were acknowledged since the directory's last backup may be lost. They start from what is stored.";
    const objects = stored.slice(0, forgottenNamedMax).map(({ ref }) => ref.key);
    this.setup.log.error("directory.forgot", { count: stored.length, objects, advice });
    for (const activation of stored) {
      const message = `The directory may have lost what ${activation.ref.key} had stored.`;
      this.lose(activation, new StatefulError("session_over", message));
    }
  }

  /** A session that ended while `onStart` ran: the activation missed the adoption and catches up with it here. */
  protected async settleLateStart(activation: Activation, hasMoved = false): Promise<Activation> {
    const { phase } = activation;
    if (phase.name !== "suspended") return activation;
    if (this.#isForgotten(activation)) {
      this.#endForgotten([activation]);
      throw waitsForDirectory(activation.ref);
    }
    if (phase.session !== this.setup.leases.session) {
      const adopted = this.adoption.adopt([activation], hasMoved ? undefined : 1);
      if (!hasMoved) await adopted;
    }
    if (activation.isLive) return activation;
    // Nobody has seen anything of it yet, unless it came from another host, whole: then the next session adopts it.
    if (!hasMoved) this.break(activation, waitsForDirectory(activation.ref));
    throw waitsForDirectory(activation.ref);
  }

  /** The directory does not show these as held by us (L9). */
  endLost(leases: readonly HeldLease[]): void {
    for (const { object, epoch } of leases) {
      const lost = new StatefulError("session_over", `The directory lost the lease of ${object.key}.`);
      const activation = this.byKey.get(object.key);
      if (activation?.phase.name === "live" && activation.phase.epoch === epoch) this.lose(activation, lost);
      const sleeper = this.sleepers.get(object.key);
      if (sleeper?.epoch === epoch) this.lose(sleeper, lost);
    }
  }

  /** Its sockets stay open: their edges look for whoever has the object. */
  protected lose(adoptable: Adoptable, cause: StatefulError): void {
    if (adoptable instanceof Sleeper) this.sleepers.lose(adoptable, cause);
    else {
      const activation = this.byKey.get(adoptable.ref.key);
      activation?.end(cause, true);
      activation?.attachedEdges?.close(cause);
      this.forget(adoptable);
    }
    this.setup.log.warn("object.ended", { object: adoptable.ref.key, cause: cause.message });
  }

  /** Fenced, or no longer able to keep what it promises: whoever asks next starts it anew, from what is stored. */
  protected break(activation: ActivationLife, cause: StatefulError): void {
    activation.end(cause);
    activation.attachedEdges?.close(cause);
    this.forget(activation);
    this.setup.log.warn("object.ended", { object: activation.ref.key, cause: cause.message });
    this.setup.leases.release({ object: activation.ref, epoch: activation.epoch });
  }

  /** Ends one with an error for whoever waits for it: it has more in memory than its class may. */
  stopOffender(activation: Activation, cause: StatefulError): void {
    this.break(activation, cause);
  }

  protected over(adoptable: Adoptable): void {
    const { key } = adoptable.ref;
    if (!(adoptable instanceof Sleeper))
      this.byKey.get(key)?.attachedEdges?.close(new StatefulError("not_owner", `${key} has stopped.`));
    this.forget(adoptable);
  }

  protected forget(adoptable: Adoptable): void {
    const activation = this.byKey.get(adoptable.ref.key);
    if (activation !== adoptable) return;
    this.byKey.delete(adoptable.ref.key);
  }

  // -- stopping

  protected stopSoon(activation: Activation, reason: StopReason): void {
    this.stop(activation, reason).catch((error) => {
      this.setup.log.error("object.stop.failed", { object: activation.ref.key, error });
    });
  }

  /** Stops one activation. Its lease is given back, unless it has sockets: then it sleeps. Waits for `onStop`. */
  stop(activation: Activation, reason: StopReason, quietLimitMs = 0): Promise<void> {
    const { key } = activation.ref;
    const under = this.stopping.get(key);
    if (under) return under;
    const stop = this.#stop(activation, reason, quietLimitMs).finally(() => this.stopping.delete(key));
    this.stopping.set(key, stop);
    return stop;
  }

  async #stop(activation: Activation, reason: StopReason, quietLimitMs: number): Promise<void> {
    if (activation.phase.name !== "live") return;
    const edges = activation.attachedEdges;
    edges?.shut(false);
    try {
      await activation.stop(reason, quietLimitMs);
    } catch (thrown) {
      this.break(activation, asStatefulError(thrown));
      throw thrown;
    }
    if (!activation.isOver) return; // The session ended meanwhile: adoption decides.
    this.forget(activation);
    this.#stopped(activation, reason);
    this.setup.log.debug("object.stopped", { object: activation.ref.key, reason });
  }

  #stopped(activation: Activation, reason: StopReason): void {
    const { ref, epoch, runtime, attachedEdges, topicsAsleep: topics } = activation;
    const { leases, stores } = this.setup;
    const { session } = leases;
    const keepsMessages = keptUntilMs(topics) > 0;
    const edges = attachedEdges ?? (keepsMessages ? this.edgesFor(ref, runtime) : undefined);
    const isWanted = keepsMessages || (edges !== undefined && edges.size > 0);
    const sleeps = isWanted && reason !== "drain" && session.isValid();
    // A reload keeps the lease: the object's state waits here, so here it must start again, whoever asks next.
    const keepsState = reason === "reload" && runtime.definition.durability === "memory";
    if (keepsState) this.carriedOver.keepState(ref.key, activation.lastState);
    if (edges && sleeps) {
      const { nextAlarmMs } = activation;
      const lease = { ref, session, epoch, edges };
      const sinceMs = stores.nowMs();
      this.sleepers.add({ ...lease, sinceMs, isAfterCrash: false, nextAlarmMs, topics });
      edges.sleep();
      return;
    }
    edges?.close(new StatefulError("not_owner", `${ref.key} has stopped (${reason}).`));
    if (!keepsState) leases.release({ object: ref, epoch });
  }

  /** The class's file changed: every object of it starts anew at its next event, with its state carried over. */
  async reload(className: string): Promise<void> {
    await this.#stopClass(className, "reload");
  }

  /** The class is no longer run here: its objects stop, and other hosts may have them. */
  async removeClass(className: string): Promise<void> {
    await this.#stopClass(className, "drain");
    for (const sleeper of [...this.sleepers.all()])
      if (sleeper.ref.className === className) this.#giveUp(sleeper, "its class is gone");
  }

  #giveUp(sleeper: Sleeper, why: string): void {
    const { ref, epoch } = sleeper;
    this.sleepers.lose(sleeper, new StatefulError("not_owner", `${ref.key} is no longer here: ${why}.`));
    this.setup.leases.release({ object: ref, epoch });
  }

  async #stopClass(className: string, reason: StopReason): Promise<void> {
    await this.#starts((key) => key.startsWith(`${className}/`));
    const concerned = [...this.byKey.values()].filter(({ ref }) => ref.className === className);
    await Promise.all(concerned.map((activation) => this.stop(activation, reason, reloadQuietLimitMs)));
  }

  /** Stops everything, in parallel; the host takes nothing any more. What is still starting is stopped once it has. */
  async close(reason: StopReason, quietLimitMs: number): Promise<void> {
    this.sweep.stop();
    this.adoption.close();
    await this.#starts(() => true);
    this.movesOut.close();
    // Those whose compare-and-set is out are settled with the session; the others live on here, and stop with the rest.
    await Promise.race([Promise.allSettled(this.moving.values()), sleep(this.setup.clock, quietLimitMs)]);
    await Promise.allSettled(
      [...this.byKey.values()].map((activation) => this.stop(activation, reason, quietLimitMs)),
    );
    for (const sleeper of [...this.sleepers.all()]) this.#giveUp(sleeper, "its host stops");
    this.movesIn.close();
  }

  // -- moving (L7)

  /** @throws StatefulError why this host does not take an object that another offers to move here. */
  protected checkOffer({ ref, dataVersion }: MoveOffer): void {
    const { definition } = this.checkAccepts(ref);
    if (dataVersion > definition.version) throw dataTooNew(ref, dataVersion, definition.version);
    const { key } = ref;
    if (this.byKey.has(key) || this.sleepers.get(key) || this.isStarting(key) || this.stopping.has(key))
      throw new StatefulError("move_failed", `${key} lives on this host already.`);
  }

  protected async startArrived({ ref, session, epoch, moved, again }: ArrivedObject): Promise<void> {
    const { classes, stores, leases } = this.setup;
    const runtime = classes.get(ref.className);
    if (runtime === undefined) {
      leases.release({ object: ref, epoch });
      throw classMissing(ref);
    }
    const { definition } = runtime;
    const { topics, storedTopics } = moved;
    const isAwaited = moved.edges.length > 0 || keptUntilMs(topics) > 0;
    const edges = isAwaited ? this.edgesFor(ref, runtime) : undefined;
    this.movedAway.delete(ref.key);
    this.carriedOver.drop(ref.key);
    if (moved.state === undefined) return this.#sleepOn(moved, { ref, session, epoch }, edges);
    edges?.arrived(moved.edges, { session: session.id, epoch }, this.setup.edgePorts);
    const gapMs = moved.sinceMs === undefined ? undefined : Math.max(0, stores.nowMs() - moved.sinceMs);
    const carriedState = startingState(definition.state(), moved.state);
    const stored = storedOf(moved, definition);
    const start = this.starter.start({
      ...{ ref, runtime, session, epoch, stored, carriedState, edges, carried: moved.carried },
      ...{ topics, storedTopics },
      facts: { reason: "move", gapMs },
      keepsLease: true,
    });
    const started = start.then((activation) => {
      activation.arrivedWith = moved.note;
      return this.settleLateStart(activation, true);
    });
    this.starting.set(ref.key, started);
    try {
      await started;
    } catch (thrown) {
      // What has come is kept, as long as the lease is: whoever asks next starts it again, from here.
      if (!this.byKey.has(ref.key) && session.isValid()) this.carriedOver.keepArrived(ref.key, again);
      throw thrown;
    } finally {
      this.starting.delete(ref.key);
    }
  }

  #sleepOn(
    { edges: arrived, sinceMs, nextAlarmMs, topics }: MovePackage,
    lease: Pick<SleeperSetup, "ref" | "session" | "epoch">,
    edges: ObjectEdges | undefined,
  ): void {
    const { leases, edgePorts } = this.setup;
    const { ref, session, epoch } = lease;
    if (edges === undefined) return leases.release({ object: ref, epoch });
    const sleeper = this.sleepers.add({ ...lease, edges, sinceMs, nextAlarmMs, topics, isAfterCrash: false });
    edges.arrived(arrived, { session: session.id, epoch }, edgePorts);
    edges.sleep();
    if (!session.isValid()) void this.adoption.adopt([sleeper]);
  }

  /**
   * Moves an object that lives or sleeps here to that host. Rejects with `move_failed` where it lives on here, or with why
   * it is over. Of two moves at once the second is refused, unless this host goes away: then the first is called off.
   */
  async move(ref: ObjectRef, target: HostRecord, options: MoveOptions): Promise<MoveResult> {
    const { key } = ref;
    const before = this.#otherMove(key, options);
    if (before) return before.then(() => this.move(ref, target, options));
    const sleeper = this.isStarting(key) ? undefined : this.sleepers.get(key);
    // One that something waits for is about to wake; one that has come and could not start yet is more than its sleeper.
    const hasStarted = !this.carriedOver.hasArrived(key);
    if (sleeper && hasStarted && !sleeper.edges.isWaiting) return this.#moveAsleep(sleeper, target, options);
    const activation = await this.activate(ref, "mine");
    if ("owned" in activation) throw new StatefulError("not_owner", `${key} does not live here.`);
    const meanwhile = this.#otherMove(key, options);
    if (meanwhile) return meanwhile.then(() => this.move(ref, target, options));
    const move = this.movesOut.move(activation, target, options);
    const under = move.then(
      (result) => this.#moved(activation, target, result, options),
      () => undefined,
    );
    try {
      return await this.#underWay(key, move, under);
    } finally {
      if (activation.isOver) this.forget(activation);
    }
  }

  /** What is to be waited for first: a drain calls another move off, instead of waiting for what that waits for. */
  #otherMove(key: string, { isForced }: MoveOptions): Promise<unknown> | undefined {
    const other = this.moving.get(key);
    if (other === undefined) return undefined;
    if (!isForced) throw new StatefulError("move_failed", `${key} is moving already.`);
    this.movesOut.callOff(key, "This host goes away, and so the object goes at once.");
    return other;
  }

  async #moveAsleep(sleeper: Sleeper, target: HostRecord, options: MoveOptions): Promise<MoveResult> {
    const { ref } = sleeper;
    const version = this.setup.classes.get(ref.className)?.definition.version ?? 1;
    const move = this.movesOut.moveAsleep(sleeper, version, target);
    const under = move.then(
      (result) => {
        this.sleepers.remove(sleeper);
        return this.#moved(sleeper, target, result, options);
      },
      (error: StatefulError) => {
        // By a live session that is only said of a lease that is not ours.
        if (error.code === "not_owner") this.lose(sleeper, error);
        return undefined;
      },
    );
    return this.#underWay(ref.key, move, under);
  }

  /** Settles like `move`, once what follows from it has been done; until then it is this key's only move. */
  async #underWay(
    key: string,
    move: Promise<MoveResult>,
    under: Promise<MoveResult | undefined>,
  ): Promise<MoveResult> {
    // Whoever waited for it may begin the next.
    const over = under.finally(() => {
      this.moving.delete(key);
      const sleeper = this.sleepers.get(key);
      if (sleeper) this.giveUpUnattached(sleeper);
    });
    this.moving.set(key, over);
    try {
      return await move;
    } finally {
      await over;
    }
  }

  #moved(activation: Adoptable, owner: HostRecord, result: MoveResult, { reason }: MoveOptions): MoveResult {
    const { key } = activation.ref;
    this.forget(activation);
    this.movedAway.set(key, { owned: false, session: result.toSession, epoch: result.epoch, owner });
    if (this.movedAway.size > movedAwayMax) {
      const [oldest] = this.movedAway.keys();
      if (oldest !== undefined) this.movedAway.delete(oldest);
    }
    const { hostId: to, region: toRegion } = owner;
    this.setup.log.info("object.moved", { object: key, to, toRegion, reason, pauseMs: result.pauseMs });
    return result;
  }

  async #starts(concerns: (key: string) => boolean): Promise<void> {
    await Promise.allSettled(this.startsUnderWay(concerns));
  }
}
