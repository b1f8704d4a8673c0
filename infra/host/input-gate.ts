import type { Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { WaitingCalls } from "./waiting-calls.ts";

/**
 * How long a call of another object waits for its turn. Two objects that hold their gates and call each other, each for an event of
 * its own, would otherwise wait for ever, and so would all who come after them.
 */
export const callWaitMaxMs = 15_000;

/**
 * The input gate of one activation: events go through it in the order in which they came, and while it is shut nobody
 * enters. Two things shut it: an event of a class with `concurrency: "serial"` holds it for its own length, and storage
 * locks it while a read or a transaction is open (see `StorageLine`, which is the other half of this).
 *
 * Why it is needed: handlers await, and between two awaits of one handler another may change the state that the first
 * has read. What it blocks: the handlers and hooks of the same object, after parsing and validation, so that a slow
 * upload never holds up the others. Those who waited enter one by one, each on a turn of its own: what one does at once, up
 * to its first wait, is done before the next looks. On failure (`close`): everyone who waits is told the cause, and so is
 * everyone who comes later.
 *
 * A call that returns to an object which already waits for it would wait for itself. Every event carries the chain of
 * objects that it comes from; one that finds the gate held by its own chain is refused at once with `call_cycle`. A read
 * waits for the directory alone, so it never is in the way of a chain. Where several chains wait for each other none of them shows it:
 * within one host `WaitingCalls` does, and a knot of several hosts comes apart because a call waits for `callWaitMaxMs` and no longer.
 */
export class InputGate {
  readonly #clock: GateClock;
  readonly #calls: WaitingCalls;
  #holder: GateVisitor | undefined;
  #locks = 0;
  #transactions = 0;
  #isAdmitting = false;
  #closed: StatefulError | undefined;
  readonly #waiting: Waiter[] = [];

  /** @param calls those that wait at any gate of this host */
  constructor(clock: GateClock, calls: WaitingCalls) {
    this.#clock = clock;
    this.#calls = calls;
  }

  get isOpen(): boolean {
    return (
      this.#holder === undefined && this.#locks === 0 && this.#waiting.length === 0 && !this.#isAdmitting
    );
  }

  /**
   * Enters, at once where the gate is open. Who `holds` it must `leave`. Waiting is bounded by the object's queue.
   */
  enter(visitor: GateVisitor, holds: boolean): void | Promise<void> {
    if (this.#closed) throw this.#closed;
    if (this.isOpen) {
      if (holds) this.#holder = visitor;
      return;
    }
    const isHeld = this.#holder !== undefined || this.#transactions > 0;
    if (isHeld && visitor.chain.includes(visitor.objectKey))
      throw callCycle([...visitor.chain, visitor.objectKey]);
    const way = visitor.chain.length > 0 && this.#holder && this.#calls.wayBack(visitor, this.#holder);
    if (way) throw callCycle([...visitor.chain, ...way]);
    return new Promise((enter, refuse) => {
      const waiter: Waiter = { visitor, holds, enter, refuse };
      this.#waiting.push(waiter);
      if (visitor.chain.length > 0) this.#waitAsCall(waiter);
    });
  }

  #waitAsCall(waiter: Waiter): void {
    const { visitor, enter, refuse } = waiter;
    const call = { visitor, holder: () => this.#holder };
    const cancel = this.#clock.after(callWaitMaxMs, () => {
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.refuse(busyForLong(visitor));
    });
    const over = () => {
      cancel();
      this.#calls.remove(call);
    };
    this.#calls.add(call);
    waiter.enter = () => {
      over();
      enter();
    };
    waiter.refuse = (cause) => {
      over();
      refuse(cause);
    };
  }

  /** Lets the next one in. Does nothing for a visitor that is not inside. */
  leave(visitor: GateVisitor): void {
    if (this.#holder !== visitor) return;
    this.#holder = undefined;
    this.#admit();
  }

  /** Storage reads, or a transaction is open. */
  lock(isTransaction: boolean): void {
    this.#locks += 1;
    if (isTransaction) this.#transactions += 1;
  }

  unlock(isTransaction: boolean): void {
    this.#locks -= 1;
    if (isTransaction) this.#transactions -= 1;
    this.#admit();
  }

  close(cause: StatefulError): void {
    this.#closed ??= cause;
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(cause);
  }

  #admit(): void {
    if (this.#holder !== undefined || this.#locks > 0 || this.#isAdmitting) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    if (next.holds) this.#holder = next.visitor;
    next.enter();
    if (next.holds) return;
    this.#isAdmitting = true;
    this.#clock.nextTurn(() => {
      this.#isAdmitting = false;
      this.#admit();
    });
  }
}

export interface GateVisitor {
  readonly objectKey: string;
  /** Keys of the objects whose calls led here, the first caller first. */
  readonly chain: readonly string[];
}

type GateClock = Pick<Clock, "after" | "nextTurn">;

interface Waiter {
  readonly visitor: GateVisitor;
  readonly holds: boolean;
  enter: () => void;
  refuse: (cause: StatefulError) => void;
}

function callCycle(path: readonly string[]): StatefulError {
  const message = `The call comes back to an object that waits for it: ${path.join(" → ")}.`;
  return new StatefulError("call_cycle", message);
}

function busyForLong({ objectKey, chain }: GateVisitor): StatefulError {
  const message = `${objectKey} was busy for ${callWaitMaxMs / 1000} s while a call of ${chain.at(-1)} waited for it.`;
  return new StatefulError("queue_full", message, { retryAfterMs: 1000 });
}
