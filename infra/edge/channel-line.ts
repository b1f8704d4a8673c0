import { slowReaderCloseCode } from "../host/virtual-socket.ts";
import type { SocketRecord, UpgradeHead } from "../host/edge-port.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers } from "../link/link.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicMessage } from "../topics/topic-message.ts";
import { broughtBy } from "../link/link-versions.ts";
import { ChannelSender } from "./channel-sender.ts";
import { bytesOf, decodeRefusal, type Refusal } from "./forward-protocol.ts";
import type { HeldSocket } from "./held-socket.ts";
import type { HeldSockets } from "./held-sockets.ts";
import { Assembly } from "./message-parts.ts";
import type { OwnerLine } from "./owner-line.ts";
import { decodePlainPublish } from "./plain-publish.ts";
import {
  decodeCloseOf,
  decodeControl,
  decodeCount,
  decodeHandled,
  decodeKeep,
  decodeMoved,
  decodeNumbered,
  decodeTopicOf,
  encodeCloseOf,
  encodeCount,
  encodeNumberedBytes,
  encodeNumberedText,
  type Payload,
  toEdge,
  toOwner,
} from "./socket-protocol.ts";
import { decodeHello } from "./socket-hello.ts";
import { encodeHeadOf, encodeRoll, encodeRollEnd, type RollScope } from "./socket-records.ts";
import { decodePublish, decodeStartOf, encodePositions } from "./topic-protocol.ts";

/** What the next owner says before the last one has ended. Past either the object's sockets are closed: there would be a gap. */
export const heldBytesMax = 1024 * 1024;
export const heldCountMax = 4096;
/** How often the owner is told how many of its commands are applied, so that it forgets them. */
export const reportCount = 64;
export const reportBytes = 32 * 1024;

/** How the owner answered an edge that came by itself. */
export type RegistrationAnswer =
  | { readonly kind: "attached" }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "lost"; readonly error: StatefulError };

export interface ChannelLineSetup {
  /** The object's sockets here, from the hello on. */
  readonly held: () => HeldSockets;
  readonly process: string;
  /** A publish of the object, to all who subscribe to the topic here. */
  publish(message: TopicMessage, except: number): void;
  /** Called once, where the edge has opened the channel. */
  answered?(answer: RegistrationAnswer): void;
}

/** The edge's end of an attachment to another host. */
export class ChannelLine implements OwnerLine, ChannelHandlers {
  readonly process: string;
  readonly isDirect = false;
  readonly isRegistered: boolean;
  readonly #setup: ChannelLineSetup;
  #held: HeldSockets | undefined;
  #channel: Channel | undefined;
  #sender: ChannelSender | undefined;
  /** Whether the owner's release knows histories, presence, and subscriptions of connections for many. */
  #knowsHistories = true;
  /** What came before the edge listens to this owner; undefined once it does. */
  #waiting: { readonly kind: number; readonly payload: Payload }[] | undefined = [];
  #waitingBytes = 0;
  /** The channel has ended while what it brought still waits. */
  #hasEnded = false;
  readonly #assembly = new Assembly();
  /** Number of the last command that came. */
  #number = 0;
  #unreportedCount = 0;
  #unreportedBytes = 0;
  #answered: ((answer: RegistrationAnswer) => void) | undefined;

  constructor(setup: ChannelLineSetup) {
    this.#setup = setup;
    this.process = setup.process;
    this.isRegistered = setup.answered !== undefined;
    this.#answered = setup.answered?.bind(setup);
  }

  begin(channel: Channel): void {
    this.#channel = channel;
    this.#knowsHistories = channel.link.version >= broughtBy.topicHistories;
    this.#sender = new ChannelSender(channel, () => this.#held?.flushAll());
  }

  get isClear(): boolean {
    return this.#sender?.isClear ?? false;
  }

  // -- from the owner

  message(channel: Channel, kind: number, payload: Payload): void {
    channel.consumed(payload.length);
    if (this.#held === undefined) return this.#first(channel, kind, payload);
    if (this.#waiting === undefined) return this.#take(this.#held, kind, payload);
    this.#waiting.push({ kind, payload });
    this.#waitingBytes += payload.length;
    if (this.#waitingBytes > heldBytesMax || this.#waiting.length > heldCountMax) this.#overflow();
  }

  closed(_: Channel, error: StatefulError | undefined): void {
    this.#answer({ kind: "lost", error: error ?? new StatefulError("outcome_unknown", "No answer came.") });
    this.#hasEnded = true;
    // What the owner has said is applied first, as soon as it is its turn.
    if (this.#waiting === undefined || this.#waiting.length === 0) this.#held?.ended(this);
  }

  #first(channel: Channel, kind: number, payload: Payload): void {
    if (kind === toEdge.refuse) {
      this.#answer({ kind: "refused", refusal: decodeRefusal(bytesOf(payload)) });
      return channel.close();
    }
    if (kind !== toEdge.hello) throw new StatefulError("bad_request", "An owner speaks before its hello.");
    const hello = decodeHello(payload);
    this.#number = hello.after;
    this.#held = this.#setup.held();
    this.#held.offer(this, hello);
    this.#answer({ kind: "attached" });
  }

  #answer(answer: RegistrationAnswer): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(answer);
  }

  #overflow(): void {
    this.#held?.closeAll(slowReaderCloseCode, "Too much was said while the object moved.");
    this.end(new StatefulError("backpressure", "Too much was said before the last owner had ended."));
    this.#held?.ended(this);
  }

  goLive(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    try {
      for (const { kind, payload } of waiting) this.#take(this.#held, kind, payload);
    } catch (thrown) {
      this.end(asStatefulError(thrown));
      this.#hasEnded = true;
    }
    if (this.#hasEnded) this.#held?.ended(this);
  }

  /** A command that was applied already came again, on a channel that was opened meanwhile. */
  #take(held: HeldSockets | undefined, kind: number, payload: Payload): void {
    if (!held?.isCurrent(this)) return;
    const number = ++this.#number;
    if (number <= held.applied) return;
    this.#unreportedCount++;
    this.#unreportedBytes += payload.length;
    if (kind === toEdge.part) return this.#assembly.add(payload); // Applied with the rest of it.
    held.applied = number;
    this.#apply(held, kind, this.#assembly.whole(payload));
    held.commandApplied(this);
    if (this.#unreportedCount >= reportCount || this.#unreportedBytes >= reportBytes) this.reportApplied();
  }

  #apply(held: HeldSockets, kind: number, payload: Payload): void {
    switch (kind) {
      case toEdge.sendText:
      case toEdge.sendBytes: {
        const { number, message } = decodeNumbered(payload);
        return sendTo(held.at(number), message);
      }
      case toEdge.publishText:
      case toEdge.publishBytes: {
        const { message, except } = this.#knowsHistories
          ? decodePublish(payload)
          : decodePlainPublish(payload);
        held.topics.published(message);
        return this.#setup.publish(message, except);
      }
      case toEdge.fill: {
        const { topic, start } = decodeStartOf(payload);
        return held.topics.fill(topic, start, (message) => this.#setup.publish(message, 0));
      }
      case toEdge.handled: {
        for (const [number, count] of decodeHandled(payload)) held.at(number)?.handled(count);
        return;
      }
      case toEdge.rollCall:
        return held.rollCall(this);
      case toEdge.asleep:
        return held.asleep();
      case toEdge.hold:
        return held.hold();
      case toEdge.goOn:
        return held.goOn();
      case toEdge.moved:
        return held.moved(this, decodeMoved(payload));
      default:
        return applyToSocket(held, kind, payload);
    }
  }

  // -- to the owner

  tellRoll(records: readonly SocketRecord[], scope: RollScope): void {
    const told = this.#knowsHistories ? records : this.#thoseItKnows(records);
    for (const part of encodeRoll(told, scope)) this.#sender?.send(toOwner.roll, part);
    this.#sender?.send(toOwner.rollEnd, encodeRollEnd(scope));
  }

  /** An owner of an earlier release has no subscriptions: those are closed here, and their clients ask again. */
  #thoseItKnows(records: readonly SocketRecord[]): readonly SocketRecord[] {
    const why = "The object is at a host of an earlier release; connect again.";
    const { known = [], unknown = [] } = Object.groupBy(records, ({ kind }) =>
      kind === "subscription" ? "unknown" : "known",
    );
    for (const { number } of unknown) this.#held?.at(number)?.close(1012, why);
    return known;
  }

  tellPositions(positions: ReadonlyMap<string, string>): void {
    if (this.#knowsHistories) this.#sender?.send(toOwner.positions, encodePositions(positions));
  }

  tellHead(socketNumber: number, head: UpgradeHead): void {
    if (!this.#knowsHistories && head.kind === "subscription") return; // It is being closed.
    this.#sender?.sendLate(toOwner.head, () => encodeHeadOf(socketNumber, head));
  }

  tellOpened(socketNumber: number): void {
    this.#sender?.send(toOwner.opened, encodeCount(socketNumber));
  }

  tellMessage(socketNumber: number, message: SocketData): void {
    if (typeof message === "string")
      this.#sender?.send(toOwner.messageText, encodeNumberedText(socketNumber, message));
    else this.#sender?.send(toOwner.messageBytes, encodeNumberedBytes(socketNumber, message));
  }

  tellDrained(socketNumber: number): void {
    this.#sender?.send(toOwner.drained, encodeCount(socketNumber));
  }

  tellClosed(socketNumber: number, code: number, reason: string): void {
    this.#sender?.send(toOwner.closed, encodeCloseOf({ number: socketNumber, code, reason }));
  }

  reportApplied(): void {
    if (this.#unreportedCount === 0) return;
    this.#unreportedCount = 0;
    this.#unreportedBytes = 0;
    if (this.#held?.isCurrent(this)) this.#sender?.send(toOwner.applied, encodeCount(this.#held.applied));
  }

  /** An edge that has come by itself waits no longer. */
  callOff(error: StatefulError): void {
    if (this.#held === undefined) this.end(error);
  }

  end(error?: StatefulError): void {
    this.#answer({
      kind: "lost",
      error: error ?? new StatefulError("outcome_unknown", "It was called off."),
    });
    this.#channel?.close(error);
  }
}

function applyToSocket(held: HeldSockets, kind: number, payload: Payload): void {
  switch (kind) {
    case toEdge.subscribe: {
      const { number, topic } = decodeTopicOf(payload);
      return held.at(number)?.subscribe(topic);
    }
    case toEdge.listen: {
      const { number, topic, start } = decodeStartOf(payload);
      return held.topics.listen(number, topic, start);
    }
    case toEdge.unsubscribe: {
      const { number, topic } = decodeTopicOf(payload);
      return held.at(number)?.unsubscribe(topic);
    }
    case toEdge.close: {
      const { number, code, reason } = decodeCloseOf(payload);
      return held.at(number)?.close(code, reason);
    }
    case toEdge.terminate:
      return held.at(decodeCount(payload))?.terminate();
    case toEdge.ping:
    case toEdge.pong: {
      const { number, message } = decodeControl(payload);
      const socket = held.at(number);
      return kind === toEdge.ping ? socket?.ping(message) : socket?.pong(message);
    }
    case toEdge.keep: {
      const { number, attachment, tags } = decodeKeep(payload);
      return held.at(number)?.keep(attachment, tags);
    }
  }
}

function sendTo(socket: HeldSocket | undefined, message: SocketData): void {
  if (socket?.send(message) === -1) socket.close(slowReaderCloseCode, "The reader is too slow.");
}
