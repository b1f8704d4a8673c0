import { type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError, type StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { AcquireItem, AdoptItem, Commit, CommitAnswer, Directory, HeldLease } from "./directory.ts";
import type { DirectoryTime } from "./directory-time.ts";
import {
  type Entries,
  type Entry,
  type LineLease,
  rejectAll,
  resolveAll,
  takeFirst,
  type Waiter,
} from "./lease-entries.ts";
import { queueFull, refusalOf, sessionOver, unsettled } from "./lease-refusals.ts";
import type { MoveOutcome } from "./leases.ts";
import { type MoveBatch, MoveQueue } from "./move-queue.ts";
import { processOfSession } from "./session-id.ts";
import type { SessionLife } from "./session-life.ts";
import { nothingStored } from "./stored-objects.ts";
import { noWrites, type WriteBatch, WriteQueue, type WriteSource } from "./write-queue.ts";

/**
 * The line at which everything that a session writes waits its turn (L6).
 *
 * A write whose answer was lost may still arrive, now or in a minute. Reading cannot settle it: the read may pass it on the
 * way. So the writes of a session are numbered, each is accepted only right after the one before it, and only one is out
 * at a time. When its answer is lost, the same slot is sent again until somebody answers: whichever copy came first has the
 * slot, and every other copy finds it taken and changes nothing. Until then nobody is told anything.
 *
 * What is asked for meanwhile gathers and travels together in the next slot, so that a thousand objects cost one round trip:
 * the leases that are taken, given up and moved, and all that objects write.
 */
export interface LeaseLineOptions {
  readonly directory: Pick<Directory, "commit">;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly life: SessionLife;
  readonly time: DirectoryTime;
  readonly limits: LeaseLineLimits;
}

export interface LeaseLineLimits {
  /** Objects in one commit. More: fewer round trips under load, each one longer. */
  readonly batchItemsMax: number;
  /** Objects that wait, beyond which `queue_full`. More: longer bursts survive, and longer waits with them. */
  readonly queueItemsMax: number;
  /** How long a caller waits. The slot it travels in goes on being settled after that. */
  readonly waitMs: number;
}

export const leaseLineLimits: LeaseLineLimits = {
  batchItemsMax: 2_000,
  queueItemsMax: 20_000,
  waitMs: 10_000,
};

const retryDelayMinMs = 20;
const retryDelayMaxMs = 1_000;

interface Batch {
  readonly acquire: Entries<AcquireItem>;
  readonly adopt: Entries<AdoptItem>;
  readonly release: readonly HeldLease[];
  readonly moves: MoveBatch;
  readonly writes: WriteBatch;
}

/** A slot that is settled. */
interface Arrived {
  readonly batch: Batch;
  readonly answer: CommitAnswer;
}

export class LeaseLine {
  readonly #options: LeaseLineOptions;
  #acquire = new Map<string, Entry<AcquireItem>>();
  #adopt = new Map<string, Entry<AdoptItem>>();
  #release: HeldLease[] = [];
  readonly #moves: MoveQueue;
  readonly #writes = new WriteQueue();
  #inFlight: Batch | undefined;
  #slot = 1;
  #running: Promise<void> | undefined;

  constructor(options: LeaseLineOptions) {
    this.#options = options;
    this.#moves = new MoveQueue(options.clock, options.limits);
    options.life.over.addEventListener("abort", () => this.#end(), { once: true });
  }

  /** The lease as the directory has it after the commit; undefined where it has no row. */
  acquire(object: ObjectRef, when: "free" | "mine", load = false): Promise<LineLease | undefined> {
    const item: AcquireItem = load ? { object, when, load } : { object, when };
    const waiting = this.#acquire.get(object.key);
    // Whoever takes it when it is free also takes it when it is ours already.
    if (waiting !== undefined) waiting.item = { ...waiting.item, ...item, when: widerOf(waiting.item, item) };
    return this.#enter(this.#acquire, object.key, item);
  }

  adopt(item: AdoptItem): Promise<LineLease | undefined> {
    return this.#enter(this.#adopt, item.object.key, item);
  }

  /** Told once it is known, and not before, however long that takes; withdrawn after `waitMs` while it was not sent (L7). */
  move(lease: HeldLease, toSession: string): Promise<MoveOutcome> {
    const { life, limits } = this.#options;
    if (!life.isValid()) return Promise.reject(sessionOver(life));
    if (this.#isFull()) return Promise.reject(queueFull(limits));
    const told = this.#moves.add(lease, toSession, this.#writes.lastNumber);
    this.#start();
    return told;
  }

  /** Whether a commit that waits or travels may still take the object. */
  isTaking({ key }: ObjectRef): boolean {
    return this.#acquire.has(key) || this.#inFlight?.acquire.has(key) === true;
  }

  /** Takes it where it is ours, for nobody: so it is released, with the epoch that it has by then. */
  disown(object: ObjectRef): void {
    if (this.#options.life.over.aborted || this.#acquire.has(object.key) || this.#isFull()) return;
    this.#acquire.set(object.key, { item: { object, when: "mine" }, waiters: new Set() });
    this.#start();
  }

  release(lease: HeldLease): void {
    const { life, limits, log } = this.#options;
    if (life.over.aborted) return;
    if (this.#release.length >= limits.queueItemsMax) {
      log.warn("lease.release_dropped", { object: lease.object.key });
      return;
    }
    this.#release.push(lease);
    this.#start();
  }

  /** Takes what the source has to store along in the next slot. What it takes after the session's end is its own affair. */
  write(source: WriteSource): void {
    if (this.#options.life.over.aborted) return;
    this.#writes.add(source);
    this.#startNextTurn();
  }

  /** Resolves when nothing is in flight or waiting, or the session is over. */
  async settled(): Promise<void> {
    await this.#running;
  }

  #isFull(): boolean {
    const waiting = this.#acquire.size + this.#adopt.size + this.#moves.size;
    return waiting >= this.#options.limits.queueItemsMax;
  }

  #enter<Item>(queue: Map<string, Entry<Item>>, key: string, item: Item): Promise<LineLease | undefined> {
    const { life, limits } = this.#options;
    if (!life.isValid()) return Promise.reject(sessionOver(life));
    const entry = queue.get(key) ?? { item, waiters: new Set() };
    if (!queue.has(key)) {
      if (this.#isFull()) return Promise.reject(queueFull(limits));
      queue.set(key, entry);
    }
    this.#start();
    return this.#wait(queue, key, entry);
  }

  #wait<Item>(
    queue: Map<string, Entry<Item>>,
    key: string,
    entry: Entry<Item>,
  ): Promise<LineLease | undefined> {
    const { clock, limits } = this.#options;
    return new Promise((resolve, reject) => {
      const cancel = clock.after(limits.waitMs, () => {
        entry.waiters.delete(waiter);
        // Still here, and nobody wants it any more: it need not travel.
        if (entry.waiters.size === 0 && queue.get(key) === entry) queue.delete(key);
        reject(unsettled(limits));
      });
      const waiter: Waiter = { resolve, reject, cancel };
      entry.waiters.add(waiter);
    });
  }

  /** One turn later, so that what is asked for in the same turn travels in the same slot. */
  #start(): void {
    this.#running ??= this.#runAfter(Promise.resolve());
  }

  /** A turn of the loop later: what a handler writes, awaits and writes again is in one commit. */
  #startNextTurn(): void {
    this.#running ??= this.#runAfter(new Promise((resolve) => this.#options.clock.nextTurn(resolve)));
  }

  /** Where a fault of ours ends it, so does its session: renewed on, that would take what is asked for and never send it. */
  async #runAfter(turn: Promise<void>): Promise<void> {
    const { life, log } = this.#options;
    try {
      await turn;
      await this.#run();
    } catch (error) {
      log.error("lease.line_broken", { session: life.id, error });
      life.end("unconfirmed");
    }
  }

  /** The next slot leaves before those who wrote are told of the last: what they do then is done while it travels. */
  async #run(): Promise<void> {
    let travelling = this.#depart();
    while (travelling !== undefined) {
      const arrived = await travelling;
      const isToBeTold = arrived !== undefined && this.#deliver(arrived);
      travelling = this.#depart();
      if (isToBeTold) arrived.batch.writes.tell();
    }
    // In the same turn as the last look: what enters now starts a run of its own.
    this.#running = undefined;
  }

  #depart(): Promise<Arrived | undefined> | undefined {
    this.#inFlight = undefined;
    while (this.#hasWork() && !this.#options.life.over.aborted) {
      const batch = this.#take();
      if (isEmpty(batch)) continue; // Its sources had nothing to write after all.
      this.#inFlight = batch;
      return this.#settle(batch);
    }
    return undefined;
  }

  #hasWork(): boolean {
    const leases = this.#acquire.size + this.#adopt.size + this.#release.length + this.#moves.size;
    return leases + this.#writes.size > 0;
  }

  #take(): Batch {
    const roomMax = this.#options.limits.batchItemsMax;
    const release = this.#release.splice(0, roomMax);
    const writes = this.#writes.take(this.#options.life.id);
    const adopt = takeFirst(this.#adopt, roomMax);
    // Whoever moves stands still meanwhile, so these go before those who start.
    const moves = this.#moves.take(roomMax - adopt.size, this.#writes.firstWaiting);
    const acquire = takeFirst(this.#acquire, roomMax - adopt.size - moves.items.length);
    return { acquire, adopt, release, moves, writes };
  }

  /** Sends the slot until it is known who has it. */
  async #settle(taken: Batch): Promise<Arrived | undefined> {
    const { directory, clock, life, log } = this.#options;
    let batch = taken;
    let commit = this.#commitOf(batch);
    for (let failures = 0; !life.over.aborted; failures += 1) {
      try {
        const answer = await directory.commit({ ...commit, seen: life.seen });
        return { batch, answer };
      } catch (thrown) {
        const error = asStatefulError(thrown);
        log.warn("lease.commit_failed", {
          session: life.id,
          slot: commit.slot,
          failures: failures + 1,
          error,
        });
        // What the database says after the session's end is about a commit that the next session has made its own.
        if (error.code !== "directory_unavailable" && !life.over.aborted) {
          // The database refused this content. Its slot may still be taken by an earlier copy, so it is claimed empty.
          refuse(batch, error);
          batch.writes.refuse(error);
          // They have been told, and must not hear of the empty slot that it was committed. Who moves has not: an earlier
          // copy may have moved it, and the same slot asks.
          batch = { ...batch, acquire: new Map(), adopt: new Map(), writes: noWrites };
          const move = batch.moves.questions;
          commit = { ...commit, acquire: [], adopt: [], release: [], move, writes: [] };
        }
      }
      await sleep(clock, this.#retryDelayMs(failures), life.over);
    }
    return undefined;
  }

  #commitOf(batch: Batch): Commit {
    const { life } = this.#options;
    return {
      session: life.id,
      slot: this.#slot,
      acquire: Array.from(batch.acquire.values(), (entry) => entry.item),
      adopt: Array.from(batch.adopt.values(), (entry) => entry.item),
      release: batch.release,
      move: batch.moves.items,
      writes: batch.writes.writes,
      seen: life.seen,
    };
  }

  /** Whether what it says can be acted on: told after the session's time, nothing can. */
  #deliver({ batch, answer }: Arrived): boolean {
    const { life, time } = this.#options;
    this.#slot += 1;
    if (answer.outcome === "session_over") {
      life.end(answer.reason);
      return false;
    }
    life.see(answer.position);
    time.hear(answer.nowMs);
    if (!life.isValid()) return false;
    batch.writes.note(answer.refused);
    batch.moves.tell(life.id, answer.leases);
    const refusal = refusalOf(answer);
    // A host that drains goes on with what is its own, as with what has just moved there, and with what it adopts.
    const refusalOfOwn = answer.outcome === "draining" ? undefined : refusal;
    for (const [key, entry] of batch.acquire) {
      const lease = answer.leases.get(key);
      const isOwn = lease?.session === life.id;
      const why = isOwn && entry.item.when === "mine" ? refusalOfOwn : refusal;
      if (isOwn && (why !== undefined || entry.waiters.size === 0)) {
        // Ours, and nobody here will serve it. Whoever asks again by now is behind this release in the line.
        this.release({ object: entry.item.object, epoch: lease.epoch });
      }
      const { load } = entry.item;
      const loaded = load ? { loaded: answer.loaded.get(key) ?? nothingStored } : {};
      this.#tell(entry, lease && { ...lease, ...loaded }, why);
    }
    for (const [key, entry] of batch.adopt) this.#tell(entry, answer.leases.get(key), refusalOfOwn);
    return true;
  }

  #tell(entry: Entry<unknown>, lease: LineLease | undefined, refusal: StatefulError | undefined): void {
    // An earlier session of this process is nobody who could have won it.
    const mine = processOfSession(this.#options.life.id);
    const isLost = lease?.alive === true && processOfSession(lease.session) !== mine;
    if (refusal === undefined || isLost) resolveAll(entry, lease);
    else rejectAll(entry, refusal);
  }

  #retryDelayMs(failures: number): number {
    const ceilingMs = Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** Math.min(failures, 16));
    return ceilingMs * (0.5 + 0.5 * this.#options.random());
  }

  #end(): void {
    const error = sessionOver(this.#options.life);
    const waiting = { acquire: this.#acquire, adopt: this.#adopt };
    this.#writes.clear();
    this.#acquire = new Map();
    this.#adopt = new Map();
    this.#release = [];
    refuse(waiting, error);
    this.#moves.refuse(error);
    if (this.#inFlight === undefined) return;
    refuse(this.#inFlight, error);
    this.#inFlight.moves.refuse(error);
  }
}

function widerOf(a: AcquireItem, b: AcquireItem): AcquireItem["when"] {
  return a.when === "free" ? "free" : b.when;
}

function isEmpty({ acquire, adopt, release, moves, writes }: Batch): boolean {
  return acquire.size + adopt.size + release.length + moves.items.length + writes.writes.length === 0;
}

function refuse(batch: Pick<Batch, "acquire" | "adopt">, error: StatefulError): void {
  for (const entry of batch.acquire.values()) rejectAll(entry, error);
  for (const entry of batch.adopt.values()) rejectAll(entry, error);
}
