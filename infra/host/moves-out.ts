import type { HostRecord } from "../lease/directory.ts";
import type { Leases } from "../lease/leases.ts";
import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Activation } from "./activation.ts";
import type { Adoptable } from "./adoption.ts";
import type { EdgeName } from "./edge-port.ts";
import { encodePackage, type MovePackage, type MoveNote } from "./move-package.ts";
import type { MoveConversation, MovePeers, MoveReason, MoveResult } from "./move-ports.ts";
import type { Sleeper } from "./sleeper.ts";

export interface MovesOutSetup {
  readonly leases: Pick<Leases, "move">;
  readonly clock: Clock;
  readonly log: Log;
  readonly peers: MovePeers;
  readonly codeVersion: string;
}

export interface MoveOptions {
  readonly reason: MoveReason;
  /** A drain: handlers that do not end in time are cut off, where any other move would be called off. */
  readonly isForced: boolean;
  /** Travels along. */
  readonly note?: MoveNote;
}

/** How long the target may take to say that it has the object. How long to say whether it takes it is for `MovePeers` to limit. */
const deliverLimitMs = 20_000;

/**
 * The source's half of a planned move (rule L7). From the closing of its gate until it is known whether the lease names the
 * target, neither side serves; whatever fails before the compare-and-set was sent leaves the object live here.
 */
export class MovesOut {
  readonly #setup: MovesOutSetup;
  /** By object: what calls off a move that has not come as far as its compare-and-set. */
  readonly #underWay = new Map<string, AbortController>();
  #isClosed = false;

  constructor(setup: MovesOutSetup) {
    this.#setup = setup;
  }

  /** Calls off what has not come as far as its compare-and-set. */
  close(): void {
    this.#isClosed = true;
    for (const key of this.#underWay.keys()) this.callOff(key, "This host stops.");
  }

  /** The same for one object. */
  callOff(key: string, why: string): void {
    this.#underWay.get(key)?.abort(new StatefulError("move_failed", why));
  }

  /**
   * Rejects where the object did not move: with `move_failed` it lives on here, and with anything else it is over, or waits for
   * the next session to find out where it is. When this resolves the activation has ended.
   */
  move(activation: Activation, target: HostRecord, options: MoveOptions): Promise<MoveResult> {
    return this.#cancellable(activation, (signal) => this.#move(activation, target, options, signal));
  }

  async #move(
    activation: Activation,
    target: HostRecord,
    options: MoveOptions,
    signal: AbortSignal,
  ): Promise<MoveResult> {
    const { definition } = activation.runtime;
    if (!options.isForced) await unlessAborted(signal, this.#streamsEnded(activation));
    const names = activation.attachedEdges?.names ?? [];
    const conversation = await this.#prepare(activation, definition.version, names, target);
    if (signal.aborted) {
      conversation.cancel(signal.reason, false);
      throw signal.reason;
    }
    const edges = activation.attachedEdges;
    if (!activation.beginMove()) {
      conversation.cancel(calledOff(activation, "it does not run"), false);
      throw calledOff(activation, "it does not run");
    }
    edges?.shut(true);
    let isSent = false;
    try {
      await unlessAborted(signal, this.#quiesce(activation, options));
      activation.checkMoving();
      const shutAtMs = this.#setup.clock.monotonicMs();
      await unlessAborted(signal, this.#deliver(activation, conversation, options));
      isSent = true;
      return await this.#commit(activation, target, conversation, shutAtMs);
    } catch (thrown) {
      throw this.#notMoved(activation, conversation, asStatefulError(thrown, "move_failed"), isSent);
    }
  }

  /** The same for an object that sleeps: there is nobody to wait for, and nothing to carry but the names of its edges. */
  moveAsleep(sleeper: Sleeper, dataVersion: number, target: HostRecord): Promise<MoveResult> {
    return this.#cancellable(sleeper, (signal) => this.#moveAsleep(sleeper, dataVersion, target, signal));
  }

  async #moveAsleep(
    sleeper: Sleeper,
    dataVersion: number,
    target: HostRecord,
    signal: AbortSignal,
  ): Promise<MoveResult> {
    const { leases, clock } = this.#setup;
    const { ref, epoch, edges } = sleeper;
    const conversation = await this.#prepare(sleeper, dataVersion, edges.names, target);
    if (edges.isWaiting) {
      // Something came while the target was asked. What this host's own edge has told is nowhere else.
      const error = calledOff(sleeper, "it is about to wake");
      conversation.cancel(error, false);
      throw error;
    }
    const shutAtMs = clock.monotonicMs();
    edges.shut(true);
    try {
      await unlessAborted(signal, this.#send(conversation, encodePackage(packageOf(sleeper, dataVersion))));
      // Adopted meanwhile: "lost" would be said of a lease that is ours.
      if (sleeper.epoch !== epoch) throw calledOff(sleeper, "its lease is of the next session");
      const moved = await leases.move({ object: ref, epoch }, target.session);
      if (moved.outcome === "refused") throw calledOff(sleeper, `${target.hostId} takes nothing any more`);
      if (moved.outcome === "lost")
        throw new StatefulError("not_owner", `${ref.key} lives on another host by now.`);
      edges.moved(target.session, moved.epoch);
      conversation.go(moved.epoch);
      return { toSession: target.session, epoch: moved.epoch, pauseMs: clock.monotonicMs() - shutAtMs };
    } catch (thrown) {
      const error = asStatefulError(thrown, "move_failed");
      conversation.cancel(error, error.code === "session_over");
      if (error.code !== "not_owner") edges.goOn();
      throw error;
    }
  }

  async #cancellable(
    { ref }: Adoptable,
    move: (signal: AbortSignal) => Promise<MoveResult>,
  ): Promise<MoveResult> {
    const underWay = new AbortController();
    this.#underWay.set(ref.key, underWay);
    if (this.#isClosed) this.callOff(ref.key, "This host stops.");
    try {
      return await move(underWay.signal);
    } finally {
      if (this.#underWay.get(ref.key) === underWay) this.#underWay.delete(ref.key);
    }
  }

  #prepare(
    { ref, epoch }: Adoptable,
    dataVersion: number,
    edges: readonly EdgeName[],
    target: HostRecord,
  ): Promise<MoveConversation> {
    const { peers, codeVersion } = this.#setup;
    const toSession = target.session;
    return peers.begin(target, { ref, epoch, toSession, dataVersion, codeVersion, edges });
  }

  /** With the gate still open: a stream that does not end must not hold up everybody else, only for the move to be called off. */
  async #streamsEnded(activation: Activation): Promise<void> {
    const { moveQuiesceMs } = activation.runtime.definition;
    if (await activation.streamsEnded(this.#setup.clock, moveQuiesceMs)) return;
    const message = `responses are still being streamed after ${moveQuiesceMs} ms (moveQuiesceMs)`;
    throw calledOff(activation, message);
  }

  async #quiesce(activation: Activation, { isForced }: MoveOptions): Promise<void> {
    const { moveQuiesceMs } = activation.runtime.definition;
    const { clock } = this.#setup;
    if (isForced) activation.endEventStreams();
    if (await activation.quiet(clock, moveQuiesceMs)) return;
    activation.checkMoving();
    if (!isForced)
      throw calledOff(activation, `handlers are still open after ${moveQuiesceMs} ms (moveQuiesceMs)`);
    await activation.cutOff(
      clock,
      new StatefulError("host_draining", `${activation.ref.key} moves to another host.`),
    );
  }

  async #deliver(
    activation: Activation,
    conversation: MoveConversation,
    { note }: MoveOptions,
  ): Promise<void> {
    await this.#send(
      conversation,
      await activation.readyToMove((moved) => encodePackage({ ...moved, note })),
    );
    activation.checkMoving();
  }

  #send(conversation: MoveConversation, bytes: Uint8Array): Promise<void> {
    const late = () => new StatefulError("move_failed", "The target did not take the object in time.");
    return withTimeLimit(this.#setup.clock, deliverLimitMs, conversation.deliver(bytes), late);
  }

  async #commit(
    activation: Activation,
    target: HostRecord,
    conversation: MoveConversation,
    shutAtMs: number,
  ): Promise<MoveResult> {
    const { leases, clock } = this.#setup;
    const { ref, epoch } = activation;
    const edges = activation.attachedEdges;
    const moved = await leases.move({ object: ref, epoch }, target.session);
    if (moved.outcome === "refused") throw calledOff(activation, `${target.hostId} takes nothing any more`);
    if (moved.outcome === "lost") {
      const lost = new StatefulError("session_over", `${ref.key} lives on another host by now.`);
      activation.end(lost, true);
      edges?.close(lost);
      throw lost;
    }
    activation.end(movedAway(activation, target), true);
    // Before the target hears of it: what reaches its own edge on the same link comes in this order.
    edges?.moved(target.session, moved.epoch);
    conversation.go(moved.epoch);
    return { toSession: target.session, epoch: moved.epoch, pauseMs: clock.monotonicMs() - shutAtMs };
  }

  /** It lives on here, or waits for the next session, which finds out. */
  #notMoved(
    activation: Activation,
    conversation: MoveConversation,
    error: StatefulError,
    isSent: boolean,
  ): StatefulError {
    const isUndecided = isSent && (error.code === "session_over" || activation.phase.name === "suspended");
    conversation.cancel(error, isUndecided);
    if (activation.phase.name !== "moving") return error;
    activation.cancelMove();
    activation.attachedEdges?.goOn();
    if (error.code === "move_failed") return error;
    this.#setup.log.warn("object.move.failed", { object: activation.ref.key, error });
    return new StatefulError("move_failed", error.message, { cause: error });
  }
}

/** What a move waits for before its compare-and-set. */
function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason);
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}

function packageOf({ edges, sinceMs, nextAlarmMs, topics }: Sleeper, version: number): MovePackage {
  const asleep = { state: undefined, carried: undefined, stored: undefined };
  const records = edges.records(); // which has none while it sleeps
  return { ...asleep, version, edges: records, sinceMs, nextAlarmMs, topics };
}

function calledOff({ ref }: Adoptable, why: string): StatefulError {
  return new StatefulError("move_failed", `The move of ${ref.key} was called off: ${why}.`);
}

function movedAway({ ref }: Activation, { hostId, region }: HostRecord): StatefulError {
  return new StatefulError("not_owner", `${ref.key} has moved to ${hostId} (${region}).`, {
    retryAfterMs: 1000,
  });
}
