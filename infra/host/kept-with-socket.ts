import { StatefulError } from "../lib/errors.ts";
import { decodeValue, encodeValue } from "../storage/storage-codec.ts";

/** What a socket keeps over sleep, moves and crashes: its edge has it. */
export const keptLimits = { attachmentBytesMax: 16 * 1024, tagsMax: 16, tagCharsMax: 256 } as const;

/** The attachment of a socket and its tags: immutable, so that what waits to be sent stays what was said. */
export class KeptWithSocket {
  readonly tags: readonly string[];
  /** The attachment as it travels; undefined where there is none. */
  readonly bytes: Uint8Array | undefined;
  #value: { readonly of: unknown } | undefined;

  constructor(tags: readonly string[], bytes: Uint8Array | undefined) {
    this.tags = tags;
    this.bytes = bytes;
  }

  /** A copy of what was set, made once. */
  get value(): unknown {
    if (this.bytes === undefined) return undefined;
    this.#value ??= { of: decodeValue(this.bytes) };
    return this.#value.of;
  }

  /** @throws StatefulError `storage_limit` for more than 16 KiB, `bad_request` for what cannot be cloned. */
  withValue(value: unknown): KeptWithSocket {
    if (value === undefined) return new KeptWithSocket(this.tags, undefined);
    return new KeptWithSocket(
      this.tags,
      encodeValue(value, "The attachment of a socket", keptLimits.attachmentBytesMax),
    );
  }

  withTags(tags: readonly string[]): KeptWithSocket {
    const { tagsMax, tagCharsMax } = keptLimits;
    const isFine = tags.length <= tagsMax && tags.every((tag) => tag.length > 0 && tag.length <= tagCharsMax);
    if (isFine) return new KeptWithSocket([...new Set(tags)], this.bytes);
    const message = `A socket has ${tagsMax} tags at most, each of 1 to ${tagCharsMax} characters.`;
    throw new StatefulError("bad_request", message);
  }
}
