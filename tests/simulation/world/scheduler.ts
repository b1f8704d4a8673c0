import type { CancelTimer } from "../../../infra/lib/clock.ts";
import type { SimulatedProcess } from "./simulated-process.ts";

interface ScheduledEvent {
  readonly atMs: number;
  readonly order: number;
  /** Whose loop it is to run on; undefined for the world itself. */
  readonly process: SimulatedProcess | undefined;
  run: (() => void) | undefined;
}

/**
 * The one line in which everything of a simulated run happens: ordered by true time, and by when it was scheduled where that is
 * the same. Between two events everything runs that can run without time passing.
 */
export class Scheduler {
  readonly #heap: ScheduledEvent[] = [];
  readonly #settle: () => void;
  #order = 0;
  #hash = 0x811c9dc5;
  /** True time, in ms since the run began. No process sees it: each has a clock of its own. */
  nowMs = 0;
  steps = 0;
  /** Whose loop runs now. */
  current: SimulatedProcess | undefined;

  /** @param settle runs every promise that can run */
  constructor(settle: () => void) {
    this.#settle = settle;
  }

  /** A number that two runs have in common only where they did the same at the same times. */
  get traceHash(): number {
    return this.#hash >>> 0;
  }

  /** Enters something that only the content of a run tells apart, as what a client was answered. */
  note(text: string): void {
    for (let index = 0; index < text.length; index += 1) this.#mix(text.charCodeAt(index));
  }

  after(delayMs: number, process: SimulatedProcess | undefined, run: () => void): CancelTimer {
    return this.at(this.nowMs + delayMs, process, run);
  }

  /** At that time, or now where it is over. What is scheduled for the same number runs in the order in which it was scheduled. */
  at(atMs: number, process: SimulatedProcess | undefined, run: () => void): CancelTimer {
    const event = { atMs: Math.max(this.nowMs, atMs), order: this.#order++, process, run };
    this.#push(event);
    return () => {
      (event as ScheduledEvent).run = undefined; // what nobody wants any longer is passed over
    };
  }

  /** Runs what is due until then, and stands there. */
  runUntil(endMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= endMs; next = this.#heap[0]) {
      this.#pop();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.#perform(next);
    }
    this.nowMs = Math.max(this.nowMs, endMs);
  }

  /** Something from outside of any event, as the start of a run. */
  enter(process: SimulatedProcess | undefined, run: () => void): void {
    const before = this.current;
    this.current = process;
    run();
    this.#settle();
    this.current = before;
  }

  #perform(event: ScheduledEvent): void {
    const { process, run, order } = event;
    if (run === undefined) return;
    if (process !== undefined && !process.takes(run)) return;
    this.steps += 1;
    this.#mix(order);
    this.#mix((this.nowMs * 1000) | 0);
    this.enter(process, run);
  }

  #mix(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value & 0xffff), 0x01000193);
    this.#hash = Math.imul(this.#hash ^ (value >>> 16), 0x01000193);
  }

  // -- a heap of events, the next one first

  #push(event: ScheduledEvent): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, below)) {
        child += 1;
        below = right;
      }
      if (!isBefore(below, last)) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(left: ScheduledEvent, right: ScheduledEvent): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}
