import { problem, StatefulError } from "../lib/errors.ts";

/**
 * The request with its body held to the limit: refused at once where the client says that it is longer (the answer is
 * the 413 to send), broken off where a body of unknown length turns out to be.
 */
export function limitBody(request: Request, bytesMax: number): Request | Response {
  if (request.method === "GET" || request.method === "HEAD") return request;
  const declared = request.headers.get("content-length");
  if (declared !== null) return Number(declared) > bytesMax ? problem(tooLarge(bytesMax)) : request;
  if (request.body === null) return request;
  const limited = request.body.pipeThrough(countBytes(bytesMax));
  // Streaming a request body asks for `duplex` (Fetch standard); the types of RequestInit do not know it yet.
  return new Request(request, { body: limited, duplex: "half" } as RequestInit);
}

function countBytes(bytesMax: number): TransformStream<Uint8Array, Uint8Array> {
  let bytes = 0;
  return new TransformStream({
    transform(chunk, controller) {
      bytes += chunk.length;
      if (bytes > bytesMax) controller.error(tooLarge(bytesMax));
      else controller.enqueue(chunk);
    },
  });
}

function tooLarge(bytesMax: number): StatefulError {
  return new StatefulError("body_too_large", `The body is over the class's limit of ${bytesMax} bytes.`);
}
