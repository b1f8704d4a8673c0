import { asStatefulError, type StatefulError } from "../lib/errors.ts";
import type { Channel } from "../link/link.ts";

/** The three messages that carry a body; their numbers differ by direction. */
export interface BodyKinds {
  readonly body: number;
  readonly bodyEnd: number;
  readonly bodyFailed: number;
}

/** Larger chunks are cut, so that no body holds up what shares the link with it. */
const chunkBytesMax = 64 * 1024;
const encoder = new TextEncoder();

/**
 * Sends a stream as messages, never ahead of the channel's window: what a slow receiver has not taken stays in the sender,
 * unread.
 */
export class BodyPump {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #channel: Channel;
  readonly #kinds: BodyKinds;

  constructor(stream: ReadableStream<Uint8Array>, channel: Channel, kinds: BodyKinds) {
    this.#reader = stream.getReader();
    this.#channel = channel;
    this.#kinds = kinds;
  }

  /**
   * Resolves when the whole stream is sent, or it failed, or `stop` was called. Never rejects, and never closes the
   * channel: its owner would not hear of that.
   */
  async run(): Promise<void> {
    const { body, bodyEnd, bodyFailed } = this.#kinds;
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        await sendChunks(chunkBytes(value), this.#channel, body);
      }
      await sendPatiently(this.#channel, bodyEnd, "");
    } catch (thrown) {
      this.stop(thrown);
      // Where it is the channel that ended, both sides know already.
      await sendPatiently(this.#channel, bodyFailed, "").catch(ignoreRepeatedFailure);
    }
  }

  /** Cancels the stream. For when the channel has ended: a source that waits for something would not notice by itself. */
  stop(reason: unknown): void {
    this.#reader.cancel(reason).catch(ignoreRepeatedFailure);
  }
}

/** A stream of a response may yield text: Elysia's do, where the standard says bytes. */
function chunkBytes(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === "string") return encoder.encode(chunk);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new TypeError(`A body cannot carry a chunk of type ${typeof chunk}.`);
}

async function sendChunks(bytes: Uint8Array, channel: Channel, kind: number): Promise<void> {
  for (let start = 0; start < bytes.length; start += chunkBytesMax) {
    await channel.writable();
    await sendPatiently(channel, kind, bytes.subarray(start, start + chunkBytesMax));
  }
}

/** Room is not reserved, so whoever waited for it may find it taken, and waits again. Rejects where the channel has ended. */
async function sendPatiently(channel: Channel, kind: number, payload: Uint8Array | string): Promise<void> {
  while (!channel.send(kind, payload)) await channel.writable();
}

function ignoreRepeatedFailure(): void {
  // The stream has failed already; that it cannot be cancelled either says nothing new.
}

/** A body that arrives as messages. The sender may send as much more as the reader has taken. */
export class ReceivedBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #queue: Uint8Array[] = [];
  #wanted: PromiseWithResolvers<void> | undefined;
  #end: { readonly error: StatefulError | undefined } | undefined;

  constructor(channel: Channel, cancelled: () => void) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          while (this.#queue.length === 0 && this.#end === undefined) await this.#arrival();
          const chunk = this.#queue.shift();
          if (chunk !== undefined) {
            channel.consumed(chunk.length);
            controller.enqueue(chunk);
          } else if (this.#end?.error) controller.error(this.#end.error);
          else controller.close();
        },
        cancel: () => {
          this.#queue.length = 0;
          cancelled();
        },
      },
      { highWaterMark: 0 },
    );
  }

  push(chunk: Uint8Array): void {
    this.#queue.push(chunk);
    this.#wake();
  }

  end(): void {
    this.#end ??= { error: undefined };
    this.#wake();
  }

  fail(error: unknown): void {
    this.#end ??= { error: asStatefulError(error) };
    this.#wake();
  }

  #arrival(): Promise<void> {
    this.#wanted ??= Promise.withResolvers();
    return this.#wanted.promise;
  }

  #wake(): void {
    this.#wanted?.resolve();
    this.#wanted = undefined;
  }
}
