import { asStatefulError, StatefulError } from "../lib/errors.ts";
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
 * unread. Never rejects; a stream that fails, and a channel that ends, both end the sending.
 */
export async function pumpBody(
  stream: ReadableStream<Uint8Array>,
  channel: Channel,
  kinds: BodyKinds,
): Promise<void> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await sendChunks(chunkBytes(value), channel, kinds.body);
    }
    sendOrClose(channel, kinds.bodyEnd, "");
  } catch (thrown) {
    reader.cancel(thrown).catch(ignoreRepeatedFailure);
    if (channel.isOpen) sendOrClose(channel, kinds.bodyFailed, "");
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
    sendOrClose(channel, kind, bytes.subarray(start, start + chunkBytesMax));
  }
}

function sendOrClose(channel: Channel, kind: number, payload: Uint8Array | string): void {
  if (channel.send(kind, payload)) return;
  const error = new StatefulError("link_overloaded", "The link between the two hosts is congested.");
  channel.close(error);
  throw error;
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
