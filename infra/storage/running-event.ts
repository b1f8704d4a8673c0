import { AsyncLocalStorage } from "node:async_hooks";
import type { ObjectRef } from "../lib/object-ref.ts";
import { outsideTransactions } from "./transaction.ts";

/**
 * Which event code runs in, across its awaits, where its handles do not say: the messages of a socket share one context, and
 * a timer has that of whoever set it. Storage calls of one event belong together; see `StorageLine`.
 */
interface RunningEvent {
  readonly object: ObjectRef;
}

const running = new AsyncLocalStorage<RunningEvent>();

/** Runs something as an event of its own. */
export function runAsEvent<T>(object: ObjectRef, run: () => T): T {
  return outsideTransactions(() => running.run({ object }, run));
}

/** The event that runs, if it is one of this object's: what it calls elsewhere runs as events of others. */
export function runningEventOf(object: ObjectRef): object | undefined {
  const event = running.getStore();
  return event?.object === object ? event : undefined;
}
