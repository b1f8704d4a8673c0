import { AsyncLocalStorage } from "node:async_hooks";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/** One transaction, as the calls that are made inside it know it. */
export class Transaction {
  readonly object: ObjectRef;
  readonly #aborted = Promise.withResolvers<never>();
  #isOver = false;

  constructor(object: ObjectRef) {
    this.object = object;
    this.#aborted.promise.catch(() => undefined); // Nobody may be waiting for it.
  }

  get isOver(): boolean {
    return this.#isOver;
  }
  /** Rejects when the activation ends under it. */
  get aborted(): Promise<never> {
    return this.#aborted.promise;
  }

  end(): void {
    this.#isOver = true;
  }

  abort(cause: StatefulError): void {
    this.#aborted.reject(cause);
  }
}

/** What a transaction did not wait for must not change anything once it has ended, least of all if it was rolled back. */
export function checkNotOver(token: object | undefined): void {
  if (token instanceof Transaction && token.isOver)
    throw new StatefulError("bad_request", "The transaction has ended: await what it does inside of it.");
}

/**
 * Which transaction code runs in, across its awaits. So a call inside a transaction belongs to it, whichever handle it is
 * made on: `storage.get` in the place of `tx.get` would otherwise wait for the end of the transaction that waits for it.
 */
const running = new AsyncLocalStorage<Transaction | undefined>();

export function currentTransaction(): Transaction | undefined {
  return running.getStore();
}

/** The transaction of this object that the code which runs now was left behind by: one that has ended without it. */
export function endedTransactionOf(object: ObjectRef): Transaction | undefined {
  const transaction = running.getStore();
  return transaction?.isOver && transaction.object === object ? transaction : undefined;
}

/** For what is an event of its own, though a transaction may have asked for it: a timer, an alarm. */
export function outsideTransactions<T>(run: () => T): T {
  return running.getStore() === undefined ? run() : running.run(undefined, run);
}

export async function runInTransaction<T>(
  transaction: Transaction,
  run: (transaction: Transaction) => T | Promise<T>,
): Promise<T> {
  return running.run(transaction, run, transaction);
}
