import type { Clock } from "../lib/clock.ts";
import { DelayLine } from "./delay-line.ts";
import type { Transport } from "./transport.ts";

/**
 * Adds distance: what is sent here leaves `oneWayMs` later, in order, its closing included. Each end delays what it sends,
 * so wrap both for a round trip of twice that. `apps/dev` puts regions apart with it.
 */
export function delayedTransport(inner: Transport, clock: Clock, oneWayMs: () => number): Transport {
  const line = new DelayLine(clock);
  let isOver = false;
  return {
    start(handlers) {
      inner.start({
        message: (message) => handlers.message(message),
        closed: (reason) => {
          isOver = true;
          line.clear();
          handlers.closed(reason);
        },
      });
    },
    send(message) {
      if (isOver) return false;
      const copy = new Uint8Array(message);
      line.put(oneWayMs(), () => {
        if (!inner.send(copy)) inner.abort();
      });
      return true;
    },
    close() {
      if (isOver) return;
      isOver = true;
      line.put(oneWayMs(), () => inner.close());
    },
    abort() {
      isOver = true;
      line.clear();
      inner.abort();
    },
  };
}
