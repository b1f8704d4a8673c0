/** The versions of a protocol that somebody speaks: every one from `oldest` to `newest`. */
export interface VersionRange {
  readonly oldest: number;
  readonly newest: number;
}

/** What whoever says nothing of versions speaks: it is of the release before there was a second. */
export const firstVersionOnly: VersionRange = { oldest: 1, newest: 1 };

/** The highest version that both speak; undefined where there is none. */
export function commonVersion(one: VersionRange, other: VersionRange): number | undefined {
  const version = Math.min(one.newest, other.newest);
  return version >= Math.max(one.oldest, other.oldest) ? version : undefined;
}

/** "version 2", or "versions 1 to 2". */
export function rangeInWords({ oldest, newest }: VersionRange): string {
  return oldest === newest ? `version ${newest}` : `versions ${oldest} to ${newest}`;
}

/** What a peer says that it speaks. Undefined for anything but two whole numbers from 1, the first no larger than the second. */
export function versionRange(oldest: unknown, newest: unknown): VersionRange | undefined {
  if (!isVersion(oldest) || !isVersion(newest) || oldest > newest) return undefined;
  return { oldest, newest };
}

function isVersion(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
}
