import { onAbort } from "./abort.ts";
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
   * go as they are, anything else as JSON. Resolves when the message has been handed to a connection that is open and
   * subscribed to the topic; until then it waits, one of `maxEnqueuedMessages`. Messages arrive in the order of `publish`.
   *
   * Not promised: that it arrived. A connection that breaks just then takes it along, and it is not sent again, because it may
   * have arrived. A message that the host does not take (`failed`), as one that is longer than the class allows, is told to this
   * client's subscribers of the topic. Where an answer is needed, call the object.
   *
   * Rejects with a ClientError `queue_full`, `too_large`, `closed`, `refused` or `ended`, or with the signal's reason: then the
   * message was certainly not sent.
   */
  publish(message: Message, { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#feeds.publish(this.#address, message, signal);
  }
}
