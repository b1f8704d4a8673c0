import { StatefulError } from "../lib/errors.ts";
import { rangeInWords, type VersionRange } from "../lib/version-range.ts";

/**
 * Versions of the protocol of clients with many topics (`topics/PROTOCOL.md`) that a host speaks. A client names the newest that it
 * speaks, and is welcomed in the highest that the host speaks and that is no higher. As between hosts, a release speaks the one
 * before too: pages stay open over a deploy.
 */
export const clientVersions: VersionRange = { oldest: 1, newest: 1 };

/** The client's version is older than any that the host speaks. To come again is of no use; to load the page anew is. */
export const otherProtocolCloseCode = 4426;

/**
 * The newest version that the client speaks, from the query of its request. 1 where it says nothing.
 *
 * @throws StatefulError `bad_request`
 */
export function protocolOf(url: string): number {
  const text = new URL(url).searchParams.get("protocol");
  if (text === null) return 1;
  const version = Number(text);
  if (/^\d{1,6}$/.test(text) && version >= 1) return version;
  throw new StatefulError(
    "bad_request",
    `"protocol" is a whole number from 1, not ${JSON.stringify(text.slice(0, 40))}.`,
  );
}

/** Why that client cannot be spoken to; undefined where it can. Fits the reason of a close. */
export function whyNotSpoken(theirs: number, own: VersionRange): string | undefined {
  if (theirs >= own.oldest) return undefined;
  return `The client speaks version ${theirs} of the protocol, and this host ${rangeInWords(own)}: load it anew.`;
}
