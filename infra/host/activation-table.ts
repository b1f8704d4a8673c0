import type { HeldLease, HostLoad } from "../lease/directory.ts";
import type { Acquisition, Leases } from "../lease/leases.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { StopReason } from "../object/context.ts";
import { Activation } from "./activation.ts";
import { Adoption } from "./adoption.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import { checkRoom } from "./host-limits.ts";
import type { CallsFrom } from "./object-calls.ts";

export interface ActivationTableSetup {
  readonly leases: Pick<Leases, "acquire" | "adopt" | "disown" | "release" | "session">;
  readonly classes: ReadonlyMap<string, ClassRuntime>;
  readonly region: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly isDraining: () => boolean;
  readonly load: () => HostLoad;
  readonly callsFrom: CallsFrom;
  /** In dev, state that cannot be cloned is refused when the object starts, not when it first has to move. */
  readonly checkState: boolean;
}

/** Not here: who has it, as the primary knows. */
export type Elsewhere = Extract<Acquisition, { owned: false }>;

const idleSweepIntervalMs = 1000;
const reloadQuietLimitMs = 5000;
const noCallers: readonly string[] = [];

/**
 * The objects that live on this host, at most one activation of each. Everything that starts, suspends, resumes or ends
 * an activation goes through here.
 */
export class ActivationTable {
  readonly #setup: ActivationTableSetup;
  readonly #byKey = new Map<string, Activation>();
  /** Starts and stops under way, by key: whoever asks meanwhile waits for the one that runs. */
  readonly #starting = new Map<string, Promise<Activation | Elsewhere>>();
  readonly #stopping = new Map<string, Promise<void>>();
  readonly #carriedState = new Map<string, object>();
  /** Who waits for a start or a stop, by key. */
  readonly #waiting = new Map<string, number>();
  readonly #adoption: Adoption;
  /** Objects whose lease is being asked for: they take room already, or a burst of starts would go past the limit. */
  #acquiring = 0;
  #cancelSweep: CancelTimer;

  constructor(setup: ActivationTableSetup) {
    this.#setup = setup;
    const { leases, clock, log } = setup;
    this.#adoption = new Adoption({
      leases,
      clock,
      log,
      lost: (activation, cause) => this.#end(activation, cause),
      over: (activation) => this.#forget(activation),
    });
    this.#cancelSweep = this.#sweepLater();
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** The activation of the key if it may serve right now. The hot path: one look-up and one comparison. */
  live(key: string): Activation | undefined {
    const activation = this.#byKey.get(key);
    return activation?.isLive ? activation : undefined;
  }

  /** The activation of the key, for a caller that hands it an event at once: it checks its lease then, and only once. */
  running(key: string): Activation | undefined {
    const activation = this.#byKey.get(key);
    return activation?.phase.name === "live" ? activation : undefined;
  }

  /** Throws `session_over` where the object lives here and waits for its lease to be confirmed: nobody else may have it. */
  checkNotWaiting(ref: ObjectRef): void {
    const activation = this.#byKey.get(ref.key);
    if (activation === undefined || activation.isLive || this.#starting.has(ref.key)) return;
    if (activation.phase.name === "suspended" || activation.phase.name === "live")
      throw waitsForDirectory(ref);
  }

  /** Whether the object's own `onStart` or `onStop` runs here, each of which has a limit of its own. */
  isChanging(key: string): boolean {
    const name = this.#byKey.get(key)?.phase.name;
    return name === "starting" || name === "stopping";
  }

  all(): Iterable<Activation> {
    return this.#byKey.values();
  }

  /** What this host believes it holds under its current session, for the comparison with the directory (L9). */
  *held(): Iterable<HeldLease> {
    for (const { ref, phase } of this.#byKey.values()) {
      if (phase.name === "live" && phase.session === this.#setup.leases.session)
        yield { object: ref, epoch: phase.epoch };
    }
  }

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
    const existing = this.#byKey.get(key);
    if (existing?.isLive) return existing;
    if (chain.includes(key) && (this.#starting.has(key) || this.#stopping.has(key)))
      throw callCycle(ref, chain);
    const waiting = this.#waiting.get(key) ?? 0;
    const limits = this.#setup.classes.get(ref.className)?.definition.limits;
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
    await this.#stopping.get(ref.key);
    const existing = this.#byKey.get(ref.key);
    if (existing?.isLive) return existing;
    const starting = this.#starting.get(ref.key);
    if (starting) return starting;
    if (existing) throw waitsForDirectory(ref);
    const start = this.#start(ref, when).finally(() => this.#starting.delete(ref.key));
    this.#starting.set(ref.key, start);
    return start;
  }

  async #start(ref: ObjectRef, when: "free" | "mine"): Promise<Activation | Elsewhere> {
    const { leases, classes, clock, log, callsFrom } = this.#setup;
    try {
      this.#checkAccepts(ref);
    } catch (refusal) {
      // Others were told to ask here: what is left in the directory of an earlier time must not send them again.
      if (when === "mine") leases.disown(ref);
      throw refusal;
    }
    this.#acquiring++;
    const acquisition = await leases.acquire(ref, when).finally(() => this.#acquiring--);
    if (!acquisition.owned) return acquisition;
    const { session, epoch } = acquisition;
    const lease = { object: ref, epoch };
    const runtime = classes.get(ref.className);
    if (runtime === undefined) {
      leases.release(lease);
      throw classMissing(ref);
    }
    if (!session.isValid()) throw waitsForDirectory(ref);
    const carriedState = this.#takeCarriedState(ref, runtime);
    let activation: Activation | undefined;
    try {
      const setup = { ref, runtime, session, epoch, clock, log, callsFrom };
      activation = new Activation(carriedState ? { ...setup, carriedState } : setup);
      if (this.#setup.checkState) checkCloneable(activation);
      this.#byKey.set(ref.key, activation);
      await activation.start("create");
      log.debug("object.started", { object: ref.key, epoch });
      await this.#settleLateStart(activation);
      return activation;
    } catch (thrown) {
      const cause = asStatefulError(thrown, "start_failed");
      if (cause !== thrown) log.error("object.start.failed", { object: ref.key, error: thrown });
      activation?.end(cause);
      this.#byKey.delete(ref.key);
      // The next session may have adopted it while it started: then the lease has a later epoch.
      leases.release({ object: ref, epoch: activation?.epoch ?? epoch });
      throw cause;
    }
  }

  #checkAccepts(ref: ObjectRef): void {
    if (this.#setup.isDraining()) throw new StatefulError("host_draining", "This host is going away.");
    const runtime = this.#setup.classes.get(ref.className);
    if (runtime === undefined) throw classMissing(ref);
    const { regions } = runtime.definition.placement;
    if (regions.length > 0 && !regions.includes(this.#setup.region)) throw outsideRegions(ref, regions);
    const load = this.#setup.load();
    checkRoom({ ...load, objects: load.objects + this.#acquiring });
  }

  /** A session that ended while `onStart` ran: the activation missed the adoption and catches up with it here. */
  async #settleLateStart(activation: Activation): Promise<void> {
    const { phase } = activation;
    if (phase.name !== "suspended") return;
    if (phase.session !== this.#setup.leases.session) await this.#adoption.adopt([activation], 1);
    if (!activation.isLive) throw waitsForDirectory(activation.ref);
  }

  // -- the session (L1, L9)

  /** Nothing is served from here on; what lives may be adopted by the next session. */
  suspendAll(): void {
    for (const activation of this.#byKey.values()) activation.suspend();
    this.#carriedState.clear(); // The leases that kept it here are gone.
  }

  /** The next session is open: takes over what nobody took since, ends the rest. Never rejects. */
  async adoptAll(): Promise<void> {
    await this.#adoption.adopt([...this.#byKey.values()].filter(({ phase }) => phase.name === "suspended"));
  }

  /** The directory does not show these as held by us (L9). */
  endLost(leases: readonly HeldLease[]): void {
    for (const { object, epoch } of leases) {
      const activation = this.#byKey.get(object.key);
      if (activation?.phase.name !== "live" || activation.phase.epoch !== epoch) continue;
      this.#end(
        activation,
        new StatefulError("session_over", `The directory lost the lease of ${object.key}.`),
      );
    }
  }

  #end(activation: Activation, cause: StatefulError): void {
    activation.end(cause);
    this.#forget(activation);
    this.#setup.log.warn("object.ended", { object: activation.ref.key, cause: cause.message });
  }

  #forget(activation: Activation): void {
    if (this.#byKey.get(activation.ref.key) === activation) this.#byKey.delete(activation.ref.key);
  }

  // -- stopping

  /** Stops one activation and gives its lease back. Waits for `onStop`. */
  stop(activation: Activation, reason: StopReason, quietLimitMs = 0): Promise<void> {
    const { key } = activation.ref;
    const under = this.#stopping.get(key);
    if (under) return under;
    const stop = this.#stop(activation, reason, quietLimitMs).finally(() => this.#stopping.delete(key));
    this.#stopping.set(key, stop);
    return stop;
  }

  async #stop(activation: Activation, reason: StopReason, quietLimitMs: number): Promise<void> {
    const { phase, ref } = activation;
    if (phase.name !== "live") return;
    try {
      await activation.stop(reason, quietLimitMs);
    } catch (thrown) {
      this.#breakOff(activation, thrown);
      throw thrown;
    }
    if (activation.phase.name !== "over") return; // The session ended meanwhile: adoption decides.
    this.#forget(activation);
    // A reload keeps the lease: the object's state waits here, so here it must start again, whoever asks next.
    if (reason === "reload") this.#carriedState.set(ref.key, activation.lastState);
    else this.#setup.leases.release({ object: ref, epoch: activation.epoch });
    this.#setup.log.debug("object.stopped", { object: ref.key, reason });
  }

  /** A stop that failed half-way would leave an object that neither serves nor makes room for the next. */
  #breakOff(activation: Activation, thrown: unknown): void {
    try {
      activation.end(asStatefulError(thrown));
    } finally {
      this.#forget(activation);
      this.#setup.leases.release({ object: activation.ref, epoch: activation.epoch });
    }
  }

  /** The class's file changed: every object of it starts anew at its next event, with its state carried over. */
  async reload(className: string): Promise<void> {
    await this.#stopClass(className, "reload");
  }

  /** The class is no longer run here: its objects stop, and other hosts may have them. */
  async removeClass(className: string): Promise<void> {
    await this.#stopClass(className, "drain");
  }

  async #stopClass(className: string, reason: StopReason): Promise<void> {
    const starting = [...this.#starting].filter(([key]) => key.startsWith(`${className}/`));
    await Promise.allSettled(starting.map(([, start]) => start));
    const concerned = [...this.#byKey.values()].filter(({ ref }) => ref.className === className);
    await Promise.all(concerned.map((activation) => this.stop(activation, reason, reloadQuietLimitMs)));
  }

  /** Stops everything, in parallel; the host takes nothing any more. What is still starting is stopped once it has. */
  async close(reason: StopReason, quietLimitMs: number): Promise<void> {
    this.#cancelSweep();
    this.#adoption.close();
    await Promise.allSettled(this.#starting.values());
    await Promise.allSettled(
      [...this.#byKey.values()].map((activation) => this.stop(activation, reason, quietLimitMs)),
    );
  }

  #sweepLater(): CancelTimer {
    return this.#setup.clock.after(idleSweepIntervalMs, () => {
      this.#cancelSweep = this.#sweepLater();
      this.#sweepIdle();
    });
  }

  #sweepIdle(): void {
    const now = this.#setup.clock.monotonicMs();
    for (const activation of this.#byKey.values()) {
      if (activation.touched || !activation.isIdle) {
        activation.touched = false;
        activation.idleSinceMs = now;
      } else if (
        now - activation.idleSinceMs >= activation.runtime.definition.idleAfterMs &&
        activation.isLive
      ) {
        this.stop(activation, "idle").catch((error) => {
          this.#setup.log.error("object.stop.failed", { object: activation.ref.key, error });
        });
      }
    }
  }

  #takeCarriedState(ref: ObjectRef, runtime: ClassRuntime): object | undefined {
    const carried = this.#carriedState.get(ref.key);
    if (carried === undefined) return undefined;
    this.#carriedState.delete(ref.key);
    return Object.assign(runtime.definition.state(), carried); // fields that the new code added keep their defaults
  }
}

function checkCloneable(activation: Activation): void {
  try {
    structuredClone(activation.lastState);
  } catch (cause) {
    const { className } = activation.ref;
    const message = `The state of class "${className}" cannot be cloned, so it could neither be saved nor moved: ${String(cause)}`;
    throw new StatefulError("start_failed", message, { cause });
  }
}

function classMissing(ref: ObjectRef): StatefulError {
  const message = `This host does not run the class "${ref.className}".`;
  return new StatefulError("unknown_class", message, { details: { reason: "class_missing" } });
}

/** An edge that does not run the class cannot know its regions, so the host that was asked has the last word. */
function outsideRegions(ref: ObjectRef, regions: readonly string[]): StatefulError {
  const message = `${ref.key} lives in ${regions.join(", ")} only.`;
  return new StatefulError("no_eligible_host", message, { details: { reason: "outside_pinned_regions" } });
}

function waitsForDirectory(ref: ObjectRef): StatefulError {
  const message = `${ref.key} cannot be served: this host waits to have its lease confirmed.`;
  return new StatefulError("session_over", message, { retryAfterMs: 1000 });
}

function callCycle(ref: ObjectRef, chain: readonly string[]): StatefulError {
  const path = [...chain, ref.key].join(" → ");
  return new StatefulError("call_cycle", `The call comes back to an object that waits for it: ${path}.`);
}

function tooManyWait(ref: ObjectRef, waiting: number): StatefulError {
  const message = `${ref.key} is about to start, and ${waiting} wait for it already, which is its limit.`;
  return new StatefulError("queue_full", message, { retryAfterMs: 1000 });
}
