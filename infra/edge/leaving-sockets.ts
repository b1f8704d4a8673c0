import type { SocketRecord } from "../host/edge-port.ts";
import type { HeldSocket } from "./held-socket.ts";
import type { OwnerLine } from "./owner-line.ts";

/** Of more it is not told. */
const leavingMax = 4096;

/**
 * Sockets that closed while their object slept, which wakes for that. It knows no socket before it has called the roll, and the link may
 * break at any moment: so that they have closed is told until then on each line, and once more behind the roll that has them.
 */
export class LeavingSockets {
  #sockets: HeldSocket[] = [];

  add(socket: HeldSocket): void {
    if (this.#sockets.length < leavingMax) this.#sockets.push(socket);
  }

  get records(): SocketRecord[] {
    return this.#sockets.map((socket) => socket.record());
  }

  tell(line: OwnerLine): void {
    for (const socket of this.#sockets) socket.tellClosedAgain(line);
  }

  clear(): void {
    this.#sockets = [];
  }
}
