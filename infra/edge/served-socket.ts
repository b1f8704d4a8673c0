import { type SocketCarrier, slowReaderCloseCode, type VirtualSocket } from "../host/virtual-socket.ts";
import { StatefulError } from "../lib/errors.ts";
import type { Channel, Link } from "../link/link.ts";
import type { SocketData } from "../object/socket-message.ts";
import { encodePublish } from "../topics/publish-frame.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import {
  bytesOf,
  decodeClose,
  encodeClose,
  encodeNumbers,
  fromEdge,
  fromOwner,
  publishPost,
} from "./forward-protocol.ts";
import { isLongerThan } from "./local-socket.ts";

/** Another host as a publisher here sees it: one post on the link, whatever the number of its subscribers. */
export class LinkEdge implements TopicEdge {
  readonly #link: Link;
  readonly #count: () => void;

  constructor(link: Link, countFrame: () => void) {
    this.#link = link;
    this.#count = countFrame;
  }

  publish(objectKey: string, topic: string, message: SocketData, exceptSocketId: number): boolean {
    this.#count();
    return this.#link.post(publishPost, encodePublish({ objectKey, topic, message, exceptSocketId }));
  }
}

/**
 * What a handler here does to a socket that another host holds. A message that does not fit is the caller's to deal with;
 * any other command that does not fit ends the channel, because the edge would go on with a socket that is not as the
 * handler believes.
 */
export class RemoteSocketCarrier implements SocketCarrier {
  readonly edge: TopicEdge;
  readonly socketId: number;
  readonly #channel: Channel;
  readonly #congested: () => void;

  constructor(channel: Channel, edge: TopicEdge, socketId: number, congested: () => void) {
    this.#channel = channel;
    this.edge = edge;
    this.socketId = socketId;
    this.#congested = congested;
  }

  send(message: SocketData): number {
    return this.#send(fromOwner.send, message) ? message.length : -1;
  }
  subscribe(topic: string): void {
    this.#command(fromOwner.subscribe, topic);
  }
  unsubscribe(topic: string): void {
    this.#command(fromOwner.unsubscribe, topic);
  }
  ping(data: SocketData): void {
    this.#send(fromOwner.ping, data);
  }
  pong(data: SocketData): void {
    this.#send(fromOwner.pong, data);
  }
  close(code: number, reason: string): void {
    this.#command(fromOwner.close, encodeClose(code, reason));
  }
  terminate(): void {
    this.#command(fromOwner.terminate, "");
  }
  bufferedBytes(): number {
    return 0; // What waits for the client waits at its edge, which bounds it.
  }

  #command(kind: number, payload: SocketData): void {
    if (!this.#channel.isOpen || this.#channel.send(kind, payload)) return;
    this.#channel.close(new StatefulError("backpressure", "More waits for the client than may."));
    this.#congested();
  }

  #send(kind: number, payload: SocketData): boolean {
    return this.#channel.isOpen && this.#channel.send(kind, payload);
  }
}

/** What a client at another host says to a socket whose handlers run here. */
export class ServedSocket {
  readonly #channel: Channel;
  readonly #socket: VirtualSocket;
  readonly #messageBytesMax: number;
  #handled = 0;
  #isReportDue = false;

  constructor(channel: Channel, socket: VirtualSocket, messageBytesMax: number) {
    this.#channel = channel;
    this.#socket = socket;
    this.#messageBytesMax = messageBytesMax;
  }

  message(kind: number, payload: Uint8Array | string): void {
    switch (kind) {
      case fromEdge.socketOpened:
        return void this.#socket.opened();
      case fromEdge.message:
        return this.#receive(payload);
      case fromEdge.drained:
        return void this.#socket.drained();
      case fromEdge.closed: {
        const { code, reason } = decodeClose(bytesOf(payload));
        return void this.#socket.closed(code, reason);
      }
    }
  }

  /** The channel ended without a close: the edge is gone, or cannot be reached any more (RFC 6455: 1006). */
  lost(): void {
    void this.#socket.closed(1006, "The edge was lost.");
  }

  /** The channel was ended here, because the client or the way to it is too slow. */
  congested(): void {
    void this.#socket.closed(slowReaderCloseCode, "The reader is too slow.");
  }

  #receive(message: SocketData): void {
    if (isLongerThan(message, this.#messageBytesMax))
      return this.#socket.close(1009, "The message is over the limit.");
    const handling = this.#socket.received(message);
    if (handling === undefined) this.#report();
    else void handling.finally(() => this.#report());
  }

  /** Tells the edge how many messages were handled: once per turn, however many there were. */
  #report(): void {
    this.#handled++;
    if (this.#isReportDue) return;
    this.#isReportDue = true;
    queueMicrotask(() => {
      this.#isReportDue = false;
      const count = this.#handled;
      this.#handled = 0;
      // What could not be told now is told with the next: otherwise the edge would count those as under way for ever.
      if (this.#channel.isOpen && !this.#channel.send(fromOwner.handled, encodeNumbers(count)))
        this.#handled += count;
    });
  }
}
