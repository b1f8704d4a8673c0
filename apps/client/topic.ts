import { onAbort } from "./abort.ts";
import type { Published } from "./feed.ts";
import type { Feeds } from "./feeds.ts";
import type { TopicAddress } from "./frames.ts";
import { type IterationOptions, type MessageIterator, TopicIteration } from "./iteration.ts";
import { Listener, type MessageInfo, type SubscribeOptions, type Subscription } from "./subscription.ts";

/** One topic of one object. A light handle: make it as often as you like. */
export class Topic<Message> implements AsyncIterable<Message> {
  readonly name: string;
  readonly #feeds: Feeds;
  readonly #address: TopicAddress;

  constructor(feeds: Feeds, address: TopicAddress) {
    this.name = address.topic;
    this.#feeds = feeds;
    this.#address = address;
  }

  /**
   * Hears every message once, in order, from `since` on, over any number of reconnects, also to other hosts; or is told, by the
   * event `gap`, that this cannot be had. `since: "oldest"` begins with all that the topic's history keeps; without `since` only
   * what is new is heard. A message is shared by all who listen: do not change it.
   *
   * @throws ClientError `closed`, `no_websocket`, or `too_many`; the signal's reason where it is aborted already.
   */
  subscribe(
    hear: (message: Message, info: MessageInfo) => void,
    options: SubscribeOptions = {},
  ): Subscription {
    const { signal } = options;
    signal?.throwIfAborted();
    // What a topic's messages are is known to the class and its types only.
    const listener = new Listener(options, hear as (message: unknown, info: MessageInfo) => void);
    this.#feeds.join(this.#address, listener);
    const stop = () => {
      forget();
      if (listener.state !== "ended") this.#feeds.leave(listener);
    };
    const forget = onAbort(stop, signal);
    return Object.defineProperties(stop, {
      position: { get: () => listener.position },
      state: { get: () => listener.state },
      on: { value: listener.events.on.bind(listener.events) },
    }) as Subscription; // by the three properties above
  }

  /** The same as a loop, which subscribes at once and unsubscribes where it is left. */
  messages(options: IterationOptions = {}): MessageIterator<Message> {
    return new TopicIteration((hear) => this.subscribe(hear, options), options);
  }

  [Symbol.asyncIterator](): MessageIterator<Message> {
    return this.messages();
  }

  /**
   * Publishes, where the class declares `publish: "clients"`; every subscriber hears it, this client's among them. Text and bytes
   * go as they are, anything else as JSON. It waits, one of `maxEnqueuedMessages`, until the topic is subscribed on an open
   * connection, and is sent once. Messages arrive in the order of `publish`.
   *
   * Resolves when the host says that it is published, and is as safe as the class's `durability` makes it.
   *
   * Rejects with a ClientError: `outcome_unknown` where the connection was lost before that, so that it may be published or not;
   * otherwise it is not: `not_published` where the object does not take it, as one that does not match its schema or is too long
   * for its class (`problem`), and `queue_full`, `too_large`, `bad_argument`, `closed`, `refused` or `ended` where it was never
   * sent. The signal's reason, once it is aborted: what was sent by then may be published.
   */
  publish(message: Message, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Published> {
    return this.#feeds.publish(this.#address, message, signal);
  }
}
