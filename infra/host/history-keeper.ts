import { everyPlace, type StoredMessage } from "../lease/stored-objects.ts";
import { messageBytes } from "../lease/write-queue.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { ObjectStorage } from "../storage/object-storage.ts";
import type { WriteBuffer } from "../storage/write-buffer.ts";
import type { TopicHistories } from "../topics/topic-histories.ts";
import type { TopicHistory } from "../topics/topic-history.ts";
import type { TopicPayload } from "../topics/topic-message.ts";
import { markOf, rowOf } from "./history-rows.ts";

/** Places of one history between which the directory has all that is kept, and maybe some that no longer is. */
export interface StoredSpan {
  readonly from: number;
  readonly upTo: number;
}

/** By topic; topics that the directory has nothing of are missing. */
export type StoredSpans = ReadonlyMap<string, StoredSpan>;

export interface HistoryKeeperSetup {
  readonly ref: ObjectRef;
  readonly histories: TopicHistories;
  /** What the directory has of them; undefined where nobody knows: then it is given all that is kept. */
  readonly stored: StoredSpans | undefined;
  readonly buffer: Pick<WriteBuffer, "putMessages" | "reserve" | "unreserve">;
  readonly storage: Pick<ObjectStorage, "issued" | "appliedUpTo">;
  nowMs(): number;
}

/** What is said of one topic, until it is written. */
interface Said {
  readonly topic: string;
  /** The last storage call that was made before it: what that changes is to be durable no later than this. */
  readonly after: number;
  upTo: number;
  count: number;
  bytes: number;
}

/** Rows that are no longer kept go once there is one of them for so many that are: each trim is a statement more. */
const keptForStale = 8;

/**
 * Has the histories of an object's topics written: what was published since the last time goes into the buffer together
 * with the state that it tells of, so both are in one commit, and whoever is told waits for it.
 *
 * Why not at once, as a put is: the state may be changed after the publish, in the same turn. A commit that left in
 * between would have the message and not the change, and a crash would then tell whoever comes back of something that
 * never was. For the same reason a message waits here until the storage calls that came before it have been done.
 *
 * The newest row of a topic is never trimmed, however old: it is what tells the next owner how far the history had come, and
 * which it is. Where its message is not kept, it has the place alone; the place of a history without messages is 0.
 */
export class HistoryKeeper {
  readonly #setup: HistoryKeeperSetup;
  readonly #spans: Map<string, StoredSpan>;
  readonly #isKnown: boolean;
  #said: Said[] = [];
  /** Topics to be looked at without anything being said: as they were when the object started. */
  #unseen: Set<string>;

  constructor(setup: HistoryKeeperSetup) {
    this.#setup = setup;
    this.#spans = new Map(setup.stored);
    this.#isKnown = setup.stored !== undefined;
    this.#unseen = new Set(this.#spans.keys());
    for (const [topic, { offset }] of setup.histories.all())
      if (!this.#isKnown || offset > (this.#spans.get(topic)?.upTo ?? 0)) this.#note(topic, offset, 0);
  }

  /** What the next owner need not write; undefined where that cannot be told. */
  get spans(): StoredSpans | undefined {
    return this.#isKnown ? this.#spans : undefined;
  }

  /** Keeps room for a message. Throws `storage_limit` where too much waits to be written: then it must not be said. */
  reserve(topic: string, payload: TopicPayload): void {
    this.#setup.buffer.reserve(this.#bytesOf(topic, payload));
  }

  /** It could not be said. */
  unreserve(topic: string, payload: TopicPayload): void {
    this.#setup.buffer.unreserve(1, this.#bytesOf(topic, payload));
  }

  /** The last message of the history, for which there is room, stands in the line of what leaves. */
  said(topic: string, payload: TopicPayload, history: TopicHistory): void {
    const said = this.#note(topic, history.offset, this.#bytesOf(topic, payload));
    said.count += 1;
  }

  /** Somebody is about to be told where a history begins: it must be the same after a crash. */
  told(topic: string, history: TopicHistory): void {
    if (history.offset === 0 && !this.#spans.has(topic)) this.#note(topic, 0, 0);
  }

  /** All that was said so far becomes changes, but for what came behind a storage call that is not done. */
  save(): void {
    if (this.#said.length === 0 && this.#unseen.size === 0) return;
    const { buffer, storage } = this.#setup;
    const { appliedUpTo } = storage;
    const waiting = this.#said.findIndex(({ after }) => after > appliedUpTo);
    const ready = this.#said.splice(0, waiting === -1 ? this.#said.length : waiting);
    const upTo = new Map<string, number | undefined>();
    for (const topic of this.#unseen) upTo.set(topic, undefined);
    this.#unseen.clear();
    for (const said of ready) {
      upTo.set(said.topic, said.upTo);
      buffer.unreserve(said.count, said.bytes);
    }
    for (const [topic, place] of upTo) this.#write(topic, place);
  }

  #note(topic: string, upTo: number, bytes: number): Said {
    const after = this.#setup.storage.issued;
    const last = this.#said.at(-1);
    if (last?.topic === topic && last.after === after) {
      last.upTo = upTo;
      last.bytes += bytes;
      return last;
    }
    const said = { topic, after, upTo, count: 0, bytes };
    this.#said.push(said);
    return said;
  }

  /** `upTo`: undefined where nothing was said. */
  #write(topic: string, upTo: number | undefined): void {
    const { histories, buffer, nowMs } = this.#setup;
    const history = histories.of(topic);
    const span = this.#spans.get(topic);
    if (history === undefined) {
      this.#spans.delete(topic); // The class does not keep it any more.
      return buffer.putMessages(topic, { keepFrom: everyPlace, puts: [] });
    }
    history.expire(nowMs());
    const last = upTo ?? span?.upTo ?? 0;
    const puts = rowsOf(history, span ? span.upTo + 1 : 0, last, nowMs());
    const firstKept = Math.min(history.firstOffset, last);
    const keepFrom = span ? trimOf(span, firstKept, last) : this.#isKnown ? 0 : everyPlace;
    if (puts.length === 0 && keepFrom === 0) return;
    const from = keepFrom > 0 ? firstKept : (span?.from ?? firstKept);
    this.#spans.set(topic, { from, upTo: last });
    buffer.putMessages(topic, { keepFrom, puts });
  }

  #bytesOf(topic: string, { data }: TopicPayload): number {
    const length = typeof data === "string" ? Buffer.byteLength(data) : data.length;
    return messageBytes(this.#setup.ref, topic, length);
  }
}

/** Below which place rows go now; 0 for none. */
function trimOf({ from }: StoredSpan, firstKept: number, last: number): number {
  const stale = firstKept - from;
  return stale > 0 && stale * keptForStale > last - firstKept ? firstKept : 0;
}

/** What is kept from one place to another, and the last place in any case. */
function rowsOf(history: TopicHistory, from: number, upTo: number, nowMs: number): StoredMessage[] {
  const rows: StoredMessage[] = [];
  for (let place = Math.max(from, history.firstOffset); place <= upTo; place += 1) {
    const message = history.at(place);
    if (message) rows.push(rowOf(history.id, place, message));
  }
  const isLastMissing = upTo >= from && rows.at(-1)?.place !== upTo;
  if (isLastMissing) rows.push(markOf(history.id, upTo, nowMs));
  return rows;
}
