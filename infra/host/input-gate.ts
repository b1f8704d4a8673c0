import { StatefulError } from "../lib/errors.ts";

/**
 * The input gate of one activation: events go through it one after the other, in the order in which they came, and while
 * it is held nobody else enters. A class with `concurrency: "serial"` holds it for the length of each event.
 *
 * Why it is needed: handlers await, and between two awaits of one handler another may change the state that the first
 * has read. What it blocks: the handlers and hooks of the same object, after parsing and validation, so that a slow
 * upload never holds up the others. On failure (`close`): everyone who waits is told the cause, and so is everyone who
 * comes later.
 *
 * A call that returns to an object which already waits for it would wait for itself. Every event carries the chain of
 * objects that it comes from; one that finds the gate held by its own chain is refused at once with `call_cycle`.
 */
export class InputGate {
  #holder: GateVisitor | undefined;
  #closed: StatefulError | undefined;
  readonly #waiting: Waiter[] = [];

  /** Enters, at once where the gate is free. Who has entered must `leave`. Waiting is bounded by the object's queue. */
  enter(visitor: GateVisitor): void | Promise<void> {
    if (this.#closed) throw this.#closed;
    if (this.#holder === undefined) {
      this.#holder = visitor;
      return;
    }
    if (visitor.chain.includes(visitor.objectKey)) {
      const path = [...visitor.chain, visitor.objectKey].join(" → ");
      throw new StatefulError("call_cycle", `The call comes back to an object that waits for it: ${path}.`);
    }
    return new Promise((enter, refuse) => this.#waiting.push({ visitor, enter, refuse }));
  }

  /** Lets the next one in. Does nothing for a visitor that is not inside. */
  leave(visitor: GateVisitor): void {
    if (this.#holder !== visitor) return;
    const next = this.#waiting.shift();
    this.#holder = next?.visitor;
    next?.enter();
  }

  close(cause: StatefulError): void {
    this.#closed ??= cause;
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(cause);
  }
}

export interface GateVisitor {
  readonly objectKey: string;
  /** Keys of the objects whose calls led here, the first caller first. */
  readonly chain: readonly string[];
}

interface Waiter {
  readonly visitor: GateVisitor;
  enter(): void;
  refuse(cause: StatefulError): void;
}
