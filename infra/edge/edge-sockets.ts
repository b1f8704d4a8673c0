import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { asStatefulError, type StatefulError } from "../lib/errors.ts";
import { type ObjectRef, objectRef } from "../lib/object-ref.ts";
import type { Channel, ChannelHandlers, Link } from "../link/link.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import type { TopicMessage } from "../topics/topic-message.ts";
import { presenceTopic, topicOfPresence } from "../topics/topic-presence.ts";
import type { AddressLimits } from "./address-limits.ts";
import { ChannelLine, type RegistrationAnswer } from "./channel-line.ts";
import { EdgeSocket, framedTopicName, nativeTopic } from "./edge-socket.ts";
import {
  type EncodedEvent,
  EventStream,
  type EventStreamTopics,
  eventStreamPingMs,
  presenceEvent,
  topicEvent,
} from "./event-stream.ts";
import { FramedNames } from "./framed-names.ts";
import { HeldSockets } from "./held-sockets.ts";
import { LenientTopics } from "./lenient-topics.ts";
import { presenceFrame } from "./host-frames.ts";
import {
  type AttachedObjectName,
  encodeEdgeHead,
  type Registration,
  socketsPurpose,
} from "./socket-protocol.ts";
import { keptHeadsBytesMax } from "./upgrade-head.ts";

/** An offer of sockets to another host that may take them. */
export interface PendingRegistration {
  readonly answer: Promise<RegistrationAnswer>;
  /** It is not waited for any longer. Does nothing once it was answered. */
  callOff(error: StatefulError): void;
}

export interface EdgeSocketsSetup {
  readonly clock: Clock;
  /** To all WebSockets of this process that subscribe to `name`; Bun's own fan-out. */
  readonly publishNatively: (name: string, message: SocketData) => void;
  /** Sockets and event streams open at once. Past it an upgrade is refused with `host_full`. */
  readonly socketsMax: number;
  /** What one client's address may have of those. */
  readonly addresses: Pick<AddressLimits, "socket">;
  /** What may wait for one slow client. Past it the client is closed with 4408. */
  readonly backpressureLimitBytes: number;
  /** Finds the next owner of sockets that lost theirs. */
  readonly seek: (held: HeldSockets) => void;
  /** An owner says that an object is its own, under that session and epoch. */
  readonly owns: (key: string, session: string, epoch: number) => void;
}

/** A client's connection with many sockets. It has a place of its own beside theirs, and what waits for it waits for all of them. */
export interface SharedConnection {
  readonly clientAddress: string;
  close(code: number, reason: string): void;
  terminate(): void;
  bufferedBytes(): number;
}

const slowReaderSweepMs = 250;
/** What an owner may send to one client between two sweeps, in multiples of what may wait for it. */
const sendableFactor = 16;
const noUpgrades: ReadonlySet<number> = new Set();
/** How often owners are told what has been applied of the commands of quiet objects, so that they forget them. */
const appliedReportMs = 1000;

/** Every client connection of this host, and the native fan-out of topics to them. */
export class EdgeSockets implements TopicEdge {
  readonly #setup: EdgeSocketsSetup;
  readonly #byNumber = new Map<number, EdgeSocket>();
  /** By object, wherever its owner is. */
  readonly #held = new Map<string, HeldSockets>();
  /** By the native names of what they hear. */
  readonly #streams = new Map<string, Set<EventStream>>();
  readonly #openStreams = new Set<EventStream>();
  /** Each with what gives its address's place back. */
  readonly #connections = new Map<SharedConnection, () => void>();
  readonly framedNames = new FramedNames();
  readonly lenient: LenientTopics;
  #lastNumber = 0;
  #headBytes = 0;
  #cancelSweep: CancelTimer;
  /** Clients that were closed because they were too slow, since the start. */
  slowReadersClosed = 0;
  /** Published since slow readers were looked for. */
  #unsweptLength = 0;
  #pingDueMs: number;
  #reportDueMs = 0;

  constructor(setup: EdgeSocketsSetup) {
    this.#setup = setup;
    this.lenient = new LenientTopics(setup);
    this.#pingDueMs = setup.clock.monotonicMs() + eventStreamPingMs;
    this.#cancelSweep = this.#sweepLater();
  }

  /** The places that are taken. */
  get size(): number {
    return this.#byNumber.size + this.#connections.size;
  }
  /** What waits here for all clients together. */
  get bufferedBytes(): number {
    let bytes = 0;
    for (const reader of this.#readers()) bytes += reader.bufferedBytes();
    return bytes;
  }
  /** What the heads of their upgrades take. */
  get headBytes(): number {
    return this.#headBytes;
  }
  get isFull(): boolean {
    return this.size >= this.#setup.socketsMax || this.#headBytes >= keptHeadsBytesMax;
  }

  /** Event streams that are open. */
  get streamCount(): number {
    return this.#openStreams.size;
  }

  /**
   * A socket that is about to be upgraded. It must be `connected` or `disconnected` in the end.
   *
   * @param clientAddress whose it is; undefined for one of many on a connection that is counted itself
   * @throws StatefulError `address_limit`
   */
  add(ref: ObjectRef, headBytes = 0, clientAddress?: string): EdgeSocket {
    const leave = clientAddress === undefined ? undefined : this.#setup.addresses.socket(clientAddress);
    const number = ++this.#lastNumber;
    const socket = new EdgeSocket(number, ref, {
      lenient: this.lenient,
      sendableBytesMax: sendableFactor * this.#setup.backpressureLimitBytes,
      forget: () => {
        this.#byNumber.delete(number);
        this.#headBytes -= headBytes;
        leave?.();
        this.#held.get(ref.key)?.upgradeEnded(number);
      },
    });
    this.#headBytes += headBytes;
    this.heldOf(ref).upgradeBegan(number);
    this.#byNumber.set(number, socket);
    return socket;
  }

  /** A connection that is about to be upgraded, and takes its place until it is forgotten. @throws StatefulError `address_limit` */
  addShared(connection: SharedConnection): void {
    this.#connections.set(connection, this.#setup.addresses.socket(connection.clientAddress));
  }
  forgetShared(connection: SharedConnection): void {
    this.#connections.get(connection)?.();
    this.#connections.delete(connection);
  }

  /** Of heads that several sockets have in common. */
  countHeadBytes(bytes: number): void {
    this.#headBytes += bytes;
  }

  /** The sockets of an object at this edge. */
  heldOf(ref: ObjectRef): HeldSockets {
    return this.#held.get(ref.key) ?? this.#hold(ref, noUpgrades);
  }

  #hold(ref: ObjectRef, upgrading: ReadonlySet<number>): HeldSockets {
    const { clock, seek, owns } = this.#setup;
    const forget = (left: ReadonlySet<number>) => {
      this.#held.delete(ref.key);
      // Whatever owner accepts them is about to say so.
      if (left.size > 0) this.#hold(ref, left);
    };
    const held = new HeldSockets({ clock, seek, owns, forget }, ref, upgrading);
    this.#held.set(ref.key, held);
    return held;
  }

  /** An owner at another host has opened an attachment. */
  ownerChannel(channel: Channel, { className, id }: AttachedObjectName): ChannelHandlers {
    const ref = objectRef(className, id);
    const { session: process } = channel.link.peer;
    const publish = this.publisherOf(ref.key);
    const line = new ChannelLine({ held: () => this.heldOf(ref), process, publish });
    line.begin(channel);
    return line;
  }

  /** Offers the sockets of an object to a host, which owns it or may take it. Never rejects. */
  register(link: Link, held: HeldSockets, intent: Registration["intent"]): PendingRegistration {
    const { promise: answer, resolve: answered } = Promise.withResolvers<RegistrationAnswer>();
    const publish = this.publisherOf(held.ref.key);
    const { session: process } = link.peer;
    const line = new ChannelLine({ held: () => held, process, publish, answered });
    try {
      line.begin(link.open(socketsPurpose, encodeEdgeHead(held.registration(intent)), line));
    } catch (thrown) {
      answered({ kind: "lost", error: asStatefulError(thrown) });
    }
    return { answer, callOff: (error) => line.callOff(error) };
  }

  publisherOf(objectKey: string) {
    return (message: TopicMessage, except: number): void => void this.publish(objectKey, message, except);
  }

  /** Hosts are gone: their objects have other owners soon. */
  ownersGone(processes: ReadonlySet<string>): void {
    for (const held of [...this.#held.values()]) held.ownersGone(processes);
  }

  eventStream(socket: EdgeSocket): EventStream {
    return new EventStream(socket, this.#streamTopics, this.#setup.backpressureLimitBytes);
  }

  publish(objectKey: string, message: TopicMessage, exceptSocketId: number): boolean {
    const { topic, data } = message;
    const name = nativeTopic(objectKey, topic);
    this.#published(data.length);
    const present = topicOfPresence(topic);
    if (present !== undefined) return this.#publishPresence(objectKey, present, String(data));
    const except = exceptSocketId === 0 ? undefined : this.#byNumber.get(exceptSocketId);
    this.#publishNatively(name, data, except);
    const frame = this.framedNames.frameOf(name, message);
    if (frame !== undefined) this.#publishNatively(framedTopicName(name), frame, except);
    this.#tellStreams(name, () => topicEvent(message), except);
    this.lenient.publish(name, message, except);
    return true;
  }

  #publishPresence(objectKey: string, topic: string, json: string): boolean {
    const name = nativeTopic(objectKey, presenceTopic(topic));
    if (this.framedNames.size > 0)
      this.#setup.publishNatively(framedTopicName(name), presenceFrame(objectKey, topic, json));
    this.#tellStreams(name, () => presenceEvent(json), undefined);
    return true;
  }

  #tellStreams(name: string, encode: () => EncodedEvent, except: EdgeSocket | undefined): void {
    const streams = this.#streams.get(name);
    if (streams === undefined) return;
    const event = encode();
    for (const stream of streams) if (stream.socket !== except) stream.hearEncoded(event);
  }

  /** Before it is: what is behind then is behind without it. */
  #published(length: number): void {
    this.#unsweptLength += length;
    if (this.#unsweptLength >= this.#setup.backpressureLimitBytes) this.#closeSlowReaders();
  }

  #publishNatively(name: string, data: SocketData, except: EdgeSocket | undefined): void {
    if (!except?.publishToOthers(name, data)) this.#setup.publishNatively(name, data);
  }

  /** Closes every connection, as a host does that goes away. */
  closeAll(code: number, reason: string): void {
    for (const connection of [...this.#connections.keys()]) connection.close(code, reason);
    for (const socket of [...this.#byNumber.values()]) socket.close(code, reason);
  }

  stop(): void {
    this.#cancelSweep();
    this.lenient.stop();
    for (const connection of [...this.#connections.keys()]) connection.terminate();
    for (const socket of [...this.#byNumber.values()]) {
      socket.terminate();
      socket.disconnected(1006, "");
    }
    for (const held of [...this.#held.values()]) held.stop();
  }

  readonly #streamTopics: EventStreamTopics = {
    opened: (stream) => void this.#openStreams.add(stream),
    closed: (stream) => void this.#openStreams.delete(stream),
    add: (name, stream) => {
      const streams = this.#streams.get(name);
      if (streams) streams.add(stream);
      else this.#streams.set(name, new Set([stream]));
    },
    remove: (name, stream) => {
      const streams = this.#streams.get(name);
      streams?.delete(stream);
      if (streams?.size === 0) this.#streams.delete(name);
    },
    publishNatively: (name, message) => this.#setup.publishNatively(name, message),
  };

  #sweepLater(): CancelTimer {
    return this.#setup.clock.after(slowReaderSweepMs, () => {
      this.#cancelSweep = this.#sweepLater();
      this.#sweep(this.#setup.clock.monotonicMs());
    });
  }

  /**
   * Native fan-out cannot say which of its readers are behind, so that is looked at here: four times a second, and each time
   * that as much was published as may wait for one of them.
   */
  #closeSlowReaders(): void {
    this.#unsweptLength = 0;
    for (const reader of [...this.#readers()]) {
      // Bun gives a client some seconds to read that, and then cuts it off.
      if (reader.bufferedBytes() <= this.#setup.backpressureLimitBytes) continue;
      this.slowReadersClosed += 1;
      reader.close(slowReaderCloseCode, "The reader is too slow.");
    }
  }

  /** Each client's connection once. */
  *#readers(): Iterable<Pick<SharedConnection, "close" | "bufferedBytes">> {
    yield* this.#connections.keys();
    for (const socket of this.#byNumber.values()) if (!socket.isShared) yield socket;
  }

  #sweep(nowMs: number): void {
    this.#closeSlowReaders();
    if (nowMs >= this.#reportDueMs) {
      this.#reportDueMs = nowMs + appliedReportMs;
      for (const held of this.#held.values()) held.reportApplied();
    }
    if (nowMs < this.#pingDueMs) return;
    this.#pingDueMs = nowMs + eventStreamPingMs;
    for (const stream of [...this.#openStreams]) stream.ping();
  }
}
