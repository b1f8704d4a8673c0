import type { ObjectEvent } from "./event.ts";

const eventOfRequest: unique symbol = Symbol("stateful-objects.event-of-request");

interface EventRequest extends Request {
  [eventOfRequest]?: ObjectEvent;
}

const ofClient = Object.getOwnPropertyDescriptor(Request.prototype, "signal")?.get;

const signalOfEvent: PropertyDescriptor & ThisType<EventRequest> = {
  configurable: true,
  enumerable: true,
  get() {
    const event = this[eventOfRequest];
    const left: AbortSignal = ofClient?.call(this);
    return event === undefined ? left : event.object.signalOf(event, left);
  },
};

/**
 * Lets the request's `signal` speak for the object as well: it is aborted when the client has left, and when the object goes
 * and waits no longer. An accessor on the request itself (0.1 µs): a second request with a signal of ours would cost microseconds,
 * and be another one than the server's.
 */
export function offerSignal(request: Request, event: ObjectEvent): void {
  (request as EventRequest)[eventOfRequest] = event; // a symbol of our own
  Object.defineProperty(request, "signal", signalOfEvent);
}
