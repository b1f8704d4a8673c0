import type { CancelTimer, Clock } from "../../../infra/lib/clock.ts";
import type { Scheduler } from "./scheduler.ts";

/** How the clocks of one machine go wrong. */
export interface ClockFaults {
  /** How far the wall clock is off at the start. */
  readonly skewMs: number;
  /** Seconds that both clocks count in a true second. */
  readonly rate: number;
}

/** No timer fires early, or in no time at all: that is what keeps time going where somebody waits for the rest of almost nothing. */
const timerLatenessMs = 0.001;

/** 1 January 2030, where every run begins. */
export const beginningMs = Date.UTC(2030, 0, 1);

/**
 * One process: a loop that may stand still, and die. What is due while it stands is held, and runs in its order when it goes on;
 * what is due after its death never runs. Its clocks go on meanwhile, as they do under a process that the kernel has stopped.
 */
export class SimulatedProcess {
  readonly name: string;
  readonly clock: ProcessClock;
  readonly #scheduler: Scheduler;
  readonly #deathWatches = new Set<(isSilent: boolean) => void>();
  #held: (() => void)[] = [];
  #frozenUntilMs = 0;
  #isAlive = true;

  constructor(name: string, scheduler: Scheduler, faults: ClockFaults) {
    this.name = name;
    this.#scheduler = scheduler;
    this.clock = new ProcessClock(scheduler, this, faults);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isFrozen(): boolean {
    return this.#scheduler.nowMs < this.#frozenUntilMs;
  }

  /** Whether it is to run now. It is kept for later where the process stands. */
  takes(run: () => void): boolean {
    if (!this.#isAlive) return false;
    if (!this.isFrozen) return true;
    this.#held.push(run);
    return false;
  }

  /** Stands still from now on for so long. */
  freeze(forMs: number): void {
    this.#frozenUntilMs = Math.max(this.#frozenUntilMs, this.#scheduler.nowMs + forMs);
    this.#scheduler.after(forMs, undefined, () => this.#thaw());
  }

  thawNow(): void {
    this.#frozenUntilMs = 0;
    this.#thaw();
  }

  #thaw(): void {
    if (this.isFrozen) return;
    const held = this.#held;
    this.#held = [];
    for (const run of held) this.#scheduler.after(0, this, run);
  }

  /** @param isSilent the machine is gone as well: nobody hears that its connections have ended */
  die(isSilent: boolean): void {
    this.#isAlive = false;
    this.#held = [];
    for (const watch of [...this.#deathWatches]) watch(isSilent);
    this.#deathWatches.clear();
  }

  /** Calls back when the process dies. */
  onDeath(watch: (isSilent: boolean) => void): CancelTimer {
    this.#deathWatches.add(watch);
    return () => this.#deathWatches.delete(watch);
  }
}

/** The clocks of one process. */
export class ProcessClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #process: SimulatedProcess;
  readonly #rate: number;
  readonly #startedAtMs: number;
  #skewMs: number;

  constructor(scheduler: Scheduler, process: SimulatedProcess, { skewMs, rate }: ClockFaults) {
    this.#scheduler = scheduler;
    this.#process = process;
    this.#rate = rate;
    this.#skewMs = skewMs;
    this.#startedAtMs = scheduler.nowMs;
  }

  monotonicMs(): number {
    return (this.#scheduler.nowMs - this.#startedAtMs) * this.#rate;
  }

  wallMs(): number {
    return beginningMs + this.#skewMs + this.#startedAtMs + this.monotonicMs();
  }

  after(delayMs: number, callback: () => void): CancelTimer {
    return this.#scheduler.after(
      Math.max(0, delayMs) / this.#rate + timerLatenessMs,
      this.#process,
      callback,
    );
  }

  nextTurn(callback: () => void): void {
    this.#scheduler.after(0, this.#process, callback);
  }

  /** Somebody sets the wall clock. */
  step(byMs: number): void {
    this.#skewMs += byMs;
  }

  /** Somebody sets it right, for now. */
  setRight(): void {
    this.#skewMs += beginningMs + this.#scheduler.nowMs - this.wallMs();
  }
}
