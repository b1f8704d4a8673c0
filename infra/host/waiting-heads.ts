import type { UpgradeHead } from "./edge-port.ts";

/**
 * Heads of one attachment whose sockets' next events have not entered: the object wakes, starts or moves. Past either limit the
 * socket of the next is closed with 1013, as for its events.
 */
export const waitingHeadsMax = 16_384;
/** A kilobyte for each of as many heads as may wait, which is what browsers send; half a thousand of the longest. */
export const waitingHeadsBytesMax = 16 * 1024 * 1024;

/** What a head takes, here and on the way: header values are Latin-1, and so are URLs. */
export function headBytesOf({ url, target, headers }: UpgradeHead): number {
  let bytes = url.length + target.length;
  for (const [name, value] of headers) bytes += name.length + value.length;
  return bytes;
}

/** The heads of sockets, by their numbers at the edge, within the limits above. */
export class WaitingHeads {
  readonly #byNumber = new Map<number, UpgradeHead>();
  #bytes = 0;

  /** In the place of an earlier one of that socket. False, and nothing is kept, past a limit. */
  put(number: number, head: UpgradeHead): boolean {
    this.take(number);
    const bytes = headBytesOf(head);
    if (this.#byNumber.size >= waitingHeadsMax || this.#bytes + bytes > waitingHeadsBytesMax) return false;
    this.#byNumber.set(number, head);
    this.#bytes += bytes;
    return true;
  }

  take(number: number): UpgradeHead | undefined {
    const head = this.#byNumber.get(number);
    if (head === undefined) return undefined;
    this.#byNumber.delete(number);
    this.#bytes -= headBytesOf(head);
    return head;
  }

  clear(): void {
    this.#byNumber.clear();
    this.#bytes = 0;
  }
}
