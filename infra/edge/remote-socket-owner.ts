import type { StatefulError } from "../lib/errors.ts";
import type { Channel } from "../link/link.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { EdgeSocket, SocketOwner } from "./edge-socket.ts";
import {
  bytesOf,
  decodeClose,
  decodeNumber,
  encodeClose,
  fromEdge,
  fromOwner,
  textOf,
} from "./forward-protocol.ts";

/** Bytes and count of one client's messages that its owner has not handled yet; past either it is closed with 1013. */
export const socketInflightBytesMax = 1024 * 1024;
export const socketInflightCountMax = 4096;

/** The edge's end of a socket whose handlers run at another host. */
export class RemoteSocketOwner implements SocketOwner {
  readonly #channel: Channel;
  readonly #socket: EdgeSocket;
  /** Sizes of the messages on their way, in order. The owner reports how many of them it has handled. */
  readonly #inflight: number[] = [];
  #inflightBytes = 0;

  constructor(channel: Channel, socket: EdgeSocket) {
    this.#channel = channel;
    this.#socket = socket;
  }

  // -- from the client

  opened(): void {
    this.#send(fromEdge.socketOpened, "");
  }

  message(message: SocketData): void {
    // What the last message may be is the class's to limit, so what counts is what was under way before it.
    const isOver =
      this.#inflightBytes > socketInflightBytesMax || this.#inflight.length >= socketInflightCountMax;
    this.#inflight.push(message.length);
    this.#inflightBytes += message.length;
    if (isOver) this.#socket.close(1013, "Messages arrive faster than the object handles them.");
    else this.#send(fromEdge.message, message);
  }

  drained(): void {
    this.#send(fromEdge.drained, "");
  }

  closed(code: number, reason: string): void {
    this.#send(fromEdge.closed, encodeClose(code, reason));
    this.#channel.close();
  }

  // -- from the owner

  command(kind: number, payload: Uint8Array | string): void {
    const socket = this.#socket;
    switch (kind) {
      case fromOwner.send:
        if (socket.send(payload) === -1) socket.close(4408, "The reader is too slow.");
        return;
      case fromOwner.subscribe:
        return socket.subscribe(textOf(payload));
      case fromOwner.unsubscribe:
        return socket.unsubscribe(textOf(payload));
      case fromOwner.close: {
        const { code, reason } = decodeClose(bytesOf(payload));
        return socket.close(code, reason);
      }
      case fromOwner.terminate:
        return socket.terminate();
      case fromOwner.ping:
        return socket.ping(payload);
      case fromOwner.pong:
        return socket.pong(payload);
      case fromOwner.handled:
        return this.#handled(decodeNumber(payload));
    }
  }

  /** The channel ended: the owner is gone, or no longer owns the object. */
  lost(error: StatefulError | undefined): void {
    const isSlow = error?.code === "backpressure";
    const reason = isSlow ? "The reader is too slow." : "The object's host is gone; connect again.";
    this.#socket.close(error?.closeCode ?? 1012, reason);
  }

  #handled(count: number): void {
    for (const size of this.#inflight.splice(0, count)) this.#inflightBytes -= size;
  }

  #send(kind: number, payload: SocketData): void {
    if (!this.#channel.isOpen) return;
    if (!this.#channel.send(kind, payload))
      this.#socket.close(1013, "The way to the object's host is congested.");
  }
}
