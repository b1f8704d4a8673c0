import type { TopicMessage } from "../topics/topic-message.ts";
import { messageFrame, messageStart } from "./host-frames.ts";

/** The native topics that have framed subscribers here: their messages are put into a frame, once for all of these. */
export class FramedNames {
  readonly #byName = new Map<string, FramedName>();
  #last: { readonly message: TopicMessage; readonly frame: string } | undefined;

  get size(): number {
    return this.#byName.size;
  }

  add(name: string, object: string, topic: string): void {
    const known = this.#byName.get(name);
    if (known) known.subscribers++;
    else this.#byName.set(name, { subscribers: 1, start: messageStart(object, topic) });
  }

  remove(name: string): void {
    const known = this.#byName.get(name);
    if (known && --known.subscribers === 0) this.#byName.delete(name);
  }

  /**
   * For one of those who are told one by one (`lenient-topics.ts`). Made once for all who hear the same message in one turn, and not
   * kept any longer: it may be large.
   */
  frameFor(object: string, topic: string, message: TopicMessage): string {
    if (this.#last?.message === message) return this.#last.frame;
    if (this.#last === undefined)
      queueMicrotask(() => {
        this.#last = undefined;
      });
    const frame = messageFrame(messageStart(object, topic), message);
    this.#last = { message, frame };
    return frame;
  }

  /** Undefined where nobody listens in frames. */
  frameOf(name: string, message: TopicMessage): string | undefined {
    const known = this.#byName.get(name);
    return known && messageFrame(known.start, message);
  }
}

interface FramedName {
  subscribers: number;
  /** Of every message's frame. */
  readonly start: string;
}
