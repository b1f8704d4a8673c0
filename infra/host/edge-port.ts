import type { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { SocketKind } from "../object/event.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import type { TopicStart } from "../topics/topic-message.ts";
import type { PresentIn } from "../topics/topic-presence.ts";
import type { SocketCarrier } from "./virtual-socket.ts";

/**
 * Between the owner of an object and the edges that hold its clients' sockets. There is one *attachment* for each object and
 * edge, whatever the number of sockets: everything that the two say to each other about them goes along it, in order. The
 * owner's own host is an edge like any other, reached without a link.
 *
 *     AttachedEdge (host/)  ──EdgePort──▶  the edge        commands: send, publish, subscribe, close …
 *                           ◀──EdgeEvents──                what clients do, and who is there
 */
export interface EdgePort extends TopicEdge {
  readonly edge: EdgeName;

  /** How commands reach one socket of that edge. What it answers while the way there is interrupted: see `SocketCarrier`. */
  carrier(socketNumber: number): SocketCarrier;

  /**
   * What all subscribers of a topic there have missed, or that they have missed something. False where it could not be queued.
   */
  fill(topic: string, start: TopicStart): boolean;

  /** Asks for the records of all sockets: `EdgeEvents.roll`. What the edge says before those is older than they are. */
  rollCall(): void;

  /** The object sleeps: nothing is told per socket until something wakes it. */
  asleep(): void;

  /** A planned move begins: the edge keeps what clients say until `goOn` or `moved`. */
  hold(): void;
  goOn(): void;

  /** The end of what this owner says: from here on the edge listens to that session, under that epoch. The port is over. */
  moved(toSession: string, epoch: number): void;

  /** This owner is no more, in whatever way; the edge looks for the next. The port is over. */
  close(error: StatefulError): void;

  /** Whether the edge counts a message as handled as soon as it has told it: one of this very process, which nothing can cut off. */
  readonly isDirect: boolean;

  /**
   * The head of a socket at an edge of this very process; undefined elsewhere. Such an edge does not tell it for messages that it has
   * told before the object slept: for it those are handled.
   */
  headOf(socketNumber: number): UpgradeHead | undefined;

  /** False while the way to the edge is interrupted: then a voluntary move is better left for later. */
  readonly isReachable: boolean;

  /** What was said last, for the object's next owner: an edge that has not heard it by then never will. Undefined for nothing. */
  readonly lastWord: LastWord | undefined;

  /** Bytes that wait here for the edge. */
  readonly bufferedBytes: number;
}

/** A host process as an edge. It keeps its name over the sessions that a directory may end. */
export interface EdgeName {
  readonly process: string;
  readonly hostId: string;
  readonly region: string;
}

/** What the edges of an object are told of its owner. */
export interface OwnerFacts {
  readonly ref: ObjectRef;
  readonly session: string;
  readonly epoch: number;
  /** See `ObjectOptions`. */
  readonly autoResponse: { readonly request: string; readonly response: string } | undefined;
  readonly redeliver: boolean;
  readonly wakeOnClose: boolean;
  /** Of the owner that the object has moved here from. */
  readonly before?: LastWord | undefined;
}

/** How much an owner has said along one attachment. */
export interface LastWord {
  /** Names the attachment. */
  readonly port: string;
  /** Commands so far. */
  readonly count: number;
}

/** One socket as its edge knows it: enough to go on with it at another owner. */
export interface SocketRecord {
  /** At its edge; from 1. */
  readonly number: number;
  readonly id: string;
  readonly remoteAddress: string;
  readonly kind: SocketKind;
  /** `accepted`: `open` has not run yet. */
  readonly phase: "accepted" | "opened";
  readonly subscriptions: readonly string[];
  /** What it is in those of its topics that have presence. */
  readonly presence: readonly (readonly [topic: string, presentIn: PresentIn])[];
  readonly tags: readonly string[];
  /** Encoded; undefined where there is none. */
  readonly attachment: Uint8Array | undefined;
  /** Messages of the client that an owner has handled, since the socket began. */
  readonly handled: number;
}

/** The client's upgrade request, kept by the edge and run through the author's hooks again at each new activation. */
export interface UpgradeHead {
  readonly kind: SocketKind;
  /** As the client wrote it, for `request.url`. */
  readonly url: string;
  /** Raw path and query from the class name on. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
}

/** What an edge tells the owner. Each is called in the order in which it happened at the edge. */
export interface EdgeEvents {
  /** Positions of the last messages that came to the edge, by topic. Comes before a roll. */
  positions(positions: ReadonlyMap<string, string>): void;
  /**
   * Sockets of the edge, in one or several parts. `all`: those that are in none of the parts are gone. `missing`: only those
   * that the owner did not know.
   */
  roll(records: readonly SocketRecord[], scope: "all" | "missing", isLast: boolean): void;
  /** Comes before the first event of a socket whose hooks have not run at this owner since it was attached. */
  head(socketNumber: number, head: UpgradeHead): void;
  /** The upgrade was answered: the client is connected. */
  opened(socketNumber: number): void;
  /** How many were handled is told with `SocketCarrier.handled`. */
  message(socketNumber: number, message: SocketData): void;
  drained(socketNumber: number): void;
  closed(socketNumber: number, code: number, reason: string): void;
  /** The edge is gone for good, or so much is missing between the two that they cannot go on. */
  lost(error: StatefulError): void;
}

/** Makes the ports through which an owner reaches the edges of its objects. */
export interface EdgePorts {
  /**
   * @param cursors of the sockets that the owner knows: how many messages of each it, or the owner before it, has handled. The
   *   edge sends what comes after those, tells that sockets are gone, and the records of any that are missing here.
   */
  to(edge: EdgeName, owner: OwnerFacts, cursors: ReadonlyMap<number, number>, events: EdgeEvents): EdgePort;
}
