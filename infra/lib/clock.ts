/**
 * Time as an argument (rule L3). Nothing in `infra/` reads a clock or sets a timer except through this port, so that a
 * test can own time.
 */
export interface Clock {
  /** Milliseconds on a clock that never steps. Only differences mean something. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch on this machine's clock, which may step. */
  wallMs(): number;
  /** Runs `callback` once after `delayMs`. The returned function cancels it; calling it late does nothing. */
  after(delayMs: number, callback: () => void): CancelTimer;
  /** Runs `callback` on a turn of its own, when everything that can run without waiting for anything has run. */
  nextTurn(callback: () => void): void;
}

export type CancelTimer = () => void;

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    if (delayMs > timerDelayMaxMs) return afterLong(delayMs, callback);
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  nextTurn: (callback) => void setImmediate(callback),
};

/** Timers count in a signed integer of 32 bits (24.8 days), and fire at once where they are asked for more. */
const timerDelayMaxMs = 2 ** 31 - 1;

/** In steps that a timer can count. */
function afterLong(delayMs: number, callback: () => void): CancelTimer {
  let cancel = systemClock.after(timerDelayMaxMs, () => {
    cancel = systemClock.after(delayMs - timerDelayMaxMs, callback);
  });
  return () => cancel();
}

/** Resolves after `delayMs`, or at once when `signal` aborts: waiting is never what keeps a stop from ending. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Settles like `work`, or rejects with what `late` makes once `limitMs` has passed. `work` itself is not stopped. */
export function withTimeLimit<T>(
  clock: Clock,
  limitMs: number,
  work: Promise<T>,
  late: () => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(limitMs, () => reject(late()));
    work.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error) => {
        cancel();
        reject(error);
      },
    );
  });
}
