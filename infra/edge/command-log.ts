import type { Payload } from "./socket-protocol.ts";

/** What may wait here for a way to the edge, or for room on it. Past either the edge is given up: it could not go on without a gap. */
export const waitingBytesMax = 1024 * 1024;
export const waitingCountMax = 4096;

/** The same while the way is open, where all sockets of an object share it: a burst to ten thousand of them is no slow edge. */
export const openWaitingBytesMax = 16 * 1024 * 1024;
export const openWaitingCountMax = 65_536;
/** What is kept until the edge has applied it: one message of the longest kind, and what may be on its way. */
export const keptBytesMax = 96 * 1024 * 1024;
const commandBytes = 64;

interface Command {
  readonly kind: number;
  readonly payload: Payload;
}

/**
 * The commands of one attachment, numbered from 1, until the edge has applied them: what was sent on a channel that broke is
 * sent again on the next, from where the edge has come to.
 */
export class CommandLog {
  readonly #commands: Command[] = [];
  /** Numbers: of the first command that is kept, of the last sent on this channel, of the last ever sent. */
  #first = 1;
  #sent = 0;
  #everSent = 0;
  #waitingBytes = 0;
  #keptBytes = 0;

  /** Number of the last command. */
  get last(): number {
    return this.#first + this.#commands.length - 1;
  }
  get waitingBytes(): number {
    return this.#waitingBytes;
  }
  get waitingCount(): number {
    return this.last - this.#everSent;
  }
  get isFull(): boolean {
    return this.#waitingBytes > waitingBytesMax || this.waitingCount > waitingCountMax;
  }

  get isCrowded(): boolean {
    return this.#waitingBytes > openWaitingBytesMax || this.waitingCount > openWaitingCountMax;
  }

  /** The edge takes commands and does not say that it has applied them. */
  get keepsTooMuch(): boolean {
    return this.#keptBytes > keptBytesMax;
  }

  put(kind: number, payload: Payload): void {
    this.#keptBytes += payload.length + commandBytes;
    this.#commands.push({ kind, payload });
    this.#waitingBytes += payload.length;
  }

  /** The next for this channel. */
  next(): Command | undefined {
    return this.#commands[this.#sent + 1 - this.#first];
  }

  /** The channel has taken it. */
  sentNext(): void {
    const command = this.next();
    this.#sent++;
    if (command === undefined || this.#sent <= this.#everSent) return;
    this.#everSent = this.#sent;
    this.#waitingBytes -= command.payload.length;
  }

  /** The edge has applied all up to that number. False where it cannot have. */
  applied(number: number): boolean {
    if (number > this.#everSent) return false;
    const count = number + 1 - this.#first;
    if (count <= 0) return true;
    for (const { payload } of this.#commands.splice(0, count))
      this.#keptBytes -= payload.length + commandBytes;
    this.#first = number + 1;
    this.#sent = Math.max(this.#sent, number);
    return true;
  }

  /** The next channel goes on after that number. False where something in between is gone. */
  rewind(number: number): boolean {
    if (number + 1 < this.#first || !this.applied(number)) return false;
    this.#sent = number;
    return true;
  }
}
