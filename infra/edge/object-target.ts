import { StatefulError } from "../lib/errors.ts";
import { isClassName, type ObjectRef, objectRefFromSegment } from "../lib/object-ref.ts";

/** What a URL asks for: `/counter/a/increment?by=2` is the object `counter/a` and the target as it stands. */
export interface ObjectTarget {
  readonly ref: ObjectRef;
  /** Raw path and query from the class name on, without the origin. */
  readonly target: string;
}

/**
 * Splits a URL once, for everyone. Bun leaves the origin away when a Host header could have moved the path, so a URL that
 * begins with a slash is refused; what remains begins with `http://host/`.
 *
 * @throws StatefulError `bad_request`, `not_found`, `unknown_class` (a name that no class can have) or `bad_object_id`.
 */
export function parseObjectTarget(url: string): ObjectTarget {
  const target = pathAndQuery(url);
  const pathEnd = endOfPath(target);
  const classEnd = target.indexOf("/", 1);
  if (classEnd === -1 || classEnd >= pathEnd) {
    throw new StatefulError("not_found", "An address is /<class>/<id>/…; the id is missing.");
  }
  const className = target.slice(1, classEnd);
  if (!isClassName(className)) {
    throw new StatefulError("unknown_class", `"${className.slice(0, 64)}" is not a class name.`);
  }
  const slash = target.indexOf("/", classEnd + 1);
  const idEnd = slash === -1 || slash > pathEnd ? pathEnd : slash;
  return { ref: objectRefFromSegment(className, target.slice(classEnd + 1, idEnd)), target };
}

/**
 * The canonical key of a URL without allocating a target, where that is possible: only ids that need no decoding. The
 * answer is a key to look up and nothing more; undefined sends the caller to `parseObjectTarget`.
 */
export function quickKey(target: string): string | undefined {
  const classEnd = target.indexOf("/", 1);
  if (classEnd === -1) return undefined;
  const slash = target.indexOf("/", classEnd + 1);
  const query = target.indexOf("?", 1);
  const end = slash !== -1 && (query === -1 || slash < query) ? slash : query === -1 ? target.length : query;
  return target.slice(1, end);
}

export function pathAndQuery(url: string): string {
  const origin = url.indexOf("://");
  const start = origin === -1 ? -1 : url.indexOf("/", origin + 3);
  if (start === -1 || url.startsWith("/")) {
    throw new StatefulError("bad_request", "The Host header is not the name of a host.");
  }
  return url.slice(start);
}

function endOfPath(target: string): number {
  const query = target.indexOf("?");
  return query === -1 ? target.length : query;
}

/** Whether the raw path and query of a request is the address of a topic, which the machinery serves by itself. */
export function isTopicTarget(target: string): boolean {
  return /^\/[^/?]*\/[^/?]*\/-\/topics\//.test(target);
}
