import { onAbort } from "./abort.ts";
import type { ClientContext } from "./context.ts";
import { ClientError, clientClosed, queueFull } from "./errors.ts";
import { Feed, type PendingPublish, type Published } from "./feed.ts";
import { isTooLong, messageBytesMax, publishBody, type TopicAddress } from "./frames.ts";
import type { ConnectionState } from "./kept-connection.ts";
import { keyOf } from "./seats.ts";
import type { Listener } from "./subscription.ts";
import type { Cancel } from "./surroundings.ts";
import { TopicConnection } from "./topic-connection.ts";

/** A client has so many connections at most. Each takes 256 topics. */
const connectionsMax = 16;

/** Whoever publishes without listening keeps its subscription for so long after each message. */
const publisherStaysMs = 5_000;

/**
 * All feeds of a client, on as few connections as they fit. There is one of each, but for the time in which listeners need
 * different places of a topic's history: a connection has each topic once, so the second feed takes a second connection, and
 * goes back to the first once it has caught up.
 */
export class Feeds {
  readonly #context: ClientContext;
  readonly #changed: (state: ConnectionState) => void;
  readonly #connections: TopicConnection[] = [];
  readonly #places = new Map<Feed, TopicConnection>();
  /** Those of one topic. */
  readonly #byTopic = new Map<string, Set<Feed>>();
  /** Feeds that somebody publishes through, and what ends that. */
  readonly #publishers = new Map<Feed, Cancel>();
  /** What was told last. */
  #last: ConnectionState = { status: "idle" };
  #isClosed = false;
  /** Nothing is opened until `reconnect`. */
  #isHeld: boolean;

  constructor(context: ClientContext, changed: (state: ConnectionState) => void) {
    this.#context = context;
    this.#changed = changed;
    this.#isHeld = context.settings.startClosed;
  }

  /** Of the first connection: others are for a while. */
  get state(): ConnectionState {
    return this.#isClosed ? this.#last : (this.#connections[0]?.state ?? this.#last);
  }

  /** @throws ClientError `closed`, `too_many`, `no_websocket` */
  join(address: TopicAddress, listener: Listener): void {
    this.#feedFor(address, (feed) => feed.admits(listener.options), listener.options).add(listener);
  }

  leave(listener: Listener): void {
    const { feed } = listener;
    listener.end();
    feed?.delete(listener);
    if (feed) this.#releaseSoon(feed);
  }

  /** Resolves when the host has answered that the message is published. */
  publish(address: TopicAddress, message: unknown, signal?: AbortSignal): Promise<Published> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const body = publishBody(message);
      if (body === "{}") throw new ClientError("bad_argument", "The message has no JSON.");
      if (isTooLong(body))
        throw new ClientError("too_large", `A message has ${messageBytesMax} bytes at most.`);
      const { maxEnqueuedMessages } = this.#context.settings;
      const [first] = this.#feedsOf(address); // always the same one, for the order
      const goesAtOnce = first && this.#places.get(first)?.canSend(first);
      if (!goesAtOnce && this.#enqueued() >= maxEnqueuedMessages) throw queueFull(maxEnqueuedMessages);
      const feed = this.#feedFor(address, () => true, {});
      const publish: PendingPublish = {
        body,
        settle(error, published) {
          forget();
          if (published) resolve(published);
          else reject(error);
        },
      };
      const forget = onAbort(() => {
        // It may wait in another feed by now.
        for (const { outbox } of this.#places.keys()) removeFrom(outbox, publish);
        publish.settle(signal?.reason);
      }, signal);
      feed.outbox.push(publish);
      this.#stay(feed);
      this.#places.get(feed)?.flush(feed);
    });
  }

  reconnect(): void {
    this.#mustBeOpen();
    this.#isHeld = false;
    for (const connection of [...this.#connections]) connection.reconnect();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const closing = { code: 1000, reason: "" };
    for (const connection of [...this.#connections]) connection.close(closing);
    this.#last = { status: "closed", ...closing };
    this.#changed(this.#last);
  }

  /** Puts two feeds of one topic together where they have come to the same place. */
  moved(feed: Feed): void {
    for (const other of this.#feedsOf(feed.address)) {
      if (other === feed) continue;
      if (feed.canJoin(other)) return this.#merge(feed, other);
      if (other.canJoin(feed)) return this.#merge(other, feed);
    }
  }

  over(feed: Feed): void {
    this.#publishers.get(feed)?.();
    this.#publishers.delete(feed);
    this.#places.delete(feed);
    const feeds = this.#feedsOf(feed.address);
    feeds.delete(feed);
    if (feeds.size === 0) this.#byTopic.delete(keyOf(feed.address));
  }

  changed(connection: TopicConnection): void {
    const isFirst = connection === this.#connections[0];
    const { status } = connection.state;
    const isOver = status === "idle" || status === "closed";
    if (isOver && connection.isEmpty) removeFrom(this.#connections, connection);
    // The next has become the first, or there is none: how this one has ended is the last that is told of it.
    if (!isFirst || this.#isClosed) return;
    this.#last = this.#connections[0]?.state ?? connection.state;
    this.#changed(this.#last);
  }

  #merge(from: Feed, into: Feed): void {
    from.join(into);
    if (this.#publishers.has(from)) this.#stay(into);
    this.#release(from);
  }

  #feedFor(
    address: TopicAddress,
    isFit: (feed: Feed) => boolean,
    wanted: ConstructorParameters<typeof Feed>[1],
  ): Feed {
    this.#mustBeOpen();
    for (const feed of this.#feedsOf(address)) if (isFit(feed)) return feed;
    const feed = new Feed(address, wanted);
    const connection = this.#connectionFor(address);
    this.#places.set(feed, connection);
    this.#byTopic.set(keyOf(address), this.#feedsOf(address).add(feed));
    connection.add(feed);
    return feed;
  }

  /** One that has a place for the topic, opened if it is not. */
  #connectionFor(address: TopicAddress): TopicConnection {
    let connection = this.#connections.find((candidate) => candidate.hasRoomFor(address));
    if (!connection) {
      if (this.#connections.length >= connectionsMax)
        throw new ClientError("too_many", `A client has ${connectionsMax} connections at most.`);
      connection = new TopicConnection(this, this.#context);
      this.#connections.push(connection);
    }
    if (!this.#isHeld) connection.open();
    return connection;
  }

  #feedsOf(address: TopicAddress): Set<Feed> {
    return this.#byTopic.get(keyOf(address)) ?? new Set();
  }

  /** Keeps a feed for whoever publishes through it: a while, and as long as anything is under way. */
  #stay(feed: Feed): void {
    this.#publishers.get(feed)?.();
    const cancel = this.#context.around.after(publisherStaysMs, () => {
      if (feed.isPublishing) return this.#stay(feed);
      this.#publishers.delete(feed);
      this.#releaseSoon(feed);
    });
    this.#publishers.set(feed, cancel);
  }

  #enqueued(): number {
    let count = 0;
    for (const { outbox } of this.#places.keys()) count += outbox.length;
    return count;
  }

  /** In a turn of its own: whoever leaves and comes back at once, as effects of React do, finds everything as it was. */
  #releaseSoon(feed: Feed): void {
    this.#context.around.after(0, () => {
      if (feed.isDeserted && !this.#publishers.has(feed)) this.#release(feed);
    });
  }

  #release(feed: Feed): void {
    const connection = this.#places.get(feed);
    this.over(feed);
    connection?.release(feed);
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw clientClosed();
  }
}

function removeFrom<T>(list: T[], one: T): void {
  const index = list.indexOf(one);
  if (index !== -1) list.splice(index, 1);
}
