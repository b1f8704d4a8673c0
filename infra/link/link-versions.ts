import { StatefulError } from "../lib/errors.ts";
import { commonVersion, rangeInWords, type VersionRange } from "../lib/version-range.ts";

/**
 * Which versions of the wire this build speaks: what two hosts say to each other, from the frames of a link up to the messages
 * of a move. Both sides of a link say their range, and both speak the highest version that is in both (K11).
 *
 * The rule for whoever changes a message: `newest` rises, `broughtBy` names the change, the place that writes the message asks
 * `Link.version` for it, and `bun run record-wire` records the new version's bytes. `tests/wire/` fails until all of that is
 * done. `oldest` follows one release later, so that a rolling deploy, and its way back, always has a version in common.
 */
export const linkVersions: VersionRange = { oldest: 1, newest: 2 };

/** Hosts that say nothing of versions in the directory are of the release that had only this one. */
export const firstLinkVersions: VersionRange = { oldest: 1, newest: 1 };

/** What a version has that the one before it cannot read. */
export const broughtBy = {
  /**
   * Positions and forms of published messages, `listen`, `fill`, `positions`, and presence in the records of sockets
   * (infra/edge/topic-protocol.ts, infra/edge/socket-records.ts).
   */
  topicHistories: 2,
  /** Sockets of the kind "subscription": topics on a connection for many (infra/edge/forward-protocol.ts). */
  subscriptions: 2,
  /** Refusals with an error code that the reader does not know (infra/edge/forward-protocol.ts). */
  laterErrorCodes: 2,
} as const;

/** Why two hosts cannot be linked. A client may read it: it names versions, and neither sessions nor addresses. */
export function noCommonVersion(theirs: VersionRange, own: VersionRange): StatefulError {
  const words = `the peer speaks ${rangeInWords(theirs)} of the links between hosts, and this host ${rangeInWords(own)}`;
  const message = `The two hosts cannot be linked: ${words}. Deploy through a release that speaks a version of both.`;
  // A dialer of the first version does not know the code of our own for this, and shows only what it knows.
  const code = theirs.newest < broughtBy.laterErrorCodes ? "bad_request" : "version_mismatch";
  return new StatefulError(code, message, { retryAfterMs: 1000 });
}

/** Throws `version_mismatch` where two hosts have no version in common, before anything is dialled for it. */
export function checkCommonVersion(theirs: VersionRange, own: VersionRange): void {
  if (commonVersion(theirs, own) !== undefined) return;
  const { message } = noCommonVersion(theirs, own);
  throw new StatefulError("version_mismatch", message, { retryAfterMs: 1000 });
}
