import type { ObjectScope } from "./event.ts";
import type { ErasedHandles } from "./options.ts";

const scopeOfHandles: unique symbol = Symbol("stateful-objects.scope");

/**
 * The object's handles as getters: nothing is made until an author's code takes it, and each use asks the activation
 * anew. Base of the HTTP context and of what hooks receive.
 */
export class ScopeHandles implements ErasedHandles {
  readonly [scopeOfHandles]: ObjectScope;

  constructor(scope: ObjectScope) {
    this[scopeOfHandles] = scope;
  }

  get objectId() {
    return this[scopeOfHandles].objectId;
  }
  get state() {
    return this[scopeOfHandles].state;
  }
  get topics() {
    return this[scopeOfHandles].topics;
  }
  get sockets() {
    return this[scopeOfHandles].sockets;
  }
  get objects() {
    return this[scopeOfHandles].objects;
  }
  get host() {
    return this[scopeOfHandles].host;
  }
  get waitUntil() {
    const scope = this[scopeOfHandles];
    return (work: Promise<unknown>) => scope.waitUntil(work);
  }
  get setTimeout() {
    const scope = this[scopeOfHandles];
    return (callback: () => void | Promise<void>, delayMs: number) => scope.setTimeout(callback, delayMs);
  }
}

/** What `onStart` and `onStop` receive. */
export class LifecycleEvent<Reason extends string> extends ScopeHandles {
  readonly reason: Reason;

  constructor(scope: ObjectScope, reason: Reason) {
    super(scope);
    this.reason = reason;
  }
}

/** What a topic's `subscribe` function receives. */
export class SubscribeEvent extends ScopeHandles {
  readonly request: Request;
  readonly topic: string;

  constructor(scope: ObjectScope, request: Request, topic: string) {
    super(scope);
    this.request = request;
    this.topic = topic;
  }
}
