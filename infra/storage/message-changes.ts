import type { TopicWrites } from "../lease/stored-objects.ts";
import { messageBytes } from "../lease/write-queue.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/** Messages of one object that wait to be written, and those of its topics that are to go, which they do first. */
export class MessageChanges {
  readonly #ref: ObjectRef;
  readonly #byTopic = new Map<string, TopicWrites>();
  #count = 0;
  #bytes = 0;

  constructor(ref: ObjectRef) {
    this.#ref = ref;
  }

  get count(): number {
    return this.#count;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** As they are now, for a commit: what is added later is not in it. */
  taken(): ReadonlyMap<string, TopicWrites> {
    return new Map(this.#byTopic);
  }

  /** On top of what waits. A message that is to go before it was ever written does not have to be. */
  add(topic: string, { keepFrom, puts }: TopicWrites): void {
    const before = this.#byTopic.get(topic);
    if (before) this.#measure(topic, before, -1);
    const kept = before?.puts.filter(({ place }) => place >= keepFrom) ?? [];
    const after = { keepFrom: Math.max(before?.keepFrom ?? 0, keepFrom), puts: [...kept, ...puts] };
    this.#byTopic.set(topic, after);
    this.#measure(topic, after, 1);
  }

  #measure(topic: string, { puts }: TopicWrites, sign: 1 | -1): void {
    for (const { value } of puts) this.#bytes += sign * messageBytes(this.#ref, topic, value.length);
    this.#count += sign * puts.length;
  }
}
