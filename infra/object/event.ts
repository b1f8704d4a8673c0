import type { Objects } from "./context.ts";
import type { ErasedHandles } from "./options.ts";
import type { SocketBehaviour } from "./socket-route.ts";
import type { ObjectStorage } from "./storage.ts";

/**
 * One event as the dispatcher hands it to a class: which object it is for has been decided, once, and nothing downstream
 * reads that from a Host header, a URL or a route parameter again.
 */
export interface ObjectEvent {
  /** Raw path from the class name on, `/counter/a/increment`. */
  readonly path: string;
  /** `path` and query under a fixed internal origin. What Elysia calls `url` and parses the query from. */
  readonly url: string;
  /** Index of the `?` in `url`, -1 without a query. */
  readonly queryIndex: number;
  readonly object: ObjectScope;
  /** Decoded route parameters, where the server matched the route. */
  readonly params?: Readonly<Record<string, string>>;
  /** Keys of the objects whose calls led here, the first caller first. */
  readonly chain: readonly string[];
  /** Present where the client asked for a socket or an event stream. */
  readonly upgrade: UpgradeSlot | undefined;
  /** What aborts its request's signal, once a handler has looked at that; null once the event has ended without. */
  ending?: AbortController | null | undefined;
}

export const internalOrigin = "http://object.internal";

/** The activation as an author's code meets it. */
export interface ObjectScope extends ErasedHandles {
  /** The input gate. Returns a promise where the event has to wait; rejects where the activation ends meanwhile. */
  enter(event: ObjectEvent): void | Promise<void>;
  /** Whether an event that is about to enter has to wait, because storage is being read. */
  readonly isGateShut: boolean;
  /** Waits for that. Refuses with `call_cycle`, or with why the activation ended. */
  waitAtGate(event: ObjectEvent): Promise<void>;
  /** The object's storage for one event, or for one call at a time where `caller` is undefined. */
  storageFor(caller: object | undefined): ObjectStorage;
  /** The signal of an event's request: its client's, and what the object has to say. */
  signalOf(event: ObjectEvent, ofClient: AbortSignal): AbortSignal;
  /** Calls to other objects on behalf of that event, with its chain of callers; undefined: of one that has none, and has no name. */
  callsFrom(event: ObjectEvent | undefined): Objects;
  /** Logs what an author's code threw and returns the id under which it stands in the log. */
  reportFailure(thrown: unknown, event: ObjectEvent | undefined): string;
}

/**
 * How a client is connected: by a WebSocket of its own, by an event stream, or by one of the subscriptions on a connection for
 * many. The last two are for topics alone, and only an edge says that something is one.
 */
export type SocketKind = (typeof socketKinds)[number];
export const socketKinds = ["websocket", "event-stream", "subscription"] as const;

export function isSocketKind(value: unknown): value is SocketKind {
  return socketKinds.some((kind) => kind === value);
}

/** Filled by the route that accepts the upgrade; left empty when the author's hooks answered instead. */
export class UpgradeSlot {
  readonly kind: SocketKind;
  readonly reattached: boolean;
  accepted: AcceptedUpgrade | undefined;

  /** Takes an acceptance back: the lease ended before it could leave. */
  refuse(): void {
    this.accepted = undefined;
  }

  /** @param reattached whether the socket is open already, and its hooks run again for a new activation */
  constructor(kind: SocketKind, reattached = false) {
    this.kind = kind;
    this.reattached = reattached;
  }
}

export interface AcceptedUpgrade {
  /** Headers for the 101 (or the 200 of an event stream), cookies included. */
  readonly headers: Headers | undefined;
  readonly behaviour: SocketBehaviour;
  /** The handler context of the upgrade request; becomes `ws.data`. */
  readonly data: object;
}
