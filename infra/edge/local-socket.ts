import { nanoid } from "nanoid";
import type { Activation } from "../host/activation.ts";
import { VirtualSocket, type SocketCarrier } from "../host/virtual-socket.ts";
import type { UpgradeSlot } from "../object/event.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { SocketOwner } from "./edge-socket.ts";

export function newSocketId(): string {
  return nanoid(16);
}

/**
 * Makes the owner's end of a socket whose upgrade the class accepted. Undefined where it did not, and the author's
 * answer stands. Throws `queue_full` where the object has all the sockets it may.
 */
export function acceptSocket(
  activation: Activation,
  carrier: SocketCarrier,
  slot: UpgradeSlot,
  client: { readonly socketId: string; readonly clientAddress: string },
): VirtualSocket | undefined {
  const { accepted } = slot;
  if (accepted === undefined) return undefined;
  const socket = new VirtualSocket(activation, carrier, {
    id: client.socketId,
    remoteAddress: client.clientAddress,
    data: accepted.data,
    behaviour: accepted.behaviour,
  });
  activation.addSocket(socket);
  return socket;
}

/** Whether a message has more bytes than that, as UTF-8 where it is text: a unit of text has three at most. */
export function isLongerThan(message: SocketData, bytesMax: number): boolean {
  if (message.length > bytesMax) return true;
  return (
    typeof message === "string" && message.length * 3 > bytesMax && Buffer.byteLength(message) > bytesMax
  );
}

/** Events of a socket whose owner is this host itself: straight calls. */
export class LocalSocketOwner implements SocketOwner {
  readonly #socket: VirtualSocket;
  readonly #messageBytesMax: number;

  constructor(socket: VirtualSocket, activation: Activation) {
    this.#socket = socket;
    this.#messageBytesMax = activation.runtime.definition.limits.messageBytesMax;
  }

  opened(): void {
    void this.#socket.opened();
  }
  message(message: SocketData): void {
    if (isLongerThan(message, this.#messageBytesMax))
      return this.#socket.close(1009, "The message is over the limit.");
    void this.#socket.received(message);
  }
  drained(): void {
    void this.#socket.drained();
  }
  closed(code: number, reason: string): void {
    void this.#socket.closed(code, reason);
  }
}
