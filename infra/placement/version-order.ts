import { compareText } from "./rendezvous.ts";

/**
 * Which of two versions is newer. A version is any text: `v9`, `1.2.10`, a date, or the image that Fly.io started
 * (`registry.fly.io/app:deployment-01J9…@sha256:…`), of which the tag counts. Plain text order says that `v10` is older than
 * `v9`, so runs of digits compare as numbers ("natural order"). A ULID is the exception to the exception: `01JA10…` is older
 * than `01JA9…`, because its digits are digits of one long number to the base of 32. It compares as a whole.
 *
 * The order is total: texts that differ never compare as 0, however alike they are, so that all hosts agree on one
 * newest version. What it cannot know is the order of texts that have none, such as commit hashes; see README.md.
 */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  const partsOfA = partsOf(a);
  const partsOfB = partsOf(b);
  const shorter = Math.min(partsOfA.length, partsOfB.length);
  for (let index = 0; index < shorter; index++) {
    const order = compareParts(partsOfA[index] ?? "", partsOfB[index] ?? "");
    if (order !== 0) return order;
  }
  return partsOfA.length - partsOfB.length || compareText(a, b);
}

export function isOlderVersion(version: string, than: string): boolean {
  return compareVersions(version, than) < 0;
}

/** The newest of them; undefined where there are none. */
export function newestVersion(versions: Iterable<string>): string | undefined {
  let newest: string | undefined;
  for (const version of versions) {
    if (newest === undefined || isOlderVersion(newest, version)) newest = version;
  }
  return newest;
}

/** Those that are older than one, each text compared once: hosts are many and versions few. */
export function olderVersions(versions: Iterable<string>, than: string): ReadonlySet<string> {
  return new Set([...new Set(versions)].filter((version) => isOlderVersion(version, than)));
}

/** The part of a version that counts, which for a reference to an image is its tag: also what people want to read. */
export function versionTag(version: string): string {
  const { withRegistry, withDigest } = imageReference.exec(version)?.groups ?? {};
  return withRegistry ?? withDigest ?? version;
}

/** With a path before the name or a digest behind the tag: a bare `name:tag` may be anything, a time of day for one. */
const imageReference =
  /^(?:(?:[^\s/@]+\/)+[a-z0-9][a-z0-9._-]*:(?<withRegistry>[\w.-]+)(?:@[\w+.-]+:[\da-f]+)?|[a-z0-9][a-z0-9._-]*:(?<withDigest>[\w.-]+)@[\w+.-]+:[\da-f]+)$/;

/** A ULID, a run of digits, or what is between them. 26 digits without a letter are a number. */
const versionPart = /(?<![0-9a-z])(?=\d{0,25}[a-z])[0-7][0-9a-hjkmnp-tv-z]{25}(?![0-9a-z])|\d+|\D+/gi;

const ulidLength = 26;

function partsOf(version: string): readonly string[] {
  return versionTag(version).match(versionPart) ?? [];
}

/** Numbers before ULIDs before other text, and each kind in its own order. Equal numbers may be written differently. */
function compareParts(a: string, b: string): number {
  const kind = kindOf(a);
  const difference = kind - kindOf(b);
  if (difference !== 0) return difference;
  if (kind === numberKind) return compareNumbers(a, b);
  return kind === ulidKind ? compareText(a.toLowerCase(), b.toLowerCase()) : compareText(a, b);
}

const numberKind = 0;
const ulidKind = 1;
const otherKind = 2;

function kindOf(part: string): number {
  const first = part.charCodeAt(0);
  if (first < 0x30 || first > 0x39) return otherKind;
  return part.length === ulidLength && /\D/.test(part) ? ulidKind : numberKind;
}

/** Of any length: a number in a version may be longer than a double is exact. */
function compareNumbers(a: string, b: string): number {
  const digitsOfA = a.replace(/^0+/, "");
  const digitsOfB = b.replace(/^0+/, "");
  return digitsOfA.length - digitsOfB.length || compareText(digitsOfA, digitsOfB);
}
