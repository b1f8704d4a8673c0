import { StatefulError } from "../lib/errors.ts";
import type { Payload } from "./socket-protocol.ts";

/**
 * Long messages travel in parts: a channel has a limit of what may be under way (`channelDebtBytesMax`), which is shared by all
 * sockets of an object, and one payload past it would never find room.
 */
export const partLengthMax = 512 * 1024;
/** All parts of one message together. A client's is shorter already; this is for an author's. */
export const assembledLengthMax = 64 * 1024 * 1024;

/** All parts but the last; the last. */
export interface Parts {
  readonly leading: readonly Payload[];
  readonly last: Payload;
}

export function partsOf(payload: Payload): Parts {
  if (payload.length <= partLengthMax) return { leading: none, last: payload };
  if (payload.length > assembledLengthMax) throw tooLong();
  const leading: Payload[] = [];
  let start = 0;
  while (payload.length - start > partLengthMax) {
    const end = endOfPart(payload, start + partLengthMax);
    leading.push(typeof payload === "string" ? payload.slice(start, end) : payload.subarray(start, end));
    start = end;
  }
  return { leading, last: typeof payload === "string" ? payload.slice(start) : payload.subarray(start) };
}

/** Not between the two units of one character, each of which is none by itself. */
function endOfPart(payload: Payload, end: number): number {
  if (typeof payload !== "string") return end;
  const code = payload.charCodeAt(end - 1);
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end;
}

/** Puts parts together again. */
export class Assembly {
  #parts: Payload[] = [];
  #length = 0;

  add(part: Payload): void {
    this.#length += part.length;
    if (this.#length > assembledLengthMax) throw tooLong();
    this.#parts.push(part);
  }

  /** The whole message, from its last part. */
  whole(last: Payload): Payload {
    if (this.#parts.length === 0) return last;
    this.add(last);
    const parts = this.#parts;
    this.#parts = [];
    this.#length = 0;
    if (parts.every((part) => typeof part === "string")) return parts.join("");
    return Buffer.concat(parts.filter((part) => part instanceof Uint8Array));
  }
}

const none: readonly Payload[] = [];

function tooLong(): StatefulError {
  return new StatefulError("body_too_large", `A message has ${assembledLengthMax} bytes at most.`);
}
