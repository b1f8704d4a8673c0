import { describe, expect, test } from "bun:test";
import { type Clock, sleep, systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { until } from "../support/wait.ts";

/** Time that moves only when it is told to. */
class HandClock implements Clock {
  #nowMs = 0;
  readonly timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  nextTurn(callback: () => void): void {
    setImmediate(callback);
  }

  advance(byMs: number): void {
    this.#nowMs += byMs;
    for (const timer of [...this.timers].toSorted((a, b) => a.atMs - b.atMs)) {
      if (timer.atMs <= this.#nowMs && this.timers.delete(timer)) timer.callback();
    }
  }
}

/** Whether a promise has settled once everything that is due has run. */
async function hasSettled(work: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  work.then(note, note);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

const late = () => new Error("late");

describe("the system's clock", () => {
  test("never steps back", () => {
    const first = systemClock.monotonicMs();
    expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(first);
    expect(Math.abs(systemClock.wallMs() - Date.now())).toBeLessThan(1_000);
  });

  test("calls back once, after the delay", async () => {
    const started = systemClock.monotonicMs();
    let calls = 0;
    systemClock.after(10, () => calls++);
    await until("the timer fires", () => calls > 0);
    // Timers count in whole milliseconds and may be early by less than one.
    expect(systemClock.monotonicMs() - started).toBeGreaterThanOrEqual(9);
    expect(calls).toBe(1);
  });

  test("does not call back once cancelled, and cancelling late does nothing", async () => {
    const calls: string[] = [];
    const cancelFirst = systemClock.after(1, () => calls.push("first"));
    const cancelSecond = systemClock.after(2, () => calls.push("second"));
    cancelFirst();
    await until("the second timer fires", () => calls.length > 0);
    cancelSecond();
    expect(calls).toEqual(["second"]);
  });

  test("does not fire at once when the delay is over what a timer can count", async () => {
    const calls: string[] = [];
    const delays = [2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY];
    const cancels = delays.map((delayMs) => systemClock.after(delayMs, () => calls.push(`${delayMs}`)));
    systemClock.after(20, () => calls.push("20"));
    await until("the short timer fires", () => calls.includes("20"));
    for (const cancel of cancels) cancel();
    expect(calls).toEqual(["20"]);
  });
});

describe("sleep", () => {
  test("ends with its delay", async () => {
    const clock = new HandClock();
    const sleeping = sleep(clock, 100);
    clock.advance(99);
    expect(await hasSettled(sleeping)).toBe(false);
    clock.advance(1);
    await sleeping;
  });

  test("ends at once when the signal aborts, and leaves no timer", async () => {
    const clock = new HandClock();
    const stop = new AbortController();
    const sleeping = sleep(clock, 100, stop.signal);
    stop.abort();
    await sleeping;
    expect(clock.timers.size).toBe(0);
  });

  test("does not begin under a signal that has aborted", async () => {
    const clock = new HandClock();
    await sleep(clock, 100, AbortSignal.abort());
    expect(clock.timers.size).toBe(0);
  });

  test("leaves no listener on a signal that outlives it", async () => {
    const clock = new HandClock();
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    const sleeping = sleep(clock, 100, signal);
    expect(listeners).toBe(1);
    clock.advance(100);
    await sleeping;
    expect(listeners).toBe(0);
  });
});

describe("withTimeLimit", () => {
  test("settles like the work, and leaves no timer", async () => {
    const clock = new HandClock();
    expect(await withTimeLimit(clock, 100, Promise.resolve("done"), late)).toBe("done");
    const broken = withTimeLimit(clock, 100, Promise.reject(new Error("broken")), late);
    await expect(broken).rejects.toThrow("broken");
    expect(clock.timers.size).toBe(0);
  });

  test("rejects with what `late` makes once the limit has passed", async () => {
    const clock = new HandClock();
    const limited = withTimeLimit(clock, 100, new Promise(() => undefined), late);
    clock.advance(99);
    expect(await hasSettled(limited)).toBe(false);
    clock.advance(1);
    await expect(limited).rejects.toThrow("late");
  });

  test("swallows what the work does after the limit", async () => {
    const clock = new HandClock();
    const work = Promise.withResolvers<string>();
    const limited = withTimeLimit(clock, 100, work.promise, late);
    clock.advance(100);
    await expect(limited).rejects.toThrow("late");
    // An unhandled rejection would fail the run.
    work.reject(new Error("too late to matter"));
    await hasSettled(work.promise);
  });

  test("asks for the error only when it is late", async () => {
    const clock = new HandClock();
    let made = 0;
    const error = () => {
      made++;
      return new Error("late");
    };
    await withTimeLimit(clock, 100, Promise.resolve(1), error);
    clock.advance(1_000);
    expect(made).toBe(0);
  });
});
