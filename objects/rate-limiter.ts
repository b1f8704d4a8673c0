/**
 * Time. A token bucket for each id: it holds ten tokens and gains one a second, and what is taken is gone for every
 * region. Nothing awaits between reading and writing the state, so two callers never take the same token. An idle
 * bucket is a full one, so it may be forgotten: its state needs no storage.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

const tokensMax = 10;
const tokensPerSecond = 1;

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

export default object("rate-limiter", {
  state: (): Bucket => ({ tokens: tokensMax, filledAtMs: Date.now() }),
  idleAfterMs: (tokensMax / tokensPerSecond) * 1000,
})
  .get("/", ({ state }) => ({ tokens: Math.floor(fill(state).tokens) }))
  .post(
    "/take",
    ({ state, body, set, status }) => {
      const wanted = body?.tokens ?? 1;
      const missing = wanted - fill(state).tokens;
      if (missing <= 0) {
        state.tokens -= wanted;
        return { tokens: Math.floor(state.tokens) };
      }
      const retryAfterSeconds = Math.ceil(missing / tokensPerSecond);
      set.headers["retry-after"] = String(retryAfterSeconds);
      return status(429, { retryAfterSeconds });
    },
    { body: t.Optional(t.Object({ tokens: t.Integer({ minimum: 1, maximum: tokensMax }) })) },
  );

function fill(bucket: Bucket): Bucket {
  const now = Date.now();
  // The machine's clock may be set back, and another machine's may be behind: then nothing is gained, and nothing lost.
  const elapsedMs = Math.max(0, now - bucket.filledAtMs);
  bucket.tokens = Math.min(tokensMax, bucket.tokens + (elapsedMs / 1000) * tokensPerSecond);
  bucket.filledAtMs = now;
  return bucket;
}
