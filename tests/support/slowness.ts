/** Between two samples, so that measuring does not itself make the machine slow. */
const pauseMs = 50;

/**
 * How slow the machine is while a test runs: does `work` again and again until `signal` fires, and resolves with the longest
 * that it took, of the times that it succeeded. A limit of a time that follows from what a product promises, plus some such
 * times, holds on any machine, and is still missed by a product that waits for something that it need not.
 */
export async function slowest(work: () => Promise<boolean>, signal: AbortSignal): Promise<number> {
  let slowestMs = 0;
  while (!signal.aborted) {
    const startMs = performance.now();
    if (await work()) slowestMs = Math.max(slowestMs, performance.now() - startMs);
    await Bun.sleep(pauseMs);
  }
  return Math.round(slowestMs);
}
