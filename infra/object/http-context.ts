import type { ObjectEvent } from "./event.ts";
import { ScopeHandles } from "./handles.ts";
import { offerSignal } from "./event-signal.ts";
import type { ObjectStorage } from "./storage.ts";
import { offerUpgrade, upgradeServer } from "./upgrade-server.ts";

/** Where a context keeps its event. A symbol, so that it can never meet a name of the author's or of Elysia's. */
export const eventOfContext: unique symbol = Symbol("stateful-objects.event");

/**
 * The handler context. Elysia's adapters make one per request; ours is a class, so that the object's handles cost
 * nothing until a handler takes them. The fields are Elysia's (its `Context` type); the code that Elysia generates
 * assigns `params`, `body`, `query`, `headers` and `cookie` to it where a handler needs them.
 */
export class HttpContext extends ScopeHandles {
  readonly request: Request;
  readonly store: unknown;
  readonly redirect: unknown;
  readonly status: unknown;
  readonly set: { headers: Record<string, unknown>; status: number };
  params: unknown;
  readonly [eventOfContext]: ObjectEvent;

  constructor(request: Request, event: ObjectEvent, store: unknown, redirect: unknown, status: unknown) {
    super(event.object);
    this.request = request;
    this.store = store;
    this.redirect = redirect;
    this.status = status;
    this.params = undefined;
    this.set = { headers: Object.create(null), status: 200 };
    this[eventOfContext] = event;
    offerSignal(request, event);
    if (event.upgrade) offerUpgrade(request, event.upgrade, this);
  }

  // Elysia reads these where a handler asks for its query or path, and where it matches a route.
  get path() {
    return this[eventOfContext].path;
  }
  get url() {
    return this[eventOfContext].url;
  }
  get qi() {
    return this[eventOfContext].queryIndex;
  }

  /** Whether this is the upgrade of a socket that is open already: its hooks run again for a new activation. */
  get reattached() {
    return this[eventOfContext].upgrade?.reattached ?? false;
  }

  get server() {
    return upgradeServer;
  }

  /** A socket outlives the request that it was. */
  override get signal(): AbortSignal {
    return this[eventOfContext].upgrade === undefined ? this.request.signal : super.signal;
  }

  /** A socket's handlers share this context, and each of their calls is an event's of its own. */
  override get storage(): ObjectStorage {
    const event = this[eventOfContext];
    return event.object.storageFor(event.upgrade === undefined ? event : undefined);
  }

  /** Calls made from a handler carry the chain of callers that led to it. To a socket none has: it is a client's. */
  override get objects() {
    const event = this[eventOfContext];
    return event.object.callsFrom(event.upgrade === undefined ? event : undefined);
  }
}
