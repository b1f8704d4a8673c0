import { connectDirectory, directoryOptionsFromEnv } from "../../infra/lease/connect-directory.ts";
import type { Directory } from "../../infra/lease/directory.ts";
import { sleep, systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { asStatefulError } from "../../infra/lib/errors.ts";

/** Loaded by the supervisor when there is something to end, not before: the directory's client is most of its memory. */

/** Three attempts of a renewal's time, which a first call over a long way needs, with the pauses between them. */
const endLimitMs = 5_000;
const attemptsMax = 3;
const pauseMs = 250;

/**
 * Ends the sessions of a process that is certainly dead, so that what it held is free at once. Safe to repeat, and safe
 * beside what the dead process had still sent: a commit or a renewal that arrives after this is refused.
 */
export async function endOrphaned(
  sessions: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  // Without the replica, whose file is the host's.
  const { url, authToken } = directoryOptionsFromEnv(env);
  const directory = connectDirectory({ url, authToken });
  const late = () => new Error(`The directory did not answer within ${endLimitMs} ms.`);
  const ended = Promise.all(sessions.map((session) => end(directory, session)));
  try {
    await withTimeLimit(systemClock, endLimitMs, ended, late);
  } finally {
    // Nothing is left to hear of it.
    directory.close().catch(() => undefined);
  }
}

async function end(directory: Directory, session: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await directory.endSession(session);
    } catch (error) {
      const isAway = asStatefulError(error).code === "directory_unavailable";
      if (!isAway || attempt === attemptsMax) throw error;
      await sleep(systemClock, pauseMs);
    }
  }
}
