import type { SeededRandom } from "../../support/seeded-random.ts";
import type { Scheduler } from "./scheduler.ts";

/** What stands between two places while a fault lasts. */
export interface Turbulence {
  /** Of all messages, how many take up to `delayMs` longer. */
  readonly chance: number;
  readonly delayMs: number;
}

const calm: Turbulence = { chance: 0, delayMs: 0 };

/**
 * The ways between places: how long each takes, and which are cut. A cut is of one direction. What is sent by a connection into a
 * cut waits for its end, as TCP's does, and what was sent before it still arrives.
 */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #distanceMs: (from: string, to: string) => number;
  readonly #cuts = new Map<string, number>();
  readonly #waiting = new Map<string, Set<() => void>>();
  turbulence = calm;

  constructor(scheduler: Scheduler, random: SeededRandom, distanceMs: (from: string, to: string) => number) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#distanceMs = distanceMs;
  }

  /** How long the next message from there to there is on its way. */
  latencyMs(from: string, to: string): number {
    const baseMs = this.#distanceMs(from, to) * (1 + 0.3 * this.#random.next());
    const { chance, delayMs } = this.turbulence;
    return this.#random.isLucky(chance) ? baseMs + delayMs * this.#random.next() : baseMs;
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(wayOf(from, to));
  }

  /** Cuts may overlap: each is mended by itself. */
  cut(from: string, to: string): void {
    const way = wayOf(from, to);
    this.#cuts.set(way, (this.#cuts.get(way) ?? 0) + 1);
  }

  mend(from: string, to: string): void {
    const way = wayOf(from, to);
    const cuts = (this.#cuts.get(way) ?? 0) - 1;
    if (cuts > 0) this.#cuts.set(way, cuts);
    else this.#open(way);
  }

  /** Everything reaches everything. */
  mendAll(): void {
    this.turbulence = calm;
    for (const way of [...this.#cuts.keys()]) this.#open(way);
  }

  /** Calls back once the way is open. */
  whenMended(from: string, to: string, run: () => void): void {
    const way = wayOf(from, to);
    const waiting = this.#waiting.get(way) ?? new Set();
    waiting.add(run);
    this.#waiting.set(way, waiting);
  }

  #open(way: string): void {
    this.#cuts.delete(way);
    const waiting = this.#waiting.get(way);
    this.#waiting.delete(way);
    for (const run of waiting ?? []) run();
  }

  /** In one direction between two ends: everything arrives in its order, after a cut where there is one, or not at all. */
  stream(from: string, to: string): Stream {
    return new Stream(this.#scheduler, this, from, to);
  }
}

function wayOf(from: string, to: string): string {
  return `${from}>${to}`;
}

/** One direction of a connection. */
export class Stream {
  readonly #scheduler: Scheduler;
  readonly #network: Network;
  readonly #from: string;
  readonly #to: string;
  #lastDueMs = 0;
  #parked: (() => void)[] | undefined;
  #isBroken = false;

  constructor(scheduler: Scheduler, network: Network, from: string, to: string) {
    this.#scheduler = scheduler;
    this.#network = network;
    this.#from = from;
    this.#to = to;
  }

  /** Calls `arrive` at the other end. */
  send(arrive: () => void): void {
    if (this.#isBroken) return;
    if (this.#parked !== undefined) this.#parked.push(arrive);
    else if (this.#network.isCut(this.#from, this.#to)) this.#park(arrive);
    else this.#deliver(arrive);
  }

  /** What is under way is lost, and nothing follows. */
  break(): void {
    this.#isBroken = true;
    this.#parked = undefined;
  }

  #deliver(arrive: () => void): void {
    const dueMs = this.#scheduler.nowMs + this.#network.latencyMs(this.#from, this.#to);
    this.#lastDueMs = Math.max(this.#lastDueMs, dueMs);
    // At that very number: what is counted from now would be rounded, and might come before what was sent first.
    this.#scheduler.at(this.#lastDueMs, undefined, () => {
      if (!this.#isBroken) arrive();
    });
  }

  #park(arrive: () => void): void {
    this.#parked = [arrive];
    this.#network.whenMended(this.#from, this.#to, () => {
      const parked = this.#parked ?? [];
      this.#parked = undefined;
      for (const each of parked) this.send(each);
    });
  }
}
