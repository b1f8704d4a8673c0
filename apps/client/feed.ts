import { ClientError } from "./errors.ts";
import {
  type MessageFrame,
  messageOf,
  type PublishAnswer,
  type SubscribedFrame,
  type TopicAddress,
} from "./frames.ts";
import { type PresenceFrame, PresenceList } from "./presence.ts";
import { type Listener, oldest, type SubscribeOptions, type SubscriptionEvents } from "./subscription.ts";

/** How many positions a feed remembers, to know a message that comes again. */
const recentPositionsMax = 128;

/**
 * What one connection hears of one topic, and the listeners who share it. A feed has one place in the topic's history, its
 * *cursor*, and all its listeners have heard exactly what lies before it: so whoever asks for another place needs a feed
 * of its own, and two feeds that have come to the same place can become one.
 */
export class Feed {
  readonly address: TopicAddress;
  readonly presence: boolean;
  readonly query: SubscribeOptions["query"];
  readonly outbox: PendingPublish[] = [];
  /** What was published and not answered yet, each by its `ref`. */
  readonly sent = new Map<number, PendingPublish>();
  readonly #listeners = new Set<Listener>();
  readonly #recent = new Set<string>();
  readonly #present = new PresenceList();
  /** What to ask for: a position, `oldest` while nothing has come, undefined for what is new. */
  #cursor: string | undefined;
  /** Whether whoever wants only what is new may join: nothing old follows, or what did was new to others that long ago. */
  #isLive: boolean;
  #hasStood = false;
  #isStanding = false;
  /** Whether what comes next is what follows the cursor. Not so after `skipped`. */
  #isExact = true;
  #hasHeard = false;

  constructor(address: TopicAddress, { since, presence = false, query }: SubscribeOptions) {
    this.address = address;
    this.presence = presence;
    this.query = query;
    this.#cursor = since;
    this.#isLive = since === undefined;
  }

  get cursor(): string | undefined {
    return this.#cursor;
  }

  get isDeserted(): boolean {
    return this.#listeners.size === 0 && !this.isPublishing;
  }

  /** Whether something that was published waits to be sent, or for its answer. */
  get isPublishing(): boolean {
    return this.outbox.length + this.sent.size > 0;
  }

  /** Whether a listener who wants this can share it: it would hear all that it asks for, and nothing else. */
  admits({ since, presence = false, query }: SubscribeOptions): boolean {
    if (presence && !this.presence) return false;
    if (!isSameQuery(query, this.query)) return false;
    if (since === undefined) return this.#isLive;
    return since === this.#cursor && this.#isExact;
  }

  /**
   * Whether this feed's listeners can go on with `other`: both stand at the same place of the history. Where there is none, and
   * these listeners know already that they begin with a gap, any place will do. Answers come where was published.
   */
  canJoin(other: Feed): boolean {
    if (this.sent.size > 0 || !this.#isStanding || !other.#isStanding || (this.presence && !other.presence))
      return false;
    if (!isSameQuery(this.query, other.query)) return false;
    if (this.#cursor === undefined) return this.#isLive && other.#isLive && !this.#hasHeard;
    return this.#cursor === other.#cursor && this.#isExact && other.#isExact;
  }

  join(other: Feed): void {
    other.#isLive ||= this.#isLive;
    for (const listener of this.#listeners) {
      listener.feed = other;
      other.#listeners.add(listener);
    }
    this.#listeners.clear();
    other.outbox.push(...this.outbox.splice(0));
  }

  add(listener: Listener): void {
    listener.feed = this;
    this.#listeners.add(listener);
    if (!this.#isStanding) return;
    // What it finds is told like what comes, and later: it has no ears yet. Its feed may be another one by then.
    queueMicrotask(() => {
      if (listener.state === "waiting") listener.feed?.welcome(listener);
    });
  }

  /** Tells a listener how things stand, if they do. */
  welcome(listener: Listener): void {
    if (!this.#isStanding) return;
    const { since, presence } = listener.options;
    listener.subscribed(this.#cursor, since === undefined ? undefined : true);
    if (presence && this.#present.last) listener.tell("presence", this.#present.last);
  }

  delete(listener: Listener): void {
    this.#listeners.delete(listener);
  }

  subscribed({ position, recovered: answer }: SubscribedFrame): void {
    if (this.#isStanding && answer !== false) return; // it stands already, and nothing was missed
    const recovered = this.#isStanding ? false : this.#wasRecovered(answer);
    this.#cursor = position;
    this.#isExact = true;
    if (recovered === false) this.#isLive = true;
    this.#isStanding = true;
    this.#hasStood = true;
    for (const listener of [...this.#listeners]) listener.subscribed(this.#cursor, recovered);
  }

  message(frame: MessageFrame): void {
    const { position } = frame;
    this.#hasHeard = true;
    // What an author's code says to one subscriber has no place, and moves none.
    if (position !== undefined) {
      if (this.#recent.has(position)) return; // it has been heard, and comes again
      this.#remember(position);
      this.#cursor = position;
      this.#isExact = true;
    }
    const message = messageOf(frame);
    for (const listener of [...this.#listeners]) listener.hear(message, { position });
  }

  skipped(count: number): void {
    this.#isExact = false;
    for (const listener of [...this.#listeners]) listener.tell("skipped", { count });
  }

  presenceTold(frame: PresenceFrame): void {
    const presence = this.#present.apply(frame);
    for (const listener of [...this.#listeners]) {
      if (listener.options.presence) listener.tell("presence", presence);
    }
  }

  answered({ ref = 0, position, error: problem }: PublishAnswer): void {
    const publish = this.sent.get(ref);
    this.sent.delete(ref);
    if (!problem) return publish?.settle(undefined, { position });
    const message = `Not published: ${problem.detail ?? problem.title}`;
    publish?.settle(new ClientError("not_published", message, { problem }));
  }

  #unanswered(): void {
    const message = "The connection was lost, and no answer came.";
    for (const { settle } of this.sent.values()) settle(new ClientError("outcome_unknown", message));
    this.sent.clear();
  }

  /** It stands no longer, and will be asked for again. */
  waits(): void {
    this.#isStanding = false;
    this.#isExact = true; // it will be asked for anew, from the cursor on
    this.#unanswered();
    for (const listener of [...this.#listeners]) listener.waits();
  }

  /** The last that is heard of it. */
  over<Type extends "refused" | "ended">(type: Type, event: SubscriptionEvents[Type]): void {
    this.#isStanding = false;
    this.#unanswered();
    for (const { settle } of this.outbox.splice(0)) settle(event.error);
    for (const listener of [...this.#listeners]) {
      listener.end();
      listener.events.emit(type, event);
    }
    this.#listeners.clear();
  }

  /** What the host says, or what its silence means: who asked for no place cannot know what was missed meanwhile. */
  #wasRecovered(answer: boolean | undefined): boolean | undefined {
    if (this.#cursor === undefined) return this.#hasStood ? false : undefined;
    return answer ?? this.#cursor === oldest;
  }

  #remember(position: string): void {
    this.#recent.add(position);
    const [oldest = position] = this.#recent;
    if (this.#recent.size > recentPositionsMax) this.#recent.delete(oldest);
  }
}

/** What is known of a message that is published. */
export interface Published {
  /** Where it stands in its topic's history; undefined where the topic keeps none. */
  readonly position: string | undefined;
}

/** A message that waits for a connection that is open and subscribed, or for its answer. */
export interface PendingPublish {
  /** The fields of the frame, as JSON. */
  readonly body: string;
  /** `error` is why it is not published, or why that is not known. */
  readonly settle: (error: unknown, published?: Published) => void;
}

function isSameQuery(one: SubscribeOptions["query"], other: SubscribeOptions["query"]): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
