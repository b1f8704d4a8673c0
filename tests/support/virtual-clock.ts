import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that a test moves. Between two timers everything that can run without time passing has run. */
export class VirtualClock implements Clock {
  #monotonicMs = 0;
  #wallMs: number;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(wallMs = Date.UTC(2030, 0, 1)) {
    this.#wallMs = wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  after(delayMs: number, callback: () => void): CancelTimer {
    const dueMs = this.#monotonicMs + Math.max(0, delayMs);
    const timer = { dueMs, order: this.#order++, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  nextTurn(callback: () => void): void {
    setImmediate(callback);
  }

  /** Timers that are waiting: none may be left when what a test started has stopped. */
  get timersLeft(): number {
    return this.#timers.size;
  }

  /** Moves both clocks on, running each timer at its time. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#monotonicMs + byMs;
    await settle();
    for (let next = this.#nextBefore(endMs); next !== undefined; next = this.#nextBefore(endMs)) {
      this.#moveTo(next.dueMs);
      this.#timers.delete(next);
      next.callback();
      await settle();
    }
    this.#moveTo(endMs);
    await settle();
  }

  /** Moves both clocks on and runs nothing: a process that was frozen, or a loop that was blocked. */
  freeze(byMs: number): void {
    this.#moveTo(this.#monotonicMs + byMs);
  }

  /** Moves the wall clock only: a machine that was suspended, or a clock that was set. */
  stepWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  #nextBefore(endMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > endMs) continue;
      const isEarlier = next === undefined || timer.dueMs < next.dueMs;
      if (isEarlier || (timer.dueMs === next?.dueMs && timer.order < next.order)) next = timer;
    }
    return next;
  }

  #moveTo(monotonicMs: number): void {
    const byMs = Math.max(0, monotonicMs - this.#monotonicMs);
    this.#monotonicMs += byMs;
    this.#wallMs += byMs;
  }
}

/** Lets promises run to where they wait for time. A turn of the loop runs every microtask; a few turns run chains of them. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}
