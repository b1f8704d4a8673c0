import type { ClientContext } from "./context.ts";
import { socketUrl } from "./endpoints.ts";
import { ClientError, type Closing, type Problem } from "./errors.ts";
import type { Feed } from "./feed.ts";
import {
  connectPath,
  decodeFrame,
  type FrameFromHost,
  pingFrame,
  subscriptionsMax,
  type TopicAddress,
} from "./frames.ts";
import { type ConnectionState, type ConnectionUser, KeptConnection } from "./kept-connection.ts";
import { type HeadersSource, headersOf, type Settings } from "./options.ts";
import { queryOf } from "./query.ts";
import { type Retry, retryAfterClose, retryAfterRefusal, retryDelayMs } from "./retry.ts";
import { cancelRetryOf, keyOf, type Seat, Seats } from "./seats.ts";
import type { Cancel, Surroundings } from "./surroundings.ts";

/** How long a connection stays that nobody needs: a page that changes its view soon needs it again. */
const idleMs = 10_000;

/** So much may lie in the socket before what is published waits for it. */
const bufferedBytesMax = 2 ** 20;
/** … and so many messages of a topic may wait for their answer. */
const unansweredMax = 256;
/** How often a full socket is looked at: no event tells that it has room again. */
const drainMs = 50;

/** What a topic connection tells of itself. */
export interface TopicConnectionPort {
  /** A feed may have come to where another is. */
  moved(feed: Feed): void;
  /** A feed is over, and so are its listeners. */
  over(feed: Feed): void;
  changed(connection: TopicConnection): void;
}

/** One `/-/connect`: many topics of many objects, each of them once. */
export class TopicConnection implements ConnectionUser {
  readonly ping = pingFrame;
  readonly protocols = [];
  readonly #connection: KeptConnection;
  readonly #port: TopicConnectionPort;
  readonly #headers: HeadersSource | undefined;
  readonly #settings: Settings;
  readonly #around: Surroundings;
  readonly #seats = new Seats();
  /** Of this attempt, for `hello`. */
  #attemptHeaders: Record<string, string> | undefined;
  /** The one renewal of credentials that is under way. */
  #renewal: Promise<void> | undefined;
  #lastRef = 0;
  #cancelIdle: Cancel | undefined;
  #cancelDrain: Cancel | undefined;

  /** @throws ClientError `no_websocket` */
  constructor(port: TopicConnectionPort, context: ClientContext) {
    this.#port = port;
    this.#headers = context.headers;
    this.#settings = context.settings;
    this.#around = context.around;
    this.#connection = new KeptConnection(this, context);
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  get isEmpty(): boolean {
    return this.#seats.size === 0;
  }

  /** Whether this topic can have a place here: each has one. */
  hasRoomFor(address: TopicAddress): boolean {
    if (this.#seats.size >= subscriptionsMax) return false;
    const key = keyOf(address);
    return !this.#seats.all().some(({ feed, at }) => at !== "leaving" && keyOf(feed.address) === key);
  }

  open(): void {
    this.#connection.open();
  }

  reconnect(): void {
    this.#connection.reconnect(1000, "");
    this.#interrupted();
  }

  /** Ends all that is on it. */
  close(closing: Closing): void {
    this.#connection.close({ status: "closed", ...closing }, 1000, "");
    this.#overAll(closing);
  }

  add(feed: Feed): void {
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    this.#ask(this.#seats.add(feed));
  }

  /** Nobody needs the feed any more. What still comes of it is dropped. */
  release(feed: Feed): void {
    const seat = this.#seats.of(feed);
    if (!seat || seat.at === "leaving") return;
    if (seat.at === "waiting") return this.#remove(seat);
    seat.at = "leaving";
    this.#send({ type: "unsubscribe", id: seat.id });
  }

  /** Whether what is published through the feed leaves at once. */
  canSend(feed: Feed): boolean {
    return this.#connection.isOpen && this.#seats.of(feed)?.at === "standing" && !this.#isFullFor(feed);
  }

  /** Sends what waits in a feed's outbox, as far as it may. */
  flush(feed: Feed): void {
    const seat = this.#seats.of(feed);
    while (this.#connection.isOpen && seat?.at === "standing" && feed.outbox.length > 0) {
      if (this.#isFullFor(feed)) return this.#flushLater();
      const publish = feed.outbox.shift();
      if (!publish) return;
      this.#lastRef += 1;
      feed.sent.set(this.#lastRef, publish);
      this.#connection.send(
        `{"type":"publish","id":${seat.id},"ref":${this.#lastRef},${publish.body.slice(1)}`,
      );
    }
  }

  #isFullFor({ sent }: Feed): boolean {
    return sent.size >= unansweredMax || (this.#connection.socket?.bufferedAmount ?? 0) > bufferedBytesMax;
  }

  async addressAt(url: string): Promise<string> {
    this.#attemptHeaders = await headersOf(this.#headers);
    return socketUrl(url) + connectPath;
  }

  opened(): void {
    if (this.#attemptHeaders) this.#send({ type: "hello", headers: this.#attemptHeaders });
    for (const seat of this.#seats.all()) {
      cancelRetryOf(seat);
      this.#ask(seat);
    }
  }

  received({ data }: MessageEvent): void {
    const frame = decodeFrame(data);
    if (frame) this.#handle(frame);
  }

  lost(closing: Closing): void {
    this.#interrupted();
    if (this.state.status === "closed") this.#overAll(closing);
  }

  changed(): void {
    this.#port.changed(this);
  }

  #handle(frame: FrameFromHost): void {
    switch (frame.type) {
      case "welcome":
        return this.#connection.greeted(frame.host, frame.region);
      case "subscribed":
        return this.#subscribed(frame);
      case "message":
        return this.#tell(frame, (feed) => {
          feed.message(frame);
          this.#port.moved(feed);
        });
      case "skipped":
        return this.#tell(frame, (feed) => feed.skipped(frame.count));
      case "presence":
        return this.#tell(frame, (feed) => feed.presenceTold(frame));
      case "refused":
        return this.#refused(frame.id, frame.status, frame.error ?? {});
      case "published":
      case "failed":
        return this.#answered(frame);
      case "unsubscribed":
        return this.#unsubscribed(frame.id, { code: frame.code, reason: frame.reason ?? "" });
      case "pong":
        return; // That it came is what counts.
    }
  }

  #tell(address: TopicAddress, tell: (feed: Feed) => void): void {
    const seat = this.#seats.at(address);
    if (seat?.at === "standing") tell(seat.feed); // what is leaving has left already, and nobody may join it
  }

  /** Asks for a feed, if it can be asked for now. */
  #ask(seat: Seat): void {
    if (!this.#connection.isOpen || seat.at !== "waiting" || seat.cancelRetry) return;
    const { feed } = seat;
    if (this.#seats.at(feed.address)) return; // Its predecessor is leaving, and will make room.
    this.#seats.occupy(seat);
    seat.at = "asked";
    const { object, topic } = feed.address;
    const presence = feed.presence || undefined;
    this.#send({
      type: "subscribe",
      id: seat.id,
      object,
      topic,
      since: feed.cursor,
      presence,
      query: feed.query && queryOf(feed.query),
    });
  }

  #subscribed(frame: FrameFromHost & { readonly type: "subscribed" }): void {
    const seat = this.#seats.withId(frame.id);
    if (!seat || seat.at === "leaving") return;
    if (seat.at === "asked") {
      seat.at = "standing";
      seat.standingSinceMs = this.#around.monotonicMs();
    }
    seat.feed.subscribed(frame);
    this.#goesOn(seat.feed);
  }

  #answered(frame: FrameFromHost & { readonly type: "published" | "failed" }): void {
    const feed = this.#seats.withId(frame.id)?.feed;
    if (!feed) return;
    feed.answered(frame);
    this.#goesOn(feed);
  }

  /** More may be sent through it now, and it may have come to where another is. */
  #goesOn(feed: Feed): void {
    this.flush(feed);
    this.#port.moved(feed);
  }

  #refused(id: number, status: number, problem: Problem): void {
    const seat = this.#vacate(id);
    if (!seat) return;
    if (this.#retries(seat, retryAfterRefusal(status, problem))) return;
    const { object, topic } = seat.feed.address;
    const message = `${object} refuses its topic "${topic}": ${problem.detail ?? problem.title ?? status}`;
    const error = new ClientError("refused", message, { problem });
    this.#remove(seat);
    this.#port.over(seat.feed);
    seat.feed.over("refused", { status, error });
  }

  #unsubscribed(id: number, closing: Closing): void {
    const seat = this.#vacate(id);
    if (!seat) return;
    const stoodMs = seat.at === "standing" ? this.#around.monotonicMs() - seat.standingSinceMs : 0;
    if (stoodMs >= this.#settings.minUptime) {
      seat.failures = 0;
      seat.hasRenewedCredentials = false;
    }
    if (this.#retries(seat, retryAfterClose(closing.code))) return seat.feed.waits();
    this.#remove(seat);
    this.#over(seat.feed, closing);
  }

  /** Sees to it that a feed that has ended is asked for again, where it may be; false where it may not. */
  #retries(seat: Seat, retry: Retry): boolean {
    if (retry === "no" || (retry === "credentials" && seat.hasRenewedCredentials)) return false;
    seat.at = "waiting";
    const again = () => {
      seat.cancelRetry = undefined;
      if (this.#seats.of(seat.feed) === seat) this.#ask(seat);
    };
    if (retry === "credentials") {
      seat.hasRenewedCredentials = true;
      const cancel = this.#around.after(this.#settings.connectionTimeout, again);
      seat.cancelRetry = cancel;
      void this.#renewCredentials().then(() => {
        if (seat.cancelRetry !== cancel) return; // it is late, or not wanted any more
        cancel();
        again();
      });
      return true;
    }
    const delayMs = retryDelayMs(this.#settings, { failures: seat.failures, ways: 1, retry }, this.#around);
    seat.failures += 1;
    seat.cancelRetry = this.#around.after(delayMs, again);
    return true;
  }

  /** Says `hello` again, with what `headers` gives now. Whoever needs it meanwhile waits for the same. */
  #renewCredentials(): Promise<void> {
    const socket = this.#connection.socket;
    this.#renewal ??= headersOf(this.#headers)
      .then(
        (headers) => {
          if (headers && socket === this.#connection.socket) this.#send({ type: "hello", headers });
        },
        () => undefined, // There are none. The host will say what it thinks of the old ones.
      )
      .finally(() => {
        this.#renewal = undefined;
      });
    return this.#renewal;
  }

  /**
   * A subscription has ended: whoever waits for its place has it next, once it is known what becomes of this one. Undefined where
   * nothing does, because it was to end.
   */
  #vacate(id: number): Seat | undefined {
    const seat = this.#seats.withId(id);
    if (!seat) return undefined;
    this.#seats.vacate(seat);
    queueMicrotask(() => {
      for (const next of this.#seats.all()) this.#ask(next);
    });
    if (seat.at !== "leaving") return seat;
    this.#remove(seat);
    return undefined;
  }

  #remove(seat: Seat): void {
    this.#seats.remove(seat);
    if (this.#seats.size > 0) return;
    this.#cancelIdle?.();
    this.#cancelIdle = this.#around.after(idleMs, () => {
      this.#connection.close({ status: "idle" }, 1000, "");
    });
  }

  /** The connection is gone: all feeds wait, and what was leaving has left. */
  #interrupted(): void {
    this.#cancelDrain?.();
    this.#cancelDrain = undefined;
    for (const seat of this.#seats.all()) {
      this.#seats.vacate(seat);
      if (seat.at === "leaving") this.#remove(seat);
      else {
        cancelRetryOf(seat);
        seat.at = "waiting";
        seat.failures = 0;
        seat.hasRenewedCredentials = false; // the next connection brings fresh ones
        seat.feed.waits();
      }
    }
  }

  #overAll(closing: Closing): void {
    for (const seat of this.#seats.all()) {
      this.#remove(seat);
      this.#over(seat.feed, closing);
    }
    this.#cancelIdle?.();
    this.#cancelDrain?.();
  }

  #over(feed: Feed, closing: Closing): void {
    const { object, topic } = feed.address;
    const message = `The subscription to "${topic}" of ${object} has ended: ${closing.code} ${closing.reason}`;
    const error = new ClientError("ended", message, { close: closing });
    this.#port.over(feed);
    feed.over("ended", { ...closing, error });
  }

  #flushLater(): void {
    this.#cancelDrain ??= this.#around.after(drainMs, () => {
      this.#cancelDrain = undefined;
      for (const { feed } of this.#seats.all()) this.flush(feed);
    });
  }

  #send(frame: object): void {
    this.#connection.send(JSON.stringify(frame));
  }
}
