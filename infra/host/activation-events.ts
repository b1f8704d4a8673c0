import { type Clock, sleep } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { HeldStream } from "./held-stream.ts";
import type { HttpEvent } from "./open-event.ts";

/** How long what is open has to end by itself once it was asked to. */
const askedToEndMs = 500;

/**
 * The events that are open on one activation: what it waits for before it stops or moves, and how it asks them to end.
 *
 * A request's signal is made when a handler first looks at it. It follows the client's, by a listener and not by
 * `AbortSignal.any`, whose results live as long as the longest of their sources (Bun 1.4): here, the activation.
 */
export abstract class ActivationEvents {
  #open = 0;
  #quiet: PromiseWithResolvers<void> | undefined;
  #streams: Set<HeldStream> | undefined;
  #noStream: PromiseWithResolvers<void> | undefined;
  /** Of the requests that are open and whose handlers have looked. */
  #signals: Set<AbortController> | undefined;
  /** Of everything else: sockets, alarms, timers. */
  #signal: AbortController | undefined;

  /** What did not end by itself before the activation went. */
  endedEarly: EndedEarly | undefined;

  protected abstract touch(): void;
  /** Why the activation is over, where it is. */
  protected abstract readonly overBecause: StatefulError | undefined;

  get openEvents(): number {
    return this.#open;
  }
  /** Responses that are being streamed. They are among the open events, and some of them never end. */
  get openStreams(): number {
    return this.#streams?.size ?? 0;
  }

  protected eventBegan(): void {
    this.#open += 1;
  }

  protected eventEnded(event?: HttpEvent): void {
    this.#open -= 1;
    if (event?.ending) this.#signals?.delete(event.ending);
    else if (event) event.ending = null;
    this.touch();
    if (this.#open > 0) return;
    this.#quiet?.resolve();
    this.#quiet = undefined;
  }

  /** An open event's response has begun to stream; the event ends with it. */
  protected streamBegan(stream: HeldStream): void {
    this.#streams ??= new Set();
    this.#streams.add(stream);
  }
  protected streamEnded(stream: HeldStream): void {
    this.#streams?.delete(stream);
    if (this.openStreams > 0) return;
    this.#noStream?.resolve();
    this.#noStream = undefined;
  }

  /** Resolves with whether no response is being streamed any more, after `limitMs` at the latest. */
  async streamsEnded(clock: Clock, limitMs: number): Promise<boolean> {
    if (this.openStreams === 0) return true;
    this.#noStream ??= Promise.withResolvers();
    await firstOf(clock, limitMs, this.#noStream.promise);
    return this.openStreams === 0;
  }

  /** Resolves with whether no event is open any more, after `limitMs` at the latest. */
  async quiet(clock: Clock, limitMs: number): Promise<boolean> {
    if (this.#open === 0) return true;
    this.#quiet ??= Promise.withResolvers();
    await firstOf(clock, limitMs, this.#quiet.promise);
    return this.#open === 0;
  }

  /** Event streams end as if they were complete: their clients connect again by themselves. */
  endEventStreams(): void {
    const streams = [...(this.#streams ?? [])].filter(({ isResumable }) => isResumable);
    if (streams.length === 0) return;
    this.#countEarly(streams.length, 0);
    for (const stream of streams) stream.end();
  }

  /** Asks what is open to end, and waits for that: signals are aborted, and streams break. */
  async cutOff(clock: Clock, why: StatefulError): Promise<void> {
    this.#countEarly(0, this.#open);
    this.#abort(why);
    await this.quiet(clock, askedToEndMs);
  }

  #countEarly(eventStreams: number, cutOff: number): void {
    const before = this.endedEarly ?? { eventStreams: 0, cutOff: 0 };
    this.endedEarly = { eventStreams: before.eventStreams + eventStreams, cutOff: before.cutOff + cutOff };
  }

  /** For what is no request. Aborted when the activation is over, or goes and waits no longer for what is open. */
  get signal(): AbortSignal {
    if (this.overBecause) return AbortSignal.abort(this.overBecause);
    this.#signal ??= new AbortController();
    return this.#signal.signal;
  }

  /** A request's: aborted for the same reasons, and when its client has left. */
  signalOf(event: HttpEvent, ofClient: AbortSignal): AbortSignal {
    if (event.ending) return event.ending.signal;
    const ending = new AbortController();
    if (ofClient.aborted) ending.abort(ofClient.reason);
    else ofClient.addEventListener("abort", () => ending.abort(ofClient.reason), { once: true });
    if (event.ending === null) return ending.signal; // It has ended, and only its client can still leave.
    event.ending = ending;
    if (this.overBecause) ending.abort(this.overBecause);
    this.#signals ??= new Set();
    this.#signals.add(ending);
    return ending.signal;
  }

  protected endEvents(cause: StatefulError): void {
    this.#abort(cause);
  }

  #abort(why: StatefulError): void {
    const signals = [...(this.#signals ?? [])];
    const shared = this.#signal;
    // Should the activation stay after all, what comes later is not among them.
    this.#signals = undefined;
    this.#signal = undefined;
    shared?.abort(why);
    for (const signal of signals) signal.abort(why);
    for (const stream of [...(this.#streams ?? [])]) stream.fail(why);
  }
}

export interface EndedEarly {
  /** Ended as if complete: their clients ask again. */
  readonly eventStreams: number;
  /** Events that were still open after their time, and were asked to end. */
  readonly cutOff: number;
}

/** Resolves with the promise, or after `limitMs`, whichever is first. */
async function firstOf(clock: Clock, limitMs: number, promise: Promise<void>): Promise<void> {
  const over = new AbortController();
  await Promise.race([promise, sleep(clock, limitMs, over.signal)]);
  over.abort();
}
