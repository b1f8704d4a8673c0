import type { Clock } from "../lib/clock.ts";
import { DelayLine } from "./delay-line.ts";
import { earlyMessagesMax, type Transport, type TransportHandlers } from "./transport.ts";

/** Two ends in one process: never synchronous, so code sees the same turns as over a socket. For tests and simulation. */
export function memoryTransportPair(clock: Clock, options: MemoryTransportOptions = {}): MemoryTransportPair {
  const delayMs = options.delayMs ?? (() => 0);
  const left = new MemoryTransport(clock, delayMs);
  const right = new MemoryTransport(clock, delayMs);
  left.connect(right);
  right.connect(left);
  return {
    left,
    right,
    cut: () => {
      left.cut();
      right.cut();
    },
  };
}

export interface MemoryTransportOptions {
  /** How long each message is on its way. Order holds whatever this answers. */
  readonly delayMs?: () => number;
}

export interface MemoryTransportPair {
  readonly left: Transport;
  readonly right: Transport;
  /** From now on nothing arrives at either end, and neither hears of it: a pulled cable. */
  cut(): void;
}

class MemoryTransport implements Transport {
  readonly #outgoing: DelayLine;
  readonly #own: DelayLine;
  readonly #delayMs: () => number;
  readonly #early: Uint8Array[] = [];
  #other: MemoryTransport | undefined;
  #handlers: TransportHandlers | undefined;
  #closedBecause: string | undefined;
  #isClosing = false;
  #isCut = false;

  constructor(clock: Clock, delayMs: () => number) {
    this.#outgoing = new DelayLine(clock);
    this.#own = new DelayLine(clock);
    this.#delayMs = delayMs;
  }

  connect(other: MemoryTransport): void {
    this.#other = other;
  }

  cut(): void {
    this.#isCut = true;
  }

  start(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    for (const message of this.#early.splice(0)) handlers.message(message);
    if (this.#closedBecause !== undefined) handlers.closed(this.#closedBecause);
  }

  send(message: Uint8Array): boolean {
    if (this.#isClosing || this.#closedBecause !== undefined) return false;
    const copy = new Uint8Array(message);
    this.#send((other) => other.#arrive(copy));
    return true;
  }

  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#send((other) => other.#hearClosed("closed by the peer"));
    this.#own.put(this.#delayMs(), () => this.#hearClosed("closed here"));
  }

  abort(): void {
    this.close();
  }

  #send(deliver: (other: MemoryTransport) => void): void {
    const other = this.#other;
    if (other === undefined || this.#isCut) return;
    this.#outgoing.put(this.#delayMs(), () => {
      if (!this.#isCut) deliver(other);
    });
  }

  #arrive(message: Uint8Array): void {
    if (this.#closedBecause !== undefined) return;
    if (this.#handlers !== undefined) this.#handlers.message(message);
    else if (this.#early.push(message) > earlyMessagesMax) this.close();
  }

  #hearClosed(reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#isClosing = true;
    this.#closedBecause = reason;
    this.#handlers?.closed(reason);
  }
}
