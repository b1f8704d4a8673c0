import type { Feed } from "./feed.ts";
import type { TopicAddress } from "./frames.ts";
import type { Cancel } from "./surroundings.ts";

/** A feed's place on a connection. `leaving`: the host has not confirmed yet that it has ended. */
export interface Seat {
  readonly feed: Feed;
  at: "waiting" | "asked" | "standing" | "leaving";
  /** Of its `subscribe`; 0 before. */
  id: number;
  standingSinceMs: number;
  failures: number;
  hasRenewedCredentials: boolean;
  /** Set while it waits for its time. */
  cancelRetry?: Cancel | undefined;
}

/** The books of one connection: who has which topic with the host, under which number. A number is never used twice. */
export class Seats {
  readonly #all = new Map<Feed, Seat>();
  readonly #byTopic = new Map<string, Seat>();
  #lastId = 0;

  get size(): number {
    return this.#all.size;
  }

  /** A copy: whoever goes through it may change the books. */
  all(): Seat[] {
    return [...this.#all.values()];
  }

  of(feed: Feed): Seat | undefined {
    return this.#all.get(feed);
  }

  at(address: TopicAddress): Seat | undefined {
    return this.#byTopic.get(keyOf(address));
  }

  withId(id: number): Seat | undefined {
    return this.all().find((seat) => seat.id === id);
  }

  add(feed: Feed): Seat {
    const seat: Seat = {
      feed,
      at: "waiting",
      id: 0,
      standingSinceMs: 0,
      failures: 0,
      hasRenewedCredentials: false,
    };
    this.#all.set(feed, seat);
    return seat;
  }

  /** The topic is the seat's from here on, with the host. */
  occupy(seat: Seat): void {
    this.#lastId += 1;
    seat.id = this.#lastId;
    this.#byTopic.set(keyOf(seat.feed.address), seat);
  }

  /** The host has nothing of this seat any more. */
  vacate(seat: Seat): void {
    seat.id = 0;
    this.#byTopic.delete(keyOf(seat.feed.address));
  }

  remove(seat: Seat): void {
    cancelRetryOf(seat);
    this.#all.delete(seat.feed);
  }
}

export function cancelRetryOf(seat: Seat): void {
  seat.cancelRetry?.();
  seat.cancelRetry = undefined;
}

export function keyOf({ object, topic }: TopicAddress): string {
  return `${object}\n${topic}`;
}
