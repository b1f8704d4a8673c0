import { nanoid } from "nanoid";
import type { HistoryLimits } from "../object/topic-options.ts";
import type { TopicPayload, TopicStart } from "./topic-message.ts";
import { bytesOf, emptyHistory, type KeptHistory, TopicHistory } from "./topic-history.ts";

/** The histories of an object's topics, by name, as they travel and sleep. */
export type KeptHistories = ReadonlyMap<string, KeptHistory>;

/** Characters of a history's id: no two histories of one topic may ever have the same. */
const historyIdLength = 12;

/** The histories of all topics of one object that are declared with one. Each is made when it is first needed. */
export class TopicHistories {
  readonly #limits: ReadonlyMap<string, HistoryLimits>;
  readonly #nowMs: () => number;
  readonly #histories = new Map<string, TopicHistory>();

  constructor(limits: ReadonlyMap<string, HistoryLimits>, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Goes on with what was kept: of a topic that no longer has a history nothing is. */
  restore(kept: KeptHistories): void {
    for (const [topic, history] of kept) {
      const limits = this.#limits.get(topic);
      if (limits) this.#histories.set(topic, new TopicHistory(limits, history));
    }
  }

  /** Undefined where the topic keeps none. */
  of(topic: string): TopicHistory | undefined {
    const known = this.#histories.get(topic);
    if (known) return known;
    const limits = this.#limits.get(topic);
    if (limits === undefined) return undefined;
    const history = new TopicHistory(limits, emptyHistory(nanoid(historyIdLength)));
    this.#histories.set(topic, history);
    return history;
  }

  append(topic: string, payload: TopicPayload): string | undefined {
    return this.of(topic)?.append(payload, this.#nowMs());
  }

  start(topic: string, since: string | undefined): TopicStart | undefined {
    return this.of(topic)?.start(since, this.#nowMs());
  }

  kept(): KeptHistories {
    const nowMs = this.#nowMs();
    return new Map(Array.from(this.#histories, ([topic, history]) => [topic, history.kept(nowMs)]));
  }

  all(): Iterable<readonly [topic: string, history: TopicHistory]> {
    return this.#histories;
  }

  /** What they take in memory, about. */
  get bytes(): number {
    let bytes = 0;
    for (const history of this.#histories.values()) bytes += history.bytes;
    return bytes;
  }
}

/** When the last message of all is too old to be kept; 0 where there is none. */
export function keptUntilMs(kept: KeptHistories | undefined): number {
  let untilMs = 0;
  for (const history of kept?.values() ?? []) untilMs = Math.max(untilMs, history.untilMs);
  return untilMs;
}

/** What they take in memory, about. */
export function keptBytes(kept: KeptHistories | undefined): number {
  let bytes = 0;
  for (const { messages } of kept?.values() ?? []) for (const message of messages) bytes += bytesOf(message);
  return bytes;
}

/** What is left of histories once all messages are too old: that nothing came after them is still known. */
export function withoutMessages(kept: KeptHistories): KeptHistories {
  return new Map(Array.from(kept, ([topic, { id, offset }]) => [topic, { ...emptyHistory(id), offset }]));
}
