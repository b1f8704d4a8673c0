import type { ObjectRef } from "../lib/object-ref.ts";

/** The id as the key spells it, percent-encoded: ASCII, so that no id meets what SQL text does to NUL or to Unicode. */
export function nameOf(object: ObjectRef): readonly [className: string, id: string] {
  return [object.className, object.key.slice(object.className.length + 1)];
}

/** Topics are spelled as in URLs as well. Half a character, which only a declared name may have, becomes U+FFFD. */
export function topicName(topic: string): string {
  return encodeURIComponent(topic.toWellFormed());
}
