import { type CancelTimer, type Clock, sleep } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type {
  AcquireItem,
  AdoptItem,
  Commit,
  CommitAnswer,
  Directory,
  HeldLease,
  Lease,
} from "./directory.ts";
import { processOfSession } from "./session-id.ts";
import type { SessionLife } from "./session-life.ts";

/**
 * The line at which everything that a session writes waits its turn (L6).
 *
 * A write whose answer was lost may still arrive, now or in a minute. Reading cannot settle it: the read may pass it on the
 * way. So the writes of a session are numbered, each is accepted only right after the one before it, and only one is out
 * at a time. When its answer is lost, the same slot is sent again until somebody answers: whichever copy came first has the
 * slot, and every other copy finds it taken and changes nothing. Until then nobody is told anything.
 *
 * What is asked for meanwhile gathers and travels together in the next slot, so that a thousand objects cost one round trip.
 */
export interface LeaseLineOptions {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly life: SessionLife;
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

interface Waiter {
  readonly resolve: (lease: Lease | undefined) => void;
  readonly reject: (error: StatefulError) => void;
  readonly cancel: CancelTimer;
}

/** One object, and everybody who asked for it in the same way before it left. */
interface Entry<Item> {
  item: Item;
  readonly waiters: Set<Waiter>;
}

interface Batch {
  readonly acquire: ReadonlyMap<string, Entry<AcquireItem>>;
  readonly adopt: ReadonlyMap<string, Entry<AdoptItem>>;
  readonly release: readonly HeldLease[];
}

export class LeaseLine {
  readonly #options: LeaseLineOptions;
  #acquire = new Map<string, Entry<AcquireItem>>();
  #adopt = new Map<string, Entry<AdoptItem>>();
  #release: HeldLease[] = [];
  #inFlight: Batch | undefined;
  #slot = 1;
  #running: Promise<void> | undefined;

  constructor(options: LeaseLineOptions) {
    this.#options = options;
    options.life.over.addEventListener("abort", () => this.#end(), { once: true });
  }

  /** The lease as the directory has it after the commit; undefined where it has no row. */
  acquire(object: ObjectRef, when: "free" | "mine"): Promise<Lease | undefined> {
    const waiting = this.#acquire.get(object.key);
    // Whoever takes it when it is free also takes it when it is ours already.
    if (waiting !== undefined && when === "free") waiting.item = { object, when };
    return this.#enter(this.#acquire, object.key, { object, when });
  }

  adopt(item: AdoptItem): Promise<Lease | undefined> {
    return this.#enter(this.#adopt, item.object.key, item);
  }

  /** Takes it where it is ours, for nobody: so it is released, with the epoch that it has by then. */
  disown(object: ObjectRef): void {
    const { life, limits } = this.#options;
    if (life.over.aborted || this.#acquire.has(object.key)) return;
    if (this.#acquire.size + this.#adopt.size >= limits.queueItemsMax) return;
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

  /** Resolves when nothing is in flight or waiting, or the session is over. */
  async settled(): Promise<void> {
    await this.#running;
  }

  #enter<Item>(queue: Map<string, Entry<Item>>, key: string, item: Item): Promise<Lease | undefined> {
    const { life, limits } = this.#options;
    if (!life.isValid()) return Promise.reject(sessionOver(life));
    const entry = queue.get(key) ?? { item, waiters: new Set() };
    if (!queue.has(key)) {
      if (this.#acquire.size + this.#adopt.size >= limits.queueItemsMax)
        return Promise.reject(queueFull(limits));
      queue.set(key, entry);
    }
    this.#start();
    return this.#wait(queue, key, entry);
  }

  #wait<Item>(queue: Map<string, Entry<Item>>, key: string, entry: Entry<Item>): Promise<Lease | undefined> {
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
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    while (this.#hasWork() && !this.#options.life.over.aborted) {
      this.#inFlight = this.#take();
      await this.#settle(this.#inFlight);
      this.#inFlight = undefined;
    }
    // In the same turn as the last look: what enters after it starts a run of its own.
    this.#running = undefined;
  }

  #hasWork(): boolean {
    return this.#acquire.size + this.#adopt.size + this.#release.length > 0;
  }

  #take(): Batch {
    const roomMax = this.#options.limits.batchItemsMax;
    const adopt = takeFirst(this.#adopt, roomMax);
    const acquire = takeFirst(this.#acquire, roomMax - adopt.size);
    const release = this.#release.splice(0, roomMax);
    return { acquire, adopt, release };
  }

  /** Sends the slot until it is known who has it. */
  async #settle(batch: Batch): Promise<void> {
    const { directory, clock, life, log } = this.#options;
    let commit = this.#commitOf(batch);
    for (let failures = 0; !life.over.aborted; failures += 1) {
      try {
        const answer = await directory.commit({ ...commit, seen: life.seen });
        this.#slot += 1;
        this.#deliver(batch, answer);
        return;
      } catch (thrown) {
        const error = asStatefulError(thrown);
        log.warn("lease.commit_failed", {
          session: life.id,
          slot: commit.slot,
          failures: failures + 1,
          error,
        });
        if (error.code !== "directory_unavailable") {
          // The database refused this content. Its slot may still be taken by an earlier copy, so it is claimed empty.
          refuse(batch, error);
          commit = { ...commit, acquire: [], adopt: [], release: [] };
        }
      }
      await sleep(clock, this.#retryDelayMs(failures), life.over);
    }
  }

  #commitOf(batch: Batch): Commit {
    const { life } = this.#options;
    return {
      session: life.id,
      slot: this.#slot,
      acquire: Array.from(batch.acquire.values(), (entry) => entry.item),
      adopt: Array.from(batch.adopt.values(), (entry) => entry.item),
      release: batch.release,
      seen: life.seen,
    };
  }

  #deliver(batch: Batch, answer: CommitAnswer): void {
    const { life } = this.#options;
    if (answer.outcome === "session_over") {
      life.end(answer.reason);
      return;
    }
    life.see(answer.position);
    // Told after its time, an answer cannot be acted on.
    if (!life.isValid()) return;
    const refusal = refusalOf(answer);
    for (const [key, entry] of batch.acquire) {
      const lease = answer.leases.get(key);
      if (lease?.session === life.id && (refusal !== undefined || entry.waiters.size === 0)) {
        // Ours, and nobody here will serve it. Whoever asks again by now is behind this release in the line.
        this.release({ object: entry.item.object, epoch: lease.epoch });
      }
      this.#tell(entry, lease, refusal);
    }
    for (const [key, entry] of batch.adopt) {
      // Adopting goes on while draining.
      this.#tell(entry, answer.leases.get(key), answer.outcome === "draining" ? undefined : refusal);
    }
  }

  #tell(entry: Entry<unknown>, lease: Lease | undefined, refusal: StatefulError | undefined): void {
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
    const waiting = { acquire: this.#acquire, adopt: this.#adopt, release: [] };
    this.#acquire = new Map();
    this.#adopt = new Map();
    this.#release = [];
    refuse(waiting, error);
    if (this.#inFlight !== undefined) refuse(this.#inFlight, error);
  }
}

function takeFirst<Item>(queue: Map<string, Entry<Item>>, countMax: number): Map<string, Entry<Item>> {
  const taken = new Map<string, Entry<Item>>();
  for (const [key, entry] of queue) {
    if (taken.size >= countMax) break;
    taken.set(key, entry);
    queue.delete(key);
  }
  return taken;
}

function refusalOf(answer: Exclude<CommitAnswer, { outcome: "session_over" }>): StatefulError | undefined {
  switch (answer.outcome) {
    case "committed":
      return undefined;
    case "quarantined":
      return new StatefulError(
        "directory_recovering",
        "The directory lost memory, or may have: nothing starts yet.",
        {
          retryAfterMs: answer.quarantineMs,
        },
      );
    case "draining":
      return new StatefulError("host_draining", "This host is going away and takes no more objects.");
  }
}

function refuse(batch: Batch, error: StatefulError): void {
  for (const entry of batch.acquire.values()) rejectAll(entry, error);
  for (const entry of batch.adopt.values()) rejectAll(entry, error);
}

function resolveAll(entry: Entry<unknown>, lease: Lease | undefined): void {
  for (const waiter of entry.waiters) {
    waiter.cancel();
    waiter.resolve(lease);
  }
  entry.waiters.clear();
}

function rejectAll(entry: Entry<unknown>, error: StatefulError): void {
  for (const waiter of entry.waiters) {
    waiter.cancel();
    waiter.reject(error);
  }
  entry.waiters.clear();
}

function sessionOver(life: SessionLife): StatefulError {
  return new StatefulError(
    "session_over",
    `The host's session ${life.id} is over (${life.overReason ?? "expired"}).`,
  );
}

function queueFull(limits: LeaseLineLimits): StatefulError {
  return new StatefulError(
    "queue_full",
    `${limits.queueItemsMax} objects are waiting for the directory already.`,
  );
}

function unsettled(limits: LeaseLineLimits): StatefulError {
  return new StatefulError(
    "directory_unavailable",
    `The directory did not settle a lease within ${limits.waitMs} ms.`,
  );
}
