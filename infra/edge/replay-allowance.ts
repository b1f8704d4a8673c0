/**
 * What was missed may be more than may wait for a slow client, and is bounded by the topic's history already: as long as it waits
 * to be read it does not count. Without this a client on a slow way would be closed for being told what it missed, and come
 * again for the same.
 */
export class ReplayAllowance {
  #bytes = 0;

  /** Runs what tells a client what it missed. @param buffered what waits for the client, in bytes */
  replay(buffered: () => number, tell: () => void): void {
    const before = buffered();
    tell();
    this.#bytes += Math.max(0, buffered() - before);
  }

  /** What counts of all that waits. */
  counted(bufferedBytes: number): number {
    this.#bytes = Math.min(this.#bytes, bufferedBytes);
    return bufferedBytes - this.#bytes;
  }
}
