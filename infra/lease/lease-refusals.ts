import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { CommitAnswer } from "./directory.ts";
import type { LeaseLineLimits } from "./lease-line.ts";
import type { SessionLife } from "./session-life.ts";

/** Why a lease was not given, in the words that a caller reads, and maybe a client: the log knows which session it was (E10). */
export function sessionOver(life: SessionLife): StatefulError {
  return new StatefulError("session_over", `The host's session is over (${life.overReason ?? "expired"}).`);
}

export function queueFull(limits: LeaseLineLimits): StatefulError {
  return new StatefulError(
    "queue_full",
    `${limits.queueItemsMax} objects are waiting for the directory already.`,
  );
}

export function unsettled(limits: LeaseLineLimits): StatefulError {
  return new StatefulError(
    "directory_unavailable",
    `The directory did not settle a lease within ${limits.waitMs} ms.`,
  );
}

export function notSent(object: ObjectRef, waitMs: number): StatefulError {
  return new StatefulError(
    "directory_unavailable",
    `The move of ${object.key} was withdrawn: the directory did not answer what is before it within ${waitMs} ms.`,
  );
}

export function refusalOf(
  answer: Exclude<CommitAnswer, { outcome: "session_over" }>,
): StatefulError | undefined {
  switch (answer.outcome) {
    case "committed":
      return undefined;
    case "quarantined":
      return new StatefulError(
        "directory_recovering",
        "The directory lost memory, or may have: nothing starts yet.",
        {
          retryAfterMs: answer.quarantineMs,
        },
      );
    case "draining":
      return new StatefulError("host_draining", "This host is going away and takes no more objects.");
  }
}
