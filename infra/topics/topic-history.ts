import type { HistoryLimits } from "../object/topic-options.ts";
import type { MissedMessage, TopicPayload, TopicStart } from "./topic-message.ts";

/** A history as it travels and sleeps. Messages have the offsets up to `offset`, without a gap. */
export interface KeptHistory {
  readonly id: string;
  /** Of the last message; 0 where there was none. */
  readonly offset: number;
  readonly messages: readonly KeptMessage[];
  /** When the last of them is too old to be kept; 0 where there is none. */
  readonly untilMs: number;
}

export interface KeptMessage extends TopicPayload {
  readonly publishedAtMs: number;
}

/** `since` for all that is kept. */
export const oldestPosition = "oldest";

/** Messages that have left are dropped from memory this many at a time. */
const compactAfter = 256;

/**
 * The latest messages of one topic, within limits of count, age and bytes. A *position* is the history's id and an offset; the
 * id changes only when a history is lost. A resume has every message after its position, or none (the rule is Centrifugo's:
 * "History and recovery" in its documentation).
 */
export class TopicHistory {
  readonly id: string;
  readonly #limits: HistoryLimits;
  #messages: KeptMessage[] = [];
  /** Index in `#messages` of the oldest. */
  #head = 0;
  #bytes = 0;
  #offset: number;

  constructor(limits: HistoryLimits, kept: KeptHistory) {
    this.#limits = limits;
    this.id = kept.id;
    this.#offset = kept.offset;
    for (const message of kept.messages) {
      this.#messages.push(message);
      this.#bytes += bytesOf(message);
    }
  }

  /** Of the last message. */
  get position(): string {
    return this.#at(this.#offset);
  }
  /** Of the last message; 0 where there was none. */
  get offset(): number {
    return this.#offset;
  }
  /** Of the oldest that is kept; one more than `offset` where none is. */
  get firstOffset(): number {
    return this.#offset - this.length + 1;
  }
  get length(): number {
    return this.#messages.length - this.#head;
  }
  /** What the messages take in memory, about. */
  get bytes(): number {
    return this.#bytes;
  }
  /** Adds a message; its position. Bytes are copied, for their author may change them. */
  append({ data, form }: TopicPayload, nowMs: number): string {
    const message = { data: typeof data === "string" ? data : data.slice(), form, publishedAtMs: nowMs };
    this.#messages.push(message);
    this.#bytes += bytesOf(message);
    this.#offset += 1;
    this.expire(nowMs);
    return this.position;
  }

  /** Takes the last message back: it could not be sent to anybody. */
  retract(position: string): void {
    if (position !== this.position) return;
    const message = this.length > 0 ? this.#messages.pop() : undefined;
    if (message) this.#bytes -= bytesOf(message);
    this.#offset -= 1;
  }

  /** What a subscriber is told that has heard everything up to `since`, or that has heard nothing. */
  start(since: string | undefined, nowMs: number): TopicStart {
    this.expire(nowMs);
    const { position } = this;
    if (since === undefined) return { position, recovered: undefined, missed: none };
    if (since === oldestPosition) {
      const before = this.firstOffset - 1;
      return { position: this.#at(before), recovered: undefined, missed: this.#after(before) };
    }
    const offset = this.#offsetOf(since);
    if (offset === undefined || offset < this.firstOffset - 1)
      return { position, recovered: false, missed: none };
    return { position: since, recovered: true, missed: this.#after(offset) };
  }

  kept(nowMs: number): KeptHistory {
    this.expire(nowMs);
    const messages = this.#messages.slice(this.#head);
    const last = messages.at(-1);
    const untilMs = last ? last.publishedAtMs + this.#limits.ageMs : 0;
    return { id: this.id, offset: this.#offset, messages, untilMs };
  }

  /** The message at that offset; undefined where it is not kept. */
  at(offset: number): KeptMessage | undefined {
    return offset < this.firstOffset ? undefined : this.#messages[this.#head + offset - this.firstOffset];
  }

  /** Lets go of what is over a limit. */
  expire(nowMs: number): void {
    const { count, ageMs, bytes } = this.#limits;
    for (let oldest = this.#messages[this.#head]; oldest; oldest = this.#messages[this.#head]) {
      const isOver = this.length > count || this.#bytes > bytes || oldest.publishedAtMs + ageMs <= nowMs;
      if (!isOver) return;
      this.#bytes -= bytesOf(oldest);
      this.#head += 1;
      if (this.#head < this.#messages.length && this.#head < compactAfter) continue;
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
  }

  #at(offset: number): string {
    return `${this.id}.${offset}`;
  }

  /** Undefined for a position of another history, or of none, or of the future. */
  #offsetOf(position: string): number | undefined {
    if (!position.startsWith(`${this.id}.`)) return undefined;
    const digits = position.slice(this.id.length + 1);
    const offset = /^(0|[1-9]\d{0,15})$/.test(digits) ? Number(digits) : Number.NaN;
    return offset <= this.#offset ? offset : undefined;
  }

  #after(offset: number): readonly MissedMessage[] {
    const first = this.#head + (offset + 1 - this.firstOffset);
    return this.#messages
      .slice(first)
      .map(({ data, form }, index) => ({ data, form, position: this.#at(offset + 1 + index) }));
  }
}

/** A history that begins. */
export function emptyHistory(id: string): KeptHistory {
  return { id, offset: 0, messages: [], untilMs: 0 };
}

/** As text takes in memory, mostly: one byte for a unit. */
const messageBytes = 96;

export function bytesOf({ data }: { readonly data: string | Uint8Array }): number {
  return data.length + messageBytes;
}

const none: readonly MissedMessage[] = [];
