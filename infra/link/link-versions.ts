import { type ErrorCode, StatefulError } from "../lib/errors.ts";
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

/** What a version has that the one before it cannot read. */
export const broughtBy = {
  /**
   * Positions and forms of published messages, `listen`, `fill`, `positions`, and presence in the records of sockets
   * (infra/edge/topic-protocol.ts, infra/edge/socket-records.ts).
   */
  topicHistories: 2,
  /** Sockets of the kind "subscription": topics on a connection for many (infra/edge/forward-protocol.ts). */
  subscriptions: 2,
  /** Error codes that hosts of the first version cannot read in a refusal (`codesSince`). */
  laterErrorCodes: 2,
} as const;

/** Error codes that came after the first version, with the version that brought them. */
export const codesSince: Partial<Readonly<Record<ErrorCode, number>>> = {
  address_limit: broughtBy.laterErrorCodes,
  already_subscribed: broughtBy.laterErrorCodes,
  version_mismatch: broughtBy.laterErrorCodes,
};

/** The code itself, or for a peer that does not know it the nearest that every version knows. */
export function codeFor(version: number, error: StatefulError): ErrorCode {
  if ((codesSince[error.code] ?? 1) <= version) return error.code;
  return error.retryable ? "owner_unreachable" : "bad_request";
}

/** Why two hosts cannot be linked; undefined where they can. A client may read it: it names versions, no sessions, no addresses. */
export function versionMismatch(theirs: VersionRange, own: VersionRange): StatefulError | undefined {
  if (commonVersion(theirs, own) !== undefined) return undefined;
  const words = `the peer speaks ${rangeInWords(theirs)} of the links between hosts, and this host ${rangeInWords(own)}`;
  const message = `The two hosts cannot be linked: ${words}. Deploy through a release that speaks a version of both.`;
  return new StatefulError("version_mismatch", message, { retryAfterMs: 1000 });
}

/** What a peer is told. A dialer of the first version does not know the code, and shows only errors that it knows. */
export function versionRefusal(theirs: VersionRange, own: VersionRange): StatefulError | undefined {
  const mismatch = versionMismatch(theirs, own);
  if (mismatch === undefined || theirs.newest >= broughtBy.laterErrorCodes) return mismatch;
  return new StatefulError("bad_request", mismatch.message);
}
