import type { HeldLease } from "../lease/directory.ts";
import type { Acquisition, Leases } from "../lease/leases.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Activation } from "./activation.ts";
import type { Arrivals, MoveResult } from "./move-ports.ts";
import type { MovesIn } from "./moves-in.ts";
import type { ObjectEdges } from "./object-edges.ts";
import type { Sleeper } from "./sleeper.ts";
import type { Sleepers } from "./sleepers.ts";
import { waitsForDirectory } from "./start-refusals.ts";

/** Not here: who has it, as the primary knows. */
export type Elsewhere = Extract<Acquisition, { owned: false }>;

/** Which objects are on this host, and in which state. */
export abstract class HostObjects {
  protected readonly byKey = new Map<string, Activation>();
  /** Starts, stops and moves under way, by key: whoever asks meanwhile waits for the one that runs. */
  protected readonly starting = new Map<string, Promise<Activation | Elsewhere>>();
  protected readonly claiming = new Map<string, Promise<void>>();
  protected readonly stopping = new Map<string, Promise<void>>();
  protected readonly moving = new Map<string, Promise<MoveResult | undefined>>();
  protected readonly movedAway = new Map<string, Elsewhere>();

  protected abstract readonly leases: Pick<Leases, "session">;
  protected abstract readonly sleepers: Sleepers;
  protected abstract readonly movesIn: MovesIn;

  /** Live activations. */
  get size(): number {
    return this.byKey.size;
  }
  get asleep(): number {
    return this.sleepers.size;
  }
  get arrivals(): Arrivals {
    return this.movesIn;
  }
  /** Objects that are on their way here. */
  get arriving(): number {
    return this.movesIn.size;
  }

  /** The activation of the key if it may serve right now. The hot path: one look-up and one comparison. */
  live(key: string): Activation | undefined {
    const activation = this.byKey.get(key);
    return activation?.isLive ? activation : undefined;
  }

  /** The activation of the key, for a caller that hands it an event at once: it checks its lease then, and only once. */
  running(key: string): Activation | undefined {
    const activation = this.byKey.get(key);
    return activation?.phase.name === "live" ? activation : undefined;
  }

  /** Throws `session_over` where the object is here and waits for its lease to be confirmed: nobody else may have it. */
  checkNotWaiting(ref: ObjectRef): void {
    if (this.starting.has(ref.key)) return;
    if (this.sleepers.get(ref.key)?.suspendedUnder !== undefined) throw waitsForDirectory(ref);
    const activation = this.byKey.get(ref.key);
    if (activation === undefined || activation.isLive) return;
    if (activation.phase.name === "suspended" || activation.phase.name === "live")
      throw waitsForDirectory(ref);
  }

  /** Whether the object starts, stops or moves here, each of which has limits of its own. */
  isChanging(key: string): boolean {
    const name = this.byKey.get(key)?.phase.name;
    if (name === "starting" || name === "stopping") return true;
    return this.moving.has(key) || this.movesIn.isArriving(key);
  }

  /**
   * What whoever wants the object waits for, again and again until there is nothing: it stops, moves or is claimed here. Resolves with
   * who has it where there is no waiting for that. From the last look on everything must happen in the same turn, or a move
   * begins in between.
   */
  protected change(key: string): Promise<Elsewhere | undefined> | undefined {
    const ours = this.claiming.get(key) ?? this.stopping.get(key) ?? this.moving.get(key);
    return ours?.then(nowhere) ?? this.movesIn.whereabouts(key);
  }

  all(): Iterable<Activation> {
    return this.byKey.values();
  }
  sleeping(key: string): Sleeper | undefined {
    return this.sleepers.get(key);
  }
  allAsleep(): Iterable<Sleeper> {
    return this.sleepers.all();
  }

  /** What this host believes it holds under its current session, for the comparison with the directory (L9). */
  *held(): Iterable<HeldLease> {
    const { session } = this.leases;
    for (const { ref, phase } of this.byKey.values()) {
      if (phase.name === "live" && phase.session === session) yield { object: ref, epoch: phase.epoch };
    }
    for (const sleeper of this.sleepers.all())
      if (sleeper.session === session) yield { object: sleeper.ref, epoch: sleeper.epoch };
  }

  /** The edges of an object that lives or sleeps here. */
  edgesOf(key: string): ObjectEdges | undefined {
    return this.byKey.get(key)?.attachedEdges ?? this.sleepers.get(key)?.edges;
  }

  /** Whether another copy of what has ended runs, sleeps or starts here: it has the lease then, if this host has it. */
  protected isTakenAnew(old: { readonly ref: ObjectRef }): boolean {
    const { key } = old.ref;
    const known = this.byKey.get(key) ?? this.sleepers.get(key) ?? old;
    return known !== old || this.starting.has(key) || this.claiming.has(key);
  }
  protected isStarting(key: string): boolean {
    return this.starting.has(key);
  }
  protected startsUnderWay(concerns: (key: string) => boolean): readonly Promise<unknown>[] {
    return [...this.starting].filter(([key]) => concerns(key)).map(([, start]) => start);
  }
}

function nowhere(): undefined {
  return undefined;
}
