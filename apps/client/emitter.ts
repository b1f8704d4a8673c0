/** Events by name, for listeners that may come and go while one is told. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** The returned function ends it. */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): () => void {
    // A function of its own for each call: one that is added twice is told twice, and ended one at a time.
    const own = (event: Events[Type]) => listener(event);
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(own));
    return () => listeners.delete(own);
  }

  emit<Type extends keyof Events>(type: Type, event: Events[Type]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      callSafely(listener, event as never); // a listener of this name takes its event, which `on` has seen to
    }
  }
}

/** Runs a user's function. What it throws is an uncaught error of the program's, and stops nobody else's. */
export function callSafely<Arguments extends unknown[]>(
  callback: (...values: Arguments) => void,
  ...values: Arguments
): void {
  try {
    callback(...values);
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else
      queueMicrotask(() => {
        throw error;
      });
  }
}
