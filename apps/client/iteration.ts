import { onAbort } from "./abort.ts";
import { ClientError } from "./errors.ts";
import type { Gap, SubscribeOptions, Subscription } from "./subscription.ts";
import type { Cancel } from "./surroundings.ts";

export interface IterationOptions extends Omit<SubscribeOptions, "presence"> {
  /**
   * Called where messages are missing, in its place between those before and those after; the loop goes on when it has
   * settled. This is the place to read again. Without it the loop throws a `ClientError` with the code `gap`.
   */
  readonly onGap?: ((gap: Gap) => void | Promise<void>) | undefined;
  /** How many messages may wait for the loop; past that the older half is dropped, as one gap. Default 1,024. */
  readonly bufferMax?: number | undefined;
}

/** A loop over the messages of a topic. Leaving it unsubscribes. */
export interface MessageIterator<Message> extends AsyncIterableIterator<Message, undefined, undefined> {
  /** Of the last message that the loop was given; undefined before it. */
  readonly position: string | undefined;
  /** Ends the subscription, as leaving the loop does. */
  return(): Promise<IteratorResult<Message, undefined>>;
}

type Entry<Message> =
  | { readonly message: Message; readonly position: string | undefined }
  | { readonly gap: Gap };

/** Subscribes, and hears with a function that the iteration has. */
type Subscribe<Message> = (
  hear: (message: Message, info: { readonly position: string | undefined }) => void,
) => Subscription;

/**
 * Turns what is told at its own pace into what is asked for. What waits in between is bounded: a loop that is too slow loses
 * the older half, is told so, and goes on with the rest. The subscription begins at once.
 */
export class TopicIteration<Message> implements MessageIterator<Message> {
  readonly #options: IterationOptions;
  readonly #bufferMax: number;
  readonly #entries: Entry<Message>[] = [];
  readonly #subscription: Subscription;
  /** How it ended, for the call that finds nothing more. */
  #end: { readonly error: unknown } | "done" | undefined;
  #position: string | undefined;
  /** Resumes a call that waits for something to come. */
  #resume: (() => void) | undefined;
  /** Calls are answered in their order. */
  #calls: Promise<unknown> = Promise.resolve();
  readonly #forget: Cancel;

  constructor(subscribe: Subscribe<Message>, options: IterationOptions) {
    this.#options = options;
    this.#bufferMax = options.bufferMax ?? 1_024;
    this.#subscription = subscribe((message, { position }) => this.#push({ message, position }));
    this.#subscription.on("gap", (gap) => this.#push({ gap }));
    this.#subscription.on("skipped", ({ count }) => this.#push({ gap: { reason: "skipped", count } }));
    this.#subscription.on("refused", ({ error }) => this.#finish({ error }));
    this.#subscription.on("ended", ({ code, error }) => this.#finish(code === 1000 ? "done" : { error }));
    const { signal } = options;
    this.#forget = onAbort(() => this.#abandon({ error: signal?.reason }), signal);
  }

  get position(): string | undefined {
    return this.#position;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    const call = this.#calls.then(() => this.#take());
    this.#calls = call.catch(() => undefined); // told to whoever made that call
    return call;
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    this.#abandon("done");
    return { done: true, value: undefined };
  }

  async #take(): Promise<IteratorResult<Message, undefined>> {
    for (;;) {
      const entry = this.#entries.shift();
      if (entry && "gap" in entry) await this.#tell(entry.gap);
      else if (entry) {
        this.#position = entry.position;
        return { done: false, value: entry.message };
      } else if (this.#end) return this.#last(this.#end);
      else await new Promise<void>((resolve) => (this.#resume = resolve));
    }
  }

  async #tell(gap: Gap): Promise<void> {
    if (this.#options.onGap) return this.#options.onGap(gap);
    this.#abandon("done");
    throw new ClientError(
      "gap",
      "Messages are missing here. Read again what the topic is about, and loop anew; or pass onGap.",
      { gap },
    );
  }

  /** An error is told once. */
  #last(end: { readonly error: unknown } | "done"): IteratorResult<Message, undefined> {
    this.#end = "done";
    if (end !== "done") throw end.error;
    return { done: true, value: undefined };
  }

  #push(entry: Entry<Message>): void {
    if (this.#end) return;
    this.#entries.push(entry);
    if (this.#entries.length > this.#bufferMax) {
      let count = 0;
      // Whatever else is missing among them is missing in the same place.
      for (const dropped of this.#entries.splice(0, Math.ceil(this.#entries.length / 2)))
        count += "message" in dropped ? 1 : countOf(dropped.gap);
      this.#entries.unshift({ gap: { reason: "overflow", count } });
    }
    this.#resume?.();
  }

  /** What came before the end is still given out. */
  #finish(end: { readonly error: unknown } | "done"): void {
    this.#end ??= end;
    this.#forget();
    this.#resume?.();
  }

  /** Nothing more is given out. */
  #abandon(end: { readonly error: unknown } | "done"): void {
    this.#subscription();
    this.#entries.length = 0;
    this.#finish(end);
  }
}

function countOf(gap: Gap): number {
  return "count" in gap ? gap.count : 0;
}
