import type { ObjectName, StoredObjects } from "../lease/stored-objects.ts";
import { type Clock, sleep, withTimeLimit } from "../lib/clock.ts";
import { type ErrorCode, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

/** Between two passes, with a jitter of 20 %. An alarm of an object that sleeps is late by this and the time of waking it. */
export const sweepIntervalMs = 1_000;
/** How late an alarm must be before its live owner is reminded of it. */
export const ownerGraceMs = 5_000;
/** Alarms in one answer. More while half of an answer is what the pass before has found already. */
export const sweepLimit = 500;
export const sweepLimitMax = 16_000;
export const wakesAtOnceMax = 64;
export const wakeLimitMs = 10_000;
const queryLimitMs = 10_000;
const wakeBackoffMaxMs = 30_000;
const logEveryMs = 60_000;
/** Objects whose failures are remembered; past it those that have failed first are forgotten, and tried again sooner. */
const failuresMax = 10_000;

export interface AlarmSweeperSetup {
  readonly storedObjects: Pick<StoredObjects, "dueAlarms">;
  /** Classes whose objects can be woken somewhere, as far as this host knows. */
  classes(): readonly string[];
  /** Has the object live somewhere, where it then fires its alarms itself. */
  readonly wake: (object: ObjectName) => Promise<void>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

interface Failures {
  count: number;
  notBeforeMs: number;
  loggedAtMs: number;
}

/**
 * Finds the objects that have an alarm overdue and nobody who fires it, and wakes them: those that sleep, those whose host is
 * gone for good, and those whose owner has missed one. Every host sweeps, each in an order of its own. A sweep never fires
 * and never writes: that is the owner's right alone, so two hosts that find the same do no harm.
 *
 * A wake that hangs holds up neither the next pass nor the others (unless `wakesAtOnceMax` of them hang), and one that fails
 * is tried again by later passes, after 1 s, 2 s, 4 s… up to 30 s. The answer holds the most overdue alarms only, so those
 * that nobody can wake could hide the rest: while half of an answer is known already, the next one may be twice as long.
 */
export class AlarmSweeper {
  readonly #setup: AlarmSweeperSetup;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #limit = sweepLimit;
  /** What the last pass has found, and of it what is still to be woken. */
  #found: ReadonlySet<string> = new Set();
  #waiting: ObjectName[] = [];
  readonly #waking = new Set<string>();
  readonly #failures = new Map<string, Failures>();

  constructor(setup: AlarmSweeperSetup) {
    this.#setup = setup;
  }

  start(): void {
    if (!this.#stop.signal.aborted) this.#running ??= this.#run();
  }

  /** Resolves when no pass is under way. What a wake has begun goes on, unheard. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#waiting = [];
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#setup;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#pass();
      await sleep(clock, sweepIntervalMs * (0.8 + 0.4 * random()), signal);
    }
  }

  async #pass(): Promise<void> {
    const due = await this.#ask();
    if (due === undefined || this.#stop.signal.aborted) return;
    this.#forgetFailures();
    const known = due.filter((object) => this.#found.has(keyOf(object))).length;
    if (known * 8 <= due.length) this.#limit = sweepLimit;
    else if (known * 2 >= due.length) this.#limit = Math.min(this.#limit * 2, sweepLimitMax);
    this.#found = new Set(due.map(keyOf));
    this.#waiting = shuffled(
      due.filter((object) => this.#isReady(object)),
      this.#setup.random,
    );
    this.#wakeWaiting();
  }

  async #ask(): Promise<readonly ObjectName[] | undefined> {
    const { storedObjects, log } = this.#setup;
    const late = () =>
      new StatefulError(
        "directory_unavailable",
        `The directory did not name due alarms within ${queryLimitMs} ms.`,
      );
    try {
      return await this.#limited(
        queryLimitMs,
        storedObjects.dueAlarms(this.#limit, ownerGraceMs, this.#setup.classes()),
        late,
      );
    } catch (error) {
      log.warn("alarm.sweep_failed", { error });
      return undefined;
    }
  }

  #isReady(object: ObjectName): boolean {
    const key = keyOf(object);
    const notBeforeMs = this.#failures.get(key)?.notBeforeMs ?? Number.NEGATIVE_INFINITY;
    return !this.#waking.has(key) && notBeforeMs <= this.#setup.clock.monotonicMs();
  }

  #wakeWaiting(): void {
    while (this.#waking.size < wakesAtOnceMax) {
      const object = this.#waiting.pop();
      if (object === undefined) return;
      void this.#wake(object);
    }
  }

  /** Never rejects. */
  async #wake(object: ObjectName): Promise<void> {
    const key = keyOf(object);
    const late = () =>
      new StatefulError("owner_unreachable", `${key} was not awake within ${wakeLimitMs} ms.`);
    this.#waking.add(key);
    try {
      await this.#limited(wakeLimitMs, this.#setup.wake(object), late);
      this.#woken(key);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#failed(key, error);
    } finally {
      this.#waking.delete(key);
      this.#wakeWaiting();
    }
  }

  /** Settles like `work`; rejects after `limitMs`, and resolves with undefined as soon as this stops. */
  #limited<T>(limitMs: number, work: Promise<T>, late: () => Error): Promise<T | undefined> {
    const { signal } = this.#stop;
    const unlessStopped = new Promise<T | undefined>((resolve, reject) => {
      const stop = () => resolve(undefined);
      signal.addEventListener("abort", stop, { once: true });
      const done = () => signal.removeEventListener("abort", stop);
      work.then(resolve, reject).then(done);
    });
    return withTimeLimit(this.#setup.clock, limitMs, unlessStopped, late);
  }

  /** The time of the last log entry stays, for an object that fails every other time. */
  #woken(key: string): void {
    const failures = this.#failures.get(key);
    if (failures === undefined) return;
    failures.count = 0;
    failures.notBeforeMs = Number.NEGATIVE_INFINITY;
  }

  #failed(key: string, error: unknown): void {
    const { clock, random, log } = this.#setup;
    const nowMs = clock.monotonicMs();
    const before = this.#failures.get(key);
    const count = (before?.count ?? 0) + 1;
    const isLogged = before !== undefined && nowMs - before.loggedAtMs < logEveryMs;
    const backoffMs = heals(error) ? 1000 : Math.min(wakeBackoffMaxMs, 1000 * 2 ** (count - 1));
    const delayMs = backoffMs * (0.75 + random() / 4);
    if (!isLogged) log.warn("alarm.wake_failed", { object: key, failures: count, error });
    this.#failures.delete(key); // so that it is the last in the order of the map
    this.#failures.set(key, {
      count,
      notBeforeMs: nowMs + delayMs,
      loggedAtMs: isLogged ? before.loggedAtMs : nowMs,
    });
    const first = this.#failures.keys().next().value;
    if (this.#failures.size > failuresMax && first !== undefined) this.#failures.delete(first);
  }

  /** Of objects that have been left alone for long enough that neither the back-off nor the log needs them. */
  #forgetFailures(): void {
    const nowMs = this.#setup.clock.monotonicMs();
    for (const [key, { notBeforeMs, loggedAtMs }] of this.#failures) {
      const lastMs = Math.max(notBeforeMs, loggedAtMs);
      if (nowMs - lastMs >= logEveryMs) this.#failures.delete(key);
    }
  }
}

/** A dead owner's lease ends, a full host has room again, a directory comes back: then no alarm is to wait for a back-off as well. */
const healing: ReadonlySet<ErrorCode> = new Set([
  "owner_unreachable",
  "no_eligible_host",
  "not_owner",
  "session_over",
  "directory_unavailable",
  "directory_recovering",
  "host_draining",
  "host_full",
]);

function heals(error: unknown): boolean {
  return error instanceof StatefulError && healing.has(error.code);
}

function keyOf({ className, id }: ObjectName): string {
  return `${className}/${id}`;
}

/** Fisher and Yates's. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    // Both are indices of the array, whatever the compiler can tell.
    [mixed[last], mixed[other]] = [mixed[other] as T, mixed[last] as T];
  }
  return mixed;
}
