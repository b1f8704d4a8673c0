import type { OwnedObjects } from "../../infra/edge/owner-calls.ts";
import type { MovedObject, OwnerAccount } from "../../infra/edge/owner-protocol.ts";
import type { Activation } from "../../infra/host/activation.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Log } from "../../infra/lib/log.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import { type ExplainedLife, explainLife, followInWords } from "../../infra/placement/explain-life.ts";
import { type FollowQuestion, followedTraffic, shouldFollow } from "../../infra/placement/follow.ts";
import { followMovesPerMinute, MoveBudget } from "../../infra/placement/move-budget.ts";
import type { MoveWish } from "../../infra/placement/move-targets.ts";
import type { FollowSettings } from "./config.ts";
import type { ObjectMoves } from "./object-moves.ts";
import type { ObjectTraffic } from "./object-traffic.ts";

export interface MoverSetup {
  readonly self: { readonly hostId: string; readonly region: string };
  readonly table: ActivationTable;
  readonly session: () => string;
  readonly moves: ObjectMoves;
  readonly traffic: ObjectTraffic;
  readonly settings: FollowSettings;
  readonly clock: Clock;
  readonly log: Log;
  readonly isDraining: () => boolean;
  /** Asks the directory which hosts are alive. Never rejects. */
  readonly refreshHosts: () => Promise<unknown>;
}

/** Objects that are thought about in one look: those with the most events since the last. */
const followedMax = 1000;
/** Objects that are passed, and that are thought about, before others have their turn. */
const passedPerTurn = 10_000;
const decidedPerTurn = 50;

/** Moves that this host's objects make while it lives: by hand, after their users, and off it when it is short of memory. */
export class Mover implements OwnedObjects {
  readonly #setup: MoverSetup;
  readonly #budget: MoveBudget;
  #cancel: CancelTimer | undefined;
  #isStopped = false;

  constructor(setup: MoverSetup) {
    this.#setup = setup;
    this.#budget = new MoveBudget(followMovesPerMinute, setup.clock.monotonicMs());
  }

  /** Looks again and again whether objects should follow their users. */
  start(): void {
    if (this.#isStopped) return;
    const { clock, settings } = this.#setup;
    this.#cancel = clock.after(settings.intervalMs, () => {
      void this.follow().then(() => this.start());
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  // -- by hand

  async move({ ref, epoch }: Activation, wish: MoveWish): Promise<MovedObject> {
    const { self, moves, session } = this.#setup;
    const from = { hostId: self.hostId, region: self.region };
    const isThere = "region" in wish ? wish.region === self.region : wish.hostId === self.hostId;
    if (isThere) return { from, to: from, session: session(), epoch, pauseMs: 0 };
    const cause = { kind: "operator", wish } as const;
    const moved = await moves.move(ref, cause).catch(async (error: unknown) => {
      // The host that is wished for may have started since this one last heard who is alive.
      if (!(error instanceof StatefulError && error.code === "no_eligible_host")) throw error;
      await this.#setup.refreshHosts();
      return moves.move(ref, cause);
    });
    const { hostId, region } = moved.host;
    return {
      from,
      to: { hostId, region },
      session: moved.toSession,
      epoch: moved.epoch,
      pauseMs: moved.pauseMs,
    };
  }

  // -- for lack of memory

  mayMove(activation: Activation): boolean {
    // A stream that never ends would hold up all others of the object, only for the move to be called off.
    const isFree = activation.isLive && activation.openStreams === 0;
    return isFree && activation.attachedEdges?.areReachable !== false;
  }

  /** False where no host takes it. */
  async moveOff({ ref }: Activation): Promise<boolean> {
    try {
      await this.#setup.moves.move(ref, { kind: "memory" });
      return true;
    } catch (error) {
      if (!(error instanceof StatefulError)) throw error;
      this.#setup.log.info("object.not_moved", { object: ref.key, reason: "memory", why: error.message });
      return false;
    }
  }

  // -- after their users

  /** One look. Never rejects. Resolves when all that it decided has been begun. */
  async follow(): Promise<void> {
    try {
      const active = await this.#mostActive();
      for (const [index, { activation }] of active.entries()) {
        if (index % decidedPerTurn === decidedPerTurn - 1) await this.#nextTurn();
        if (this.#isStopped || this.#setup.isDraining()) return;
        if (this.mayMove(activation)) this.#consider(activation);
      }
    } catch (error) {
      this.#setup.log.error("follow.failed", { error });
    }
  }

  async #mostActive(): Promise<{ readonly activation: Activation; readonly events: number }[]> {
    const { table, traffic } = this.#setup;
    const left = traffic.round();
    const active: { readonly activation: Activation; readonly events: number }[] = [];
    let passed = 0;
    for (const activation of table.all()) {
      const events = traffic.look(activation, left);
      if (events > 0) active.push({ activation, events });
      if (++passed % passedPerTurn === 0) await this.#nextTurn();
    }
    return active.sort((a, b) => b.events - a.events).slice(0, followedMax);
  }

  #consider(activation: Activation): void {
    const { self, settings, clock, log, moves } = this.#setup;
    const question = this.#followQuestion(activation);
    const decision = shouldFollow(question, settings.limits);
    const { best, verdict, presentCostMs, savesMs, traffic } = decision;
    if (verdict !== "move" || best === undefined || !this.#budget.take(clock.monotonicMs())) return;
    const { ref } = activation;
    const { hostId, region } = best.host;
    const why = followInWords(self.region, decision);
    const figures = { presentCostMs, savesMs, events: traffic.events, shares: traffic.shares.slice(0, 8) };
    log.info("object.follows", { object: ref.key, hostId, region, why, ...figures });
    moves.to(ref, best.host, "follow", followedTraffic(question, decision)).catch((error: unknown) => {
      log.warn("object.not_moved", { object: ref.key, reason: "follow", error });
    });
  }

  #followQuestion(activation: Activation): FollowQuestion {
    const { moves, traffic, clock } = this.#setup;
    return {
      ...moves.question(activation.ref, activation, { kind: "follow" }),
      traffic: traffic.sample(activation),
      activeForMs: Math.max(0, clock.wallMs() - activation.startedAtMs),
      followed: traffic.followed(activation),
    };
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#setup.clock.nextTurn(resolve));
  }

  // -- how objects are

  account({ key }: ObjectRef): OwnerAccount | undefined {
    const { table, self } = this.#setup;
    const host = { hostId: self.hostId, region: self.region };
    const activation = table.live(key);
    if (activation) {
      const {
        epoch,
        startedAtMs: sinceMs,
        startedFor: reason,
        awake,
        socketCount,
        attachedEdges,
      } = activation;
      const owner = { ...host, epoch, sinceMs, reason, movedFor: activation.arrivedWith?.reason };
      const life = this.#life(activation);
      return { owner, life, isAsleep: false, awake, edges: attachedEdges?.size ?? 0, sockets: socketCount };
    }
    const sleeper = table.sleeping(key);
    if (sleeper === undefined) return undefined;
    const { epoch, edges } = sleeper;
    const nothing = { life: undefined, awake: { events: 0, timers: 0 }, sockets: undefined };
    return { owner: { ...host, epoch }, isAsleep: true, edges: edges.size, ...nothing };
  }

  #life(activation: Activation): ExplainedLife {
    const question = this.#followQuestion(activation);
    return explainLife(question, shouldFollow(question, this.#setup.settings.limits));
  }
}
