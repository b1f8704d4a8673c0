import { markStreamed } from "../object/streamed-response.ts";

export interface StreamHolder {
  /** What a chunk of that size waits for, so that others have their turns; undefined where it may go on now. */
  turn(bytes: number): Promise<void> | undefined;
  /** What the next chunk waits for; undefined where it may leave now. Throws, or rejects, where nothing may leave (L3). */
  released(): Promise<void> | undefined;
  /** Runs once, however the stream ends. */
  ended(): void;
}

/**
 * A response whose body may still be growing, held to the lease: every chunk passes the output gate, and a stream whose
 * owner lost its lease breaks instead of going on.
 */
export class HeldStream {
  readonly response: Response;
  /** Whether its client asks again by itself, from where it was: an event stream (HTML standard, 9.2). */
  readonly isResumable: boolean;
  readonly #source: ReadableStreamDefaultReader<Uint8Array | string>;
  readonly #holder: StreamHolder;
  #sink: ReadableStreamDefaultController<Uint8Array> | undefined;
  #isOver = false;

  /** Throws where the body was read before. */
  constructor(response: Response, holder: StreamHolder) {
    const source = response.body?.getReader();
    if (source === undefined) throw new TypeError("The response has no body to hold.");
    this.#source = source;
    this.#holder = holder;
    this.isResumable = /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
    const held: UnderlyingDefaultSource<Uint8Array> = {
      start: (controller) => {
        this.#sink = controller;
      },
      pull: (controller) => this.#pull(controller),
      cancel: (reason) => {
        this.#finish();
        return source.cancel(reason).catch(ignore);
      },
    };
    // Nothing is read ahead: a chunk that waited here would have been checked too early.
    const body = new ReadableStream(held, { highWaterMark: 0 });
    this.response = markStreamed(new Response(body, response));
  }

  /** Ends it as if it were complete. */
  end(): void {
    if (this.#isOver) return;
    this.#finish();
    this.#source.cancel().catch(ignore);
    this.#sink?.close();
  }

  /** Breaks it, so that nobody takes what has come for the whole. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#finish();
    this.#source.cancel(error).catch(ignore);
    this.#sink?.error(error);
  }

  async #pull(sink: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      const { done, value } = await this.#source.read();
      if (this.#isOver) return;
      const chunk = done ? undefined : asBytes(value);
      if (chunk) await this.#holder.turn(chunk.byteLength);
      await this.#holder.released();
      if (this.#isOver) return;
      if (chunk) return sink.enqueue(chunk);
      this.#finish();
      sink.close();
    } catch (error) {
      this.fail(error);
    }
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#holder.ended();
  }
}

/** Elysia's streams, and authors' own, may carry text in spite of their type. */
function asBytes(chunk: Uint8Array | string): Uint8Array {
  return typeof chunk === "string" ? utf8.encode(chunk) : chunk;
}

const utf8 = new TextEncoder();

function ignore(): void {
  // Nobody reads the source any more; that it cannot even be cancelled says nothing new.
}
