import type { UpgradeSlot } from "./event.ts";
import type { RawSocket } from "./object-socket.ts";
import type { SocketData } from "./socket-message.ts";
import type { SocketBehaviour } from "./socket-route.ts";

/**
 * Stands where Elysia and its plugins look for Bun's server. A plugin made with plain `new Elysia()` brings Elysia's own
 * `.ws()`, which accepts a socket by calling `server.upgrade(request, { headers, data })` with its handlers in `data`.
 * This fills the event's upgrade slot with a behaviour that drives those; parsing, validation and error hooks stay
 * Elysia's, and so does its running the route's own `beforeHandle` twice.
 */
export const upgradeServer = {
  upgrade(request: Request, options: { readonly headers?: unknown; readonly data?: object } = {}): boolean {
    const offer = offers.get(request);
    if (offer === undefined || options.data === undefined) return false;
    // Elysia's `data` is a copy of the context's own fields. The object's handles are inherited: they come back so.
    const data: object = Object.setPrototypeOf(options.data, offer.context);
    offer.slot.accepted = { headers: headersOf(options.headers), behaviour: elysiaBehaviour, data };
    return true;
  },
  /** An owner does not see the client's connection. Bun, too, answers null where it does not know. */
  requestIP(): null {
    return null;
  },
};

/** Only requests that ask for an upgrade are noted: what is looked up by Request costs plain ones nothing. */
const offers = new WeakMap<Request, { readonly slot: UpgradeSlot; readonly context: object }>();

export function offerUpgrade(request: Request, slot: UpgradeSlot, context: object): void {
  offers.set(request, { slot, context });
}

function headersOf(headers: unknown): Headers | undefined {
  // Elysia passes what Bun's own `upgrade` takes.
  return headers === undefined ? undefined : new Headers(headers as Record<string, string>);
}

/** The handlers that Elysia puts into `data`. */
interface ElysiaSocketData {
  open?(socket: RawSocket): void | Promise<void>;
  message?(socket: RawSocket, data: SocketData): void | Promise<void>;
  drain?(socket: RawSocket): void | Promise<void>;
  close?(socket: RawSocket, code: number, reason: string): void | Promise<void>;
}

const handlersOf = (socket: RawSocket) => socket.data as ElysiaSocketData; // set above, by `upgrade`

const elysiaBehaviour: SocketBehaviour = {
  open: (socket) => handlersOf(socket).open?.(socket),
  message: (socket, data) => handlersOf(socket).message?.(socket, data),
  drain: (socket) => handlersOf(socket).drain?.(socket),
  close: (socket, code, reason) => handlersOf(socket).close?.(socket, code, reason),
};
