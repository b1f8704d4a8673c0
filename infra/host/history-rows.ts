import type { MessagePlace, StoredMessage } from "../lease/stored-objects.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { HistoryLimits } from "../object/topic-options.ts";
import type { StoredReader } from "../storage/stored-reader.ts";
import type { KeptHistories } from "../topics/topic-histories.ts";
import type { KeptHistory, KeptMessage } from "../topics/topic-history.ts";
import type { MessageForm } from "../topics/topic-message.ts";
import type { StoredSpan, StoredSpans } from "./history-keeper.ts";

/** The histories of an object's topics, with what of them the directory has. */
export interface StoredTopics {
  readonly topics: KeptHistories;
  readonly storedTopics: StoredSpans;
}

export function rowOf(history: string, place: number, message: KeptMessage): StoredMessage {
  const { data, form, publishedAtMs } = message;
  const value = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return { place, history, form, publishedAtMs, value };
}

/** A place whose message is not kept. */
export function markOf(history: string, place: number, nowMs: number): StoredMessage {
  return { place, history, form: "", publishedAtMs: nowMs, value: noBytes };
}

const noBytes = new Uint8Array(0);

/** Reads what an object has stored of its topics: of those that its class no longer keeps, only that there is something. */
export async function readTopics(
  reader: StoredReader,
  object: ObjectRef,
  limits: ReadonlyMap<string, HistoryLimits>,
): Promise<StoredTopics> {
  const topics = new Map<string, GrowingHistory>();
  const storedTopics = new Map<string, StoredSpan>();
  let after: MessagePlace | undefined;
  do {
    const { messages, hasMore } = await reader.messages(object, after);
    for (const { topic, ...row } of messages) {
      storedTopics.set(topic, { from: storedTopics.get(topic)?.from ?? row.place, upTo: row.place });
      const keeps = limits.get(topic);
      if (keeps) topics.set(topic, goOn(topics.get(topic), row, keeps));
    }
    after = hasMore ? messages.at(-1) : undefined;
  } while (after !== undefined);
  return { topics, storedTopics };
}

interface GrowingHistory extends KeptHistory {
  readonly messages: KeptMessage[];
}

/** With the next row: a history has no gaps, so where something is missing in between it begins behind that. */
function goOn(
  before: GrowingHistory | undefined,
  row: StoredMessage,
  { ageMs }: HistoryLimits,
): GrowingHistory {
  const { history: id, place: offset, publishedAtMs } = row;
  const message = messageOf(row);
  if (message === undefined) return { id, offset, messages: [], untilMs: 0 };
  const messages = before?.id === id && before.offset + 1 === offset ? before.messages : [];
  messages.push(message);
  return { id, offset, messages, untilMs: publishedAtMs + ageMs };
}

/** Undefined for a mark, and for a form that only a later version knows. */
function messageOf({ form, value, publishedAtMs }: StoredMessage): KeptMessage | undefined {
  if (form === "bytes") return { data: value, form, publishedAtMs };
  if (!isTextForm(form)) return undefined;
  return { data: new TextDecoder("utf-8", { ignoreBOM: true }).decode(value), form, publishedAtMs };
}

function isTextForm(form: string): form is Exclude<MessageForm, "bytes"> {
  return form === "text" || form === "json";
}
