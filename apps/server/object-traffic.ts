import type { Activation } from "../../infra/host/activation.ts";
import type { Clock } from "../../infra/lib/clock.ts";
import type { FollowedTraffic } from "../../infra/placement/follow.ts";
import {
  negligibleEvents,
  type RegionShare,
  TrafficCounter,
  type TrafficSample,
  trafficHalfLifeMs,
} from "../../infra/placement/traffic.ts";

/** What is kept of an object that hears from other regions. */
interface WatchedObject {
  readonly counter: TrafficCounter;
  /** What it has moved here for, where that was its traffic (P14). */
  readonly followed: FollowedTraffic | undefined;
}

/**
 * Where the events of this host's objects come from. An activation counts its events in one number, and in a small map those of
 * other regions; here that is folded, now and then, into counts that age. For an object that hears from its own region only
 * nothing more is kept: its number ages where it is.
 */
export class ObjectTraffic {
  readonly #region: string;
  readonly #clock: Clock;
  readonly #watched = new WeakMap<Activation, WatchedObject>();
  #lookedAtMs: number;

  constructor(region: string, clock: Clock) {
    this.#region = region;
    this.#clock = clock;
    this.#lookedAtMs = clock.monotonicMs();
  }

  /** A round of looks begins: returns how much of a count is left since the last. */
  round(): number {
    const nowMs = this.#clock.monotonicMs();
    const left = 2 ** (-(nowMs - this.#lookedAtMs) / trafficHalfLifeMs);
    this.#lookedAtMs = nowMs;
    return left;
  }

  /** Events since the last look, of an object that has heard from another region lately; otherwise 0. */
  look(activation: Activation, left: number): number {
    const { eventsTaken } = activation;
    if (eventsTaken === 0) return 0;
    if (activation.eventsFrom === undefined && !this.#isWatched(activation)) {
      const aged = eventsTaken * left;
      activation.eventsTaken = aged < negligibleEvents ? 0 : aged;
      return 0;
    }
    this.#fold(activation);
    return eventsTaken;
  }

  sample(activation: Activation): TrafficSample {
    return this.#fold(activation).counter.sample(this.#clock.monotonicMs());
  }

  followed(activation: Activation): FollowedTraffic | undefined {
    return this.#fold(activation).followed;
  }

  #isWatched(activation: Activation): boolean {
    return this.#watched.has(activation) || activation.arrivedWith !== undefined;
  }

  #fold(activation: Activation): WatchedObject {
    const nowMs = this.#clock.monotonicMs();
    const watched = this.#watched.get(activation) ?? this.#watch(activation, nowMs);
    const { eventsTaken, eventsFrom } = activation;
    activation.eventsTaken = 0;
    activation.eventsFrom = undefined;
    let here = eventsTaken;
    for (const [region, events] of eventsFrom ?? []) {
      here -= events;
      watched.counter.count(region, nowMs, events);
    }
    // A refused event has come from somewhere, and was not taken.
    if (here > 0) watched.counter.count(this.#region, nowMs, here);
    return watched;
  }

  #watch(activation: Activation, nowMs: number): WatchedObject {
    const { traffic, followed } = activation.arrivedWith ?? {};
    const sample = asTraffic(traffic);
    const counter = sample ? TrafficCounter.of(sample, nowMs) : new TrafficCounter(nowMs);
    const watched = { counter, followed: asFollowed(followed) };
    this.#watched.set(activation, watched);
    return watched;
  }
}

/** From another host, of another version maybe: what is not as it should be counts as nothing. */
function asTraffic(value: unknown): TrafficSample | undefined {
  const { events, shares } = fieldsOf(value);
  if (typeof events !== "number" || !(events >= 0) || !isShares(shares)) return undefined;
  return { events, shares };
}

function asFollowed(value: unknown): FollowedTraffic | undefined {
  const { shares, regions } = fieldsOf(value);
  if (!isShares(shares) || !Array.isArray(regions)) return undefined;
  return { shares, regions: regions.filter((region) => typeof region === "string") };
}

function isShares(value: unknown): value is readonly RegionShare[] {
  if (!Array.isArray(value)) return false;
  return value.every((each) => {
    const { region, share } = fieldsOf(each);
    return typeof region === "string" && typeof share === "number" && share >= 0 && share <= 1;
  });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
