import { drainMicrotasks } from "bun:jsc";
import { nanoid } from "nanoid";
import { SeededRandom } from "../../support/seeded-random.ts";
import { Scheduler } from "./scheduler.ts";
import { beginningMs } from "./simulated-process.ts";

/**
 * Everything by which a process could notice the world outside of the simulation, replaced: time, timers, turns of the loop and
 * chance. So this is for processes that do nothing but simulate (`worker.ts`), and never for a test's own.
 *
 * The loop of the process itself does not turn during a run: whatever waits for it, as real input would, waits for ever, and is
 * found by what it then does not do.
 */
let scheduler = new Scheduler(settle);
let random = new SeededRandom(0);
const bytesUsed = 64 * 1024 * 1024;
/** No run lasts as long. Elysia sets a timer beyond it where it compiles a handler: in the first run of a process, and in no other. */
const runMsMax = 120_000;
/** More than the pool of nanoid ever holds, so that asking for so many characters empties it. */
const nanoidPoolChars = 32_768;

/** A scheduler for one run, which from here on is what the globals tell of. */
export function beginRun(seed: number): Scheduler {
  scheduler = new Scheduler(settle);
  random = new SeededRandom(seed);
  nanoid(nanoidPoolChars);
  return scheduler;
}

/** Runs every promise that can run. */
function settle(): void {
  drainMicrotasks();
}

/** Once per process. */
export function replaceGlobals(): void {
  Math.random = () => random.next();
  crypto.getRandomValues = <T extends ArrayBufferView | null>(array: T): T => {
    if (array === null) return array;
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let index = 0; index < bytes.length; index += 1) bytes[index] = random.next() * 256;
    return array;
  };
  Date.now = () => Math.floor(scheduler.current?.clock.wallMs() ?? beginningMs + scheduler.nowMs);
  performance.now = () => scheduler.current?.clock.monotonicMs() ?? scheduler.nowMs;
  const later = (delayMs: number, run: () => void) => scheduler.after(delayMs, scheduler.current, run);
  const timer = (callback: () => void, delayMs = 0) =>
    delayMs > runMsMax ? () => undefined : later(delayMs, callback);
  // What a timer is called is nobody's business but that of whoever cancels it: here it is the function that does.
  Object.assign(globalThis, {
    setImmediate: timer,
    setTimeout: timer,
    clearTimeout: (cancel: unknown) => (typeof cancel === "function" ? cancel() : undefined),
    setInterval: () => {
      throw new Error("Nothing that is simulated sets an interval.");
    },
  });
  process.memoryUsage.rss = () => bytesUsed;
  Bun.gc = () => bytesUsed;
}
