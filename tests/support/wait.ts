const pollIntervalMinMs = 5;
const pollIntervalMaxMs = 50;
/** Of what has been waited already: what takes long is asked about less often, and heard of this much later. */
const pollShare = 0.02;
/** Says that a thing will not happen, and less than `bun test --timeout`: not how fast it must, which a slow machine decides. */
const defaultLimitMs = 20_000;

/** What `condition` gives while there is nothing yet. */
type NotYet = undefined | false;

/**
 * Waits for a thing instead of a time: asks `condition` again and again until it gives something, and resolves with that.
 * Rejects once `limitMs` has passed, also when the condition itself hangs; and at once with whatever it throws, because a
 * test that is broken should say so and not time out.
 */
export function until<T>(
  what: string,
  condition: () => T | NotYet | Promise<T | NotYet>,
  limitMs = defaultLimitMs,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const startMs = performance.now();
    const settle = (finish: () => void) => {
      isOver = true;
      clearTimeout(limit);
      finish();
    };
    const limit = setTimeout(
      () => settle(() => reject(new Error(`did not happen within ${limitMs} ms: ${what}`))),
      limitMs,
    );
    const ask = async () => {
      try {
        const answer = await condition();
        if (isOver) return;
        if (answer === undefined || answer === false)
          setTimeout(ask, intervalMs(performance.now() - startMs));
        else settle(() => resolve(answer));
      } catch (error) {
        settle(() => reject(error));
      }
    };
    void ask();
  });
}

function intervalMs(waitedMs: number): number {
  return Math.min(pollIntervalMaxMs, Math.max(pollIntervalMinMs, waitedMs * pollShare));
}
