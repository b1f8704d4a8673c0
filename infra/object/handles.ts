import type { StartFacts, StartReason, StopReason } from "./context.ts";
import type { ObjectScope } from "./event.ts";
import type { AlarmEvent, ErasedHandles } from "./options.ts";

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
  /** Each of these is one event, and tells its calls apart from those of others by itself. */
  get storage() {
    return this[scopeOfHandles].storageFor(this);
  }
  get alarms() {
    return this[scopeOfHandles].alarms;
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
  get signal() {
    return this[scopeOfHandles].signal;
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

/** What `onStart` receives. */
export class StartEvent extends ScopeHandles implements StartFacts {
  readonly reason: StartReason;
  readonly gapMs: number | undefined;

  constructor(scope: ObjectScope, { reason, gapMs }: StartFacts) {
    super(scope);
    this.reason = reason;
    this.gapMs = gapMs;
  }
}

/** What `onStop` receives. */
export class StopEvent extends ScopeHandles {
  readonly reason: StopReason;

  constructor(scope: ObjectScope, reason: StopReason) {
    super(scope);
    this.reason = reason;
  }
}

/** What `onMoveIn` receives. */
export class MoveInEvent extends ScopeHandles {
  readonly carried: unknown;

  constructor(scope: ObjectScope, carried: unknown) {
    super(scope);
    this.carried = carried;
  }
}

/** What `onAlarm` receives. */
export class AlarmHandles extends ScopeHandles implements AlarmEvent {
  readonly name: string;
  readonly payload: unknown;
  readonly attempt: number;
  readonly dueAt: Date;

  constructor(scope: ObjectScope, alarm: AlarmEvent) {
    super(scope);
    this.name = alarm.name;
    this.payload = alarm.payload;
    this.attempt = alarm.attempt;
    this.dueAt = alarm.dueAt;
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
