import { sendableCloseReason } from "../host/sendable.ts";
import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { Turns } from "../host/turns.ts";
import type { Clock } from "../lib/clock.ts";
import { asStatefulError, problemDetails, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { SocketData } from "../object/socket-message.ts";
import { subscriptionMessage } from "../object/subscription-message.ts";
import { type ClientFrame, readClientFrame, type SubscribeFrame } from "./client-frames.ts";
import { connectionHeaders, SharedHeaders, withHello } from "./connect-headers.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { type ClientConnection, nativeTopic, type ServedClient } from "./edge-socket.ts";
import type { EdgeSockets, SharedConnection } from "./edge-sockets.ts";
import type { FramedNames } from "./framed-names.ts";
import { type EarlyRoom, FramedTopic, type FramedTopicParent } from "./framed-topic.ts";
import { outcomeFrame, pongFrame, refusedFrame, welcomeFrame } from "./host-frames.ts";
import { discard, refusalOf } from "./refusal.ts";
import { ReplayAllowance, replayWaitingBytesMax } from "./replay-allowance.ts";
import { type SubscriptionAddress, subscriptionAddress } from "./subscription-address.ts";

/** Subscriptions of one connection, those that have not begun or are not wanted any longer included, until they are answered. */
export const subscriptionsMax = 256;

export interface FramedConnectionSetup {
  readonly sockets: EdgeSockets;
  readonly dispatcher: Pick<Dispatcher, "subscribe">;
  /** For subscriptions of all connections: a client may send hundreds at once, and each is as much as an upgrade. */
  readonly turns: Pick<Turns, "take">;
  readonly clock: Clock;
  readonly log: Log;
  readonly hostId: string;
  readonly region: string;
  /** Names, in lower case, of headers that only a proxy of ours sets. */
  readonly trustedHeaders: readonly string[];
}

/** The request that became the connection. */
export interface ConnectRequest {
  readonly origin: string;
  readonly headers: Headers;
  readonly clientAddress: string;
  /** The version in which the client is spoken to. Default: 1. */
  readonly protocol?: number;
}

/**
 * A client's WebSocket for topics of many objects (`topics/PROTOCOL.md`). It reads the client's frames; each subscription is a
 * `FramedTopic` with an `EdgeSocket` of its own, and begins with a request that the dispatcher carries to the owner:
 *
 *     client ── FramedConnection ┬─ FramedTopic ── EdgeSocket ── HeldSocket …  an object
 *               one WebSocket    └─ FramedTopic ── EdgeSocket ── HeldSocket …  another
 *
 * What a subscription meets is its own affair, and the others go on. Only what concerns the connection ends it: a frame that
 * cannot be understood, a reader who is too slow, a host that goes away.
 */
export class FramedConnection implements ServedClient, SharedConnection, FramedTopicParent {
  readonly clientAddress: string;
  readonly names: FramedNames;
  readonly early: EarlyRoom = { bytes: 0, count: 0 };
  readonly #setup: FramedConnectionSetup;
  readonly #origin: string;
  readonly #protocol: number;
  readonly #own: SharedHeaders["list"];
  #headers: SharedHeaders;
  readonly #topics = new Map<number, FramedTopic>();
  readonly #natives = new Set<string>();
  readonly #allowance = new ReplayAllowance();
  /** Over before they were answered: they still take what their answer takes. */
  readonly #abandoned = new Set<FramedTopic>();
  #client: ClientConnection | undefined;
  #closing: Closing | undefined;
  #isOver = false;

  constructor(
    setup: FramedConnectionSetup,
    { origin, headers, clientAddress, protocol = 1 }: ConnectRequest,
  ) {
    this.#setup = setup;
    this.#origin = origin;
    this.#protocol = protocol;
    this.clientAddress = clientAddress;
    setup.sockets.addShared(this); // First: its address may have too many.
    this.names = setup.sockets.framedNames;
    this.#own = connectionHeaders(headers);
    this.#headers = this.#shared(this.#own);
    this.#headers.hold();
  }

  // -- what the client does

  connected(client: ClientConnection): void {
    this.#client = client;
    if (this.#closing) return this.#closeNow(client, this.#closing);
    this.send(welcomeFrame(this.#setup.hostId, this.#setup.region, this.#protocol));
  }

  received(message: SocketData): void {
    if (this.#isOver || this.#closing) return;
    try {
      this.#take(readClientFrame(message));
    } catch (thrown) {
      const error = asStatefulError(thrown);
      if (error.code === "internal") this.#setup.log.error("frame.failed", { error: thrown });
      this.close(error.closeCode, error.message);
    }
  }

  drained(): void {
    // Nothing waits here: what is too much closes the connection.
  }

  disconnected(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#client = undefined;
    for (const topic of [...this.#topics.values()]) topic.drop(code, reason);
    this.#headers.release();
    this.#setup.sockets.forgetShared(this);
  }

  // -- frames

  #take(frame: ClientFrame): void {
    switch (frame.type) {
      case "hello":
        return this.#hello(frame.headers);
      case "subscribe":
        return this.#subscribe(frame);
      case "unsubscribe":
        // One that is over by itself has said so.
        return this.#topics.get(frame.id)?.end(1000, "");
      case "publish":
        return this.#publish(frame);
      case "ping":
        return void this.send(pongFrame);
    }
  }

  #hello(headers: Readonly<Record<string, string>>): void {
    const list = withHello(this.#own, headers, this.#setup.trustedHeaders);
    this.#headers.release();
    this.#headers = this.#shared(list);
    this.#headers.hold();
  }

  #shared(list: SharedHeaders["list"]): SharedHeaders {
    return new SharedHeaders(list, (bytes) => this.#setup.sockets.countHeadBytes(bytes));
  }

  #publish({ id, payload, ref }: Extract<ClientFrame, { type: "publish" }>): void {
    const topic = this.#topics.get(id);
    if (topic) return topic.say(subscriptionMessage(payload, ref));
    const error = new StatefulError("not_found", `No subscription of this connection has the id ${id}.`);
    this.send(outcomeFrame(id, { type: "failed", ref, error: problemDetails(error) }));
  }

  #subscribe(frame: SubscribeFrame): void {
    try {
      this.#checkRoom(frame.id);
      const address = subscriptionAddress(this.#origin, frame);
      const { key } = address.ref;
      const native = nativeTopic(key, frame.topic);
      if (this.#natives.has(native))
        throw taken(
          `The connection subscribes to the topic "${frame.topic.slice(0, 80)}" of ${key} already.`,
        );
      const name = { id: frame.id, object: key, topic: frame.topic, native };
      const topic = new FramedTopic(name, this.#headers, this);
      this.#topics.set(frame.id, topic);
      this.#natives.add(native);
      void this.#begin(topic, address);
    } catch (thrown) {
      if (!(thrown instanceof StatefulError)) throw thrown;
      this.send(refusedFrame(frame.id, thrown.status, problemDetails(thrown)));
    }
  }

  #checkRoom(id: number): void {
    if (this.#topics.has(id)) throw taken(`The id ${id} is in use on this connection.`);
    if (this.#topics.size + this.#abandoned.size < subscriptionsMax) return;
    throw new StatefulError("queue_full", `A connection has ${subscriptionsMax} subscriptions at most.`);
  }

  /** Carries it to the owner, and says why that did not take it. Never rejects. */
  async #begin(topic: FramedTopic, { ref, url, target }: SubscriptionAddress): Promise<void> {
    const { dispatcher, clock, turns } = this.#setup;
    const turn = turns.take(1);
    if (turn) await turn;
    if (topic.isOver) return void this.#abandoned.delete(topic);
    const head = { kind: "subscription", url, target, headers: topic.headers.list } as const;
    const wanted = { head, headBytes: url.length + target.length, signal: topic.signal };
    const response = await dispatcher.subscribe(ref, wanted, topic);
    if (response && topic.isOver) discard(response);
    else if (response) {
      const { status, error } = await refusalOf(response, clock);
      if (!topic.isOver) this.send(refusedFrame(topic.name.id, status, error));
      topic.drop(1000, "");
    }
    this.#abandoned.delete(topic);
  }

  // -- FramedTopicParent

  ended(topic: FramedTopic, hadBegun: boolean): void {
    this.#topics.delete(topic.name.id);
    this.#natives.delete(topic.name.native);
    if (!hadBegun) this.#abandoned.add(topic);
    topic.headers.release();
  }

  send(frame: string): number {
    return this.#client?.send(frame) ?? 0;
  }
  cork(send: () => void): void {
    if (this.#client?.cork) this.#client.cork(send);
    else send();
  }
  subscribe(name: string): void {
    this.#client?.subscribe(name);
  }
  unsubscribe(name: string): void {
    this.#client?.unsubscribe(name);
  }
  publish(name: string, frame: SocketData): void {
    this.#client?.publish(name, frame);
  }
  bufferedBytes(): number {
    return this.#allowance.counted(this.#client?.getBufferedAmount() ?? 0);
  }
  get hasRoomToReplay(): boolean {
    return this.#allowance.waiting(this.#client?.getBufferedAmount() ?? 0) <= replayWaitingBytesMax;
  }
  replay(send: () => void): void {
    this.#allowance.replay(() => this.#client?.getBufferedAmount() ?? 0, send);
  }

  // -- its end

  close(code: number, reason: string): void {
    if (this.#isOver || this.#closing) return;
    if (code === slowReaderCloseCode) this.#setup.sockets.countSlowReader();
    this.#closing = { code, reason: sendableCloseReason(reason) };
    if (this.#client) this.#closeNow(this.#client, this.#closing);
  }

  #closeNow(client: ClientConnection, { code, reason }: Closing): void {
    client.close(code, reason);
    this.disconnected(code, reason);
  }

  terminate(): void {
    this.#client?.terminate();
    this.disconnected(1006, "");
  }
}

interface Closing {
  readonly code: number;
  readonly reason: string;
}

function taken(message: string): StatefulError {
  return new StatefulError("already_subscribed", message);
}
