import { StatefulError } from "./errors.ts";

/**
 * Which object something is for. `key` is the canonical text `class/encoded-id`: two spellings of one id have one key,
 * and a key can be put into a path as it stands.
 */
export interface ObjectRef {
  readonly key: string;
  readonly className: string;
  /** The id as the author sees it, decoded: 1 to 256 bytes of UTF-8. */
  readonly id: string;
}

export const objectIdBytesMax = 256;
const classNamePattern = /^[a-z][a-z0-9-]{0,62}$/;
const utf8 = new TextEncoder();

export function isClassName(text: string): boolean {
  return classNamePattern.test(text);
}

/** From a decoded id. Refuses with `bad_object_id` what no URL could carry to us unchanged. */
export function objectRef(className: string, id: string): ObjectRef {
  if (!isClassName(className)) {
    throw new StatefulError(
      "unknown_class",
      `"${className.slice(0, 64)}" is not a class name ([a-z][a-z0-9-]*, 63 at most).`,
    );
  }
  // "." and ".." disappear in every URL parser before a server sees them.
  if (id === "" || id === "." || id === "..") throw badId("must not be empty, '.' or '..'");
  if (!id.isWellFormed()) throw badId("is not well-formed Unicode");
  if (id.length > objectIdBytesMax || utf8.encode(id).length > objectIdBytesMax) {
    throw badId(`is over ${objectIdBytesMax} bytes`);
  }
  return { key: `${className}/${encodeURIComponent(id)}`, className, id };
}

/** From one raw path segment, percent-encoded or not. */
export function objectRefFromSegment(className: string, segment: string): ObjectRef {
  return objectRef(className, segment.includes("%") ? decodeSegment(segment) : segment);
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new StatefulError("bad_object_id", "The object id is not valid percent-encoded UTF-8.", { cause });
  }
}

function badId(what: string): StatefulError {
  return new StatefulError(
    "bad_object_id",
    `The object id ${what}. An id is one path segment of 1 to ${objectIdBytesMax} bytes.`,
  );
}
