import { markStreamed } from "../object/streamed-response.ts";

export interface StreamHolder {
  /** Throws where nothing may leave (L3). */
  checkRelease(): void;
  /** Runs once, however the stream ends. */
  ended(): void;
  /** Aborted when the activation is over: a stream whose source waits would otherwise never hear of it. */
  readonly over: AbortSignal;
}

/**
 * A response whose body may still be growing, held to the lease: every chunk passes the release check, and a stream whose
 * owner lost its lease breaks instead of going on. Throws where the body was read before.
 */
export function heldStream(response: Response, holder: StreamHolder): Response {
  const source = response.body?.getReader();
  if (source === undefined) throw new TypeError("The response has no body to hold.");
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isOver = false;
  const finish = () => {
    if (isOver) return;
    isOver = true;
    holder.over.removeEventListener("abort", abort);
    holder.ended();
  };
  const fail = (error: unknown) => {
    finish();
    source.cancel(error).catch(ignore);
    stream?.error(error);
  };
  const abort = () => fail(holder.over.reason);
  const held: UnderlyingDefaultSource<Uint8Array> = {
    start(controller) {
      stream = controller;
      holder.over.addEventListener("abort", abort, { once: true });
    },
    async pull(controller) {
      try {
        const { done, value } = await source.read();
        if (isOver) return;
        holder.checkRelease();
        if (!done) return controller.enqueue(asBytes(value));
        finish();
        controller.close();
      } catch (error) {
        if (!isOver) fail(error);
      }
    },
    cancel(reason) {
      finish();
      return source.cancel(reason).catch(ignore);
    },
  };
  // Nothing is read ahead: a chunk that waited here would have been checked too early.
  const body = new ReadableStream(held, { highWaterMark: 0 });
  return markStreamed(new Response(body, response));
}

/** Elysia's streams, and authors' own, may carry text in spite of their type. */
function asBytes(chunk: Uint8Array | string): Uint8Array {
  return typeof chunk === "string" ? utf8.encode(chunk) : chunk;
}

const utf8 = new TextEncoder();

function ignore(): void {
  // Nobody reads the source any more; that it cannot even be cancelled says nothing new.
}
