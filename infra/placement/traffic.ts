import { compareText } from "./rendezvous.ts";

/** How much of an object's traffic comes from a region. Shares of one object add up to 1. */
export interface RegionShare {
  readonly region: string;
  readonly share: number;
}

/** Where an object's events came from lately. */
export interface TrafficSample {
  /** How many, each counted less the longer it is ago; not a whole number. */
  readonly events: number;
  /** Largest first. */
  readonly shares: readonly RegionShare[];
}

/** An event counts half after this long. So an hour ago is as good as never, and one busy minute is not yet a trend. */
export const trafficHalfLifeMs = 10 * 60_000;

/** Ageing is done in steps of this length, so that most events cost an increment. It costs 1.2 % of accuracy at most. */
export const trafficStepMs = 10_000;

/** Regions counted for one object: more than there are. The smallest gives way to a new one. */
export const trafficRegionsMax = 64;

/** Counts below this are forgotten: one event is, after ten half-lives. */
export const negligibleEvents = 2 ** -10;

/**
 * Counts the events of one object by the region of the edge they came in at. There is one of these for each of
 * maybe a million objects, nearly all of which hear from one region only: that one is kept in two fields, and a map is made
 * when a second region appears. Time is monotonic and passed in; where it goes back, as between two processes, nothing ages.
 */
export class TrafficCounter {
  #region: string | undefined;
  #count = 0;
  #others: Map<string, number> | undefined;
  #agedAtMs: number;

  constructor(nowMs: number) {
    this.#agedAtMs = nowMs;
  }

  /** What another host has counted, after a move. */
  static of({ events, shares }: TrafficSample, nowMs: number): TrafficCounter {
    const counter = new TrafficCounter(nowMs);
    for (const { region, share } of shares) {
      const count = events * share;
      if (count >= negligibleEvents && Number.isFinite(count)) counter.#add(region, count);
    }
    return counter;
  }

  /** `events`: so many at once, for whoever counts them elsewhere meanwhile. */
  count(region: string, nowMs: number, events = 1): void {
    if (nowMs - this.#agedAtMs >= trafficStepMs) this.#age(nowMs);
    if (region === this.#region) this.#count += events;
    else this.#add(region, events);
  }

  sample(nowMs: number): TrafficSample {
    this.#age(nowMs);
    const counts = [...(this.#others ?? [])];
    if (this.#region !== undefined) counts.push([this.#region, this.#count]);
    counts.sort(([a, countOfA], [b, countOfB]) => countOfB - countOfA || compareText(a, b));
    const events = counts.reduce((sum, [, count]) => sum + count, 0);
    return { events, shares: counts.map(([region, count]) => ({ region, share: count / events })) };
  }

  #add(region: string, count: number): void {
    if (this.#region === undefined || this.#region === region) {
      this.#region = region;
      this.#count += count;
      return;
    }
    this.#others ??= new Map();
    const known = this.#others.get(region);
    // The first region has its two fields besides the map.
    if (known === undefined && this.#others.size >= trafficRegionsMax - 1) forgetSmallest(this.#others);
    this.#others.set(region, (known ?? 0) + count);
  }

  #age(nowMs: number): void {
    const elapsedMs = nowMs - this.#agedAtMs;
    // Also where time is not a number.
    if (!(elapsedMs > 0)) return;
    this.#agedAtMs = nowMs;
    const factor = 2 ** (-elapsedMs / trafficHalfLifeMs);
    const others = this.#others;
    for (const [region, count] of others ?? []) {
      if (count * factor < negligibleEvents) others?.delete(region);
      else others?.set(region, count * factor);
    }
    if (others?.size === 0) this.#others = undefined;
    this.#count *= factor;
    if (this.#count < negligibleEvents) this.#promote();
  }

  /** Nothing comes from the first region any more: another takes its place, so that the map can go again. */
  #promote(): void {
    const [next] = this.#others ?? [];
    this.#region = next?.[0];
    this.#count = next?.[1] ?? 0;
    if (next === undefined) return;
    this.#others?.delete(next[0]);
    if (this.#others?.size === 0) this.#others = undefined;
  }
}

function forgetSmallest(counts: Map<string, number>): void {
  let smallest: string | undefined;
  let smallestCount = Number.POSITIVE_INFINITY;
  for (const [region, count] of counts) {
    if (count >= smallestCount) continue;
    smallest = region;
    smallestCount = count;
  }
  if (smallest !== undefined) counts.delete(smallest);
}
