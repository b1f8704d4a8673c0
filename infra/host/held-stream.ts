import { markStreamed } from "../object/streamed-response.ts";

/**
 * A response whose body may still be growing, held to the lease: every chunk passes the release check, and a stream whose
 * owner lost its lease breaks instead of going on. `ended` runs once, however the stream ends.
 */
export function heldStream(response: Response, checkRelease: () => void, ended: () => void): Response {
  const source = response.body?.getReader();
  if (source === undefined) {
    ended();
    return response;
  }
  let isOver = false;
  const finish = () => {
    if (isOver) return;
    isOver = true;
    ended();
  };
  const held: UnderlyingDefaultSource<Uint8Array> = {
    async pull(controller) {
      try {
        const { done, value } = await source.read();
        checkRelease();
        if (!done) return controller.enqueue(asBytes(value));
        finish();
        controller.close();
      } catch (error) {
        finish();
        source.cancel(error).catch(ignore);
        controller.error(error);
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
