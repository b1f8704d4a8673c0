import type { EdgeEvents, EdgeName, EdgePort, LastWord, OwnerFacts } from "../host/edge-port.ts";
import type { SocketCarrier } from "../host/virtual-socket.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { type ErrorCode, StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers, Link } from "../link/link.ts";
import { broughtBy } from "../link/link-versions.ts";
import type { TopicMessage, TopicStart } from "../topics/topic-message.ts";
import { topicOfPresence } from "../topics/topic-presence.ts";
import { CommandLog, openWaitingCountMax } from "./command-log.ts";
import { Assembly, partsOf } from "./message-parts.ts";
import { encodePlainPublish } from "./plain-publish.ts";
import { PublishEncoder } from "./publish-encoder.ts";
import { ServedCarrier } from "./served-carrier.ts";
import {
  decodeCloseOf,
  decodeCount,
  decodeNumbered,
  encodeHandled,
  encodeMoved,
  encodeOwnerHead,
  type Payload,
  socketsPurpose,
  toEdge,
  toOwner,
} from "./socket-protocol.ts";
import { encodeHello } from "./socket-hello.ts";
import { decodeHeadOf, decodeRoll, decodeRollEnd } from "./socket-records.ts";
import { decodePositions, encodeStartOf } from "./topic-protocol.ts";

/** How long an edge that cannot be reached is waited for, while its process is among those alive. */
export const interruptedLimitMs = 30_000;

/** What the end of a channel says when it is the way that broke. After any other end the two cannot go on. */
const brokenWays: ReadonlySet<ErrorCode> = new Set([
  "outcome_unknown",
  "owner_unreachable",
  "session_over",
  "link_overloaded",
]);

/** What an attachment needs of its host. */
export interface ServedEdgeSetup {
  readonly clock: Clock;
  /** Whether the process is gone as far as the directory knows. */
  isGone(process: string): boolean;
  /** The way to the edge broke, or is there again: for whoever learns that its process is gone. */
  interrupted(port: ServedEdge, isInterrupted: boolean): void;
  /** The sockets of the attachment are given up: an edge that comes back to it is told to close them. */
  buried(port: ServedEdge): void;
  /** Of the links: how that edge is spoken to, before there is a channel. */
  versionOf(process: string): number;
  /** One publish goes to another host. */
  countPublish(): void;
}

type State =
  /** No way yet, or none any more. */
  | { readonly name: "interrupted"; readonly cancelLimit: CancelTimer }
  | { readonly name: "open"; readonly channel: Channel }
  /** The last word is said; what is before it may still have to be sent. */
  | { readonly name: "ending"; readonly channel: Channel }
  | { readonly name: "over" };

/**
 * The owner's end of an attachment to another host. Commands go into a log, and along the channel as long as there is one; a
 * channel that breaks between two living hosts costs nothing but time, within the limits of the log.
 */
export class ServedEdge implements EdgePort, ChannelHandlers {
  readonly edge: EdgeName;
  readonly id: string;
  readonly #setup: ServedEdgeSetup;
  readonly #facts: OwnerFacts;
  readonly #events: EdgeEvents;
  readonly #log = new CommandLog();
  /** As they were when the attachment was made, for the first hello. */
  readonly #firstCursors: ReadonlyMap<number, number>;
  #state: State;
  /** Of the links to that process, which never changes. Undefined until there was a channel: what is to be expected may. */
  #version: number | undefined;
  /** What the channel has not taken. */
  #hello: Uint8Array | undefined;
  #isStalled = false;
  #assembly = new Assembly();
  /** Numbers of sockets and counts of handled messages, in turn, that the edge is told of once this turn is over. */
  #handled: number[] = [];

  constructor(setup: ServedEdgeSetup, id: string, owner: AttachmentOwner) {
    this.#setup = setup;
    this.id = id;
    this.edge = owner.edge;
    this.#facts = owner.facts;
    this.#events = owner.events;
    this.#firstCursors = owner.cursors;
    this.#state = this.#waiting();
  }

  get isOver(): boolean {
    return this.#state.name === "over" || this.#state.name === "ending";
  }
  /** What is told here may not arrive. */
  readonly isDirect = false;
  headOf(): undefined {
    return undefined;
  }
  get isReachable(): boolean {
    return this.#state.name === "open";
  }
  get lastWord(): LastWord {
    return { port: this.id, count: this.#log.last };
  }
  get bufferedBytes(): number {
    return this.#log.waitingBytes;
  }

  // -- the way there

  /** The first channel, from this side. */
  open(link: Link): void {
    if (this.#state.name !== "interrupted") return; // The edge was faster, or it is over.
    const { className, id } = this.#facts.ref;
    this.#greet(link.open(socketsPurpose, encodeOwnerHead({ className, id }), this), 0, this.#firstCursors);
  }

  /** The edge has opened a channel, and has applied so many of the commands: false where it cannot go on from there. */
  adopt(channel: Channel, applied: number, cursors: () => ReadonlyMap<number, number>): boolean {
    if (this.isOver || !this.#log.rewind(applied)) return false;
    const before = this.#state.name === "open" ? this.#state.channel : undefined;
    this.#greet(channel, applied, cursors());
    before?.close(new StatefulError("session_over", "Another channel goes on in its place."));
    return true;
  }

  #greet(channel: Channel, after: number, cursors: ReadonlyMap<number, number>): void {
    if (this.#state.name === "interrupted") this.#state.cancelLimit();
    this.#state = { name: "open", channel };
    this.#version = channel.link.version;
    this.#setup.interrupted(this, false);
    const { session, epoch, autoResponse, redeliver, wakeOnClose, before } = this.#facts;
    const facts = { session, epoch, autoResponse, redeliver, wakeOnClose, before };
    this.#hello = encodeHello({ ...facts, port: this.id, after, upTo: this.#log.last, cursors });
    this.#isStalled = false;
    this.#assembly = new Assembly();
    this.#sendOn(channel);
  }

  /** Sends what the channel takes; the rest goes when it has room. */
  #sendOn(channel: Channel): void {
    if (!this.#takes(channel)) {
      this.#isStalled = true;
      const goOn = () => {
        if (!this.#isOn(channel)) return;
        this.#isStalled = false;
        this.#sendOn(channel);
      };
      channel.writable().then(goOn, ignore);
    } else if (this.#state.name === "ending") {
      this.#state = { name: "over" };
      channel.close();
    }
  }

  #takes(channel: Channel): boolean {
    if (this.#hello && !channel.send(toEdge.hello, this.#hello)) return false;
    this.#hello = undefined;
    for (let next = this.#log.next(); next; next = this.#log.next()) {
      if (!channel.send(next.kind, next.payload)) return false;
      this.#log.sentNext();
    }
    return true;
  }

  #isOn(channel: Channel): boolean {
    const { name } = this.#state;
    return (name === "open" || name === "ending") && this.#state.channel === channel;
  }

  #waiting(): State {
    const late = () =>
      this.lost(new StatefulError("owner_unreachable", "The edge could not be reached for too long."));
    return { name: "interrupted", cancelLimit: this.#setup.clock.after(interruptedLimitMs, late) };
  }

  #interrupted(): void {
    this.#state = this.#waiting();
    if (this.#setup.isGone(this.edge.process)) this.lost(edgeGone());
    else this.#setup.interrupted(this, true);
  }

  /** What the edge holds is given up. It is told in a turn of its own, for this may be found out in the middle of a command. */
  lost(error: StatefulError): void {
    if (this.isOver) return;
    this.#setup.buried(this);
    this.#end(error);
    queueMicrotask(() => this.#events.lost(error));
  }

  #end(error: StatefulError): void {
    const state = this.#state;
    this.#state = { name: "over" };
    this.#setup.interrupted(this, false);
    if (state.name === "interrupted") state.cancelLimit();
    else if (state.name !== "over") state.channel.close(error);
  }

  // -- commands

  carrier(socketNumber: number): SocketCarrier {
    return new ServedCarrier(this, socketNumber);
  }

  /** Whether it can be told of histories, and of presence. */
  get knowsHistories(): boolean {
    const version = this.#version ?? this.#setup.versionOf(this.edge.process);
    return version >= broughtBy.topicHistories;
  }

  publish(_objectKey: string, message: TopicMessage, except: number): boolean {
    const kind = message.form === "bytes" ? toEdge.publishBytes : toEdge.publishText;
    if (!this.knowsHistories && topicOfPresence(message.topic) !== undefined) return true;
    this.#setup.countPublish();
    if (!this.knowsHistories) return this.offer(kind, encodePlainPublish({ message, except }));
    return this.offer(kind, publishEncoder.encode(message, except));
  }

  fill(topic: string, start: TopicStart): boolean {
    if (!this.knowsHistories) return true; // Nobody there has a position, so nobody was promised anything.
    return this.offerLate(toEdge.fill, () => encodeStartOf({ number: 0, topic, start }));
  }

  rollCall(): void {
    this.command(toEdge.rollCall, "");
  }
  asleep(): void {
    this.command(toEdge.asleep, "");
  }
  hold(): void {
    this.command(toEdge.hold, "");
  }
  goOn(): void {
    this.command(toEdge.goOn, "");
  }

  moved(toSession: string, epoch: number): void {
    this.#tellHandled();
    this.command(toEdge.moved, encodeMoved({ session: toSession, epoch }));
    const state = this.#state;
    if (state.name !== "open") return this.#end(new StatefulError("not_owner", "The object has moved on."));
    this.#state = { name: "ending", channel: state.channel };
    if (!this.#isStalled) this.#sendOn(state.channel);
  }

  close(error: StatefulError): void {
    if (this.isOver) return;
    this.#tellHandled();
    this.#end(error);
  }

  /** A command that may be refused: false, and then nothing is sent, where too much waits on a way that is open. */
  offer(kind: number, payload: Payload): boolean {
    return this.offerLate(kind, () => payload);
  }

  offerLate(kind: number, encode: () => Payload): boolean {
    if (this.#state.name === "open" && this.#log.isCrowded) return false;
    this.command(kind, encode());
    return true;
  }

  /** A command without which the edge could not go on. */
  command(kind: number, payload: Payload): void {
    const state = this.#state;
    if (state.name === "over" || state.name === "ending") return;
    const { leading, last } = partsOf(payload);
    for (const part of leading) this.#log.put(toEdge.part, part);
    this.#log.put(kind, last);
    if (this.#log.keepsTooMuch) return this.lost(tooMuchWaits());
    if (state.name === "open" && !this.#isStalled) this.#sendOn(state.channel);
    else if (this.#isOverfull()) this.lost(tooMuchWaits());
  }

  /** While the way is open, what may be refused is refused at the limit, so that there is room for the rest. */
  #isOverfull(): boolean {
    if (this.#state.name === "interrupted") return this.#log.isFull;
    return this.#log.waitingCount > commandsOnOpenWayMax;
  }

  /** Told once per turn, however many there were. */
  handled(socketNumber: number, count: number): void {
    const due = this.#handled;
    const last = due.length - 2;
    if (last >= 0 && due[last] === socketNumber) due[last + 1] = (due[last + 1] ?? 0) + count;
    else if (due.push(socketNumber, count) === 2) queueMicrotask(() => this.#tellHandled());
  }

  #tellHandled(): void {
    if (this.#handled.length === 0) return;
    const due = this.#handled;
    this.#handled = [];
    this.command(toEdge.handled, encodeHandled(due));
  }

  // -- from the edge

  message(channel: Channel, kind: number, payload: Payload): void {
    channel.consumed(payload.length);
    // Of another channel: what is not taken here is sent again on this one, or to the next owner.
    if (this.#state.name !== "open" || this.#state.channel !== channel) return;
    if (kind === toOwner.part) this.#assembly.add(payload);
    else this.#tell(kind, this.#assembly.whole(payload));
  }

  #tell(kind: number, payload: Payload): void {
    const events = this.#events;
    switch (kind) {
      case toOwner.messageText:
      case toOwner.messageBytes: {
        const { number, message } = decodeNumbered(payload);
        return events.message(number, message);
      }
      case toOwner.applied:
        return this.#applied(decodeCount(payload));
      case toOwner.head: {
        const { number, head } = decodeHeadOf(payload);
        return events.head(number, head);
      }
      case toOwner.opened:
        return events.opened(decodeCount(payload));
      case toOwner.drained:
        return events.drained(decodeCount(payload));
      case toOwner.closed: {
        const { number, code, reason } = decodeCloseOf(payload);
        return events.closed(number, code, reason);
      }
      case toOwner.positions:
        return events.positions(decodePositions(payload));
      case toOwner.roll:
        return this.#roll(payload);
      case toOwner.rollEnd:
        return events.roll([], decodeRollEnd(payload), true);
    }
  }

  closed(channel: Channel, error: StatefulError | undefined): void {
    if (!this.#isOn(channel)) return;
    if (this.#state.name === "ending") {
      this.#state = { name: "over" };
      return;
    }
    if (error === undefined)
      this.lost(new StatefulError("not_found", "No client of the object is connected there any more."));
    else if (brokenWays.has(error.code)) this.#interrupted();
    else this.lost(error);
  }

  #applied(count: number): void {
    if (!this.#log.applied(count))
      throw new StatefulError("bad_request", `The edge has applied ${count} commands: more than were sent.`);
  }

  #roll(payload: Payload): void {
    const { records, scope } = decodeRoll(payload);
    this.#events.roll(records, scope, false);
  }
}

/** Twice what may wait before the first is refused. */
const commandsOnOpenWayMax = 2 * openWaitingCountMax;
const publishEncoder = new PublishEncoder();

/** For whom an attachment is made. */
export interface AttachmentOwner {
  readonly edge: EdgeName;
  readonly facts: OwnerFacts;
  readonly events: EdgeEvents;
  /** How many messages of each socket are taken already. */
  readonly cursors: ReadonlyMap<number, number>;
}

export function edgeGone(): StatefulError {
  return new StatefulError("owner_unreachable", "The edge's host is gone.");
}

function tooMuchWaits(): StatefulError {
  return new StatefulError("backpressure", "More waits for the edge than may.");
}

function ignore(): void {
  // The channel has ended, which its handlers are told.
}
