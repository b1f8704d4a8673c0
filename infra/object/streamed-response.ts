const streamed = new WeakSet<Response>();

/**
 * Whether the response carries a body that may still be growing, so that the host holds its chunks to its lease; a plain
 * one passes untouched.
 */
export function isStreamed(response: Response): boolean {
  return streamed.has(response);
}

/** For a response that is made from a streamed one. */
export function markStreamed(response: Response): Response {
  streamed.add(response);
  return response;
}

/** Elysia's functions that make a response from what a handler returned, each with its own further arguments. */
type ResponseMapper<Rest extends unknown[]> = (value: unknown, ...rest: Rest) => unknown;

/** JSON without status, headers or cookies of its own, the usual answer: the runtime makes it faster than `map` does. */
export function jsonFirst(map: (value: unknown, request: unknown) => unknown): ResponseMapper<unknown[]> {
  return (value, request) => (isJson(value) ? Response.json(value) : map(value, request));
}

/** The same function, remembering the responses that are streams. */
export function noteStreams<Rest extends unknown[]>(map: ResponseMapper<Rest>): ResponseMapper<Rest> {
  const mapAndNote: ResponseMapper<Rest> = (value, ...rest) => {
    if (isWhole(value)) return map(value, ...rest);
    // Mapped when it has settled: only then can be told what it is.
    if (value instanceof Promise) return value.then((settled) => mapAndNote(settled, ...rest));
    return note(map(value, ...rest), rest.at(-1));
  };
  return mapAndNote;
}

/** Text, numbers, JSON, errors: all of it is there when the handler returns. Anything else may be a stream or hold one. */
function isWhole(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return typeof value !== "function";
  return value instanceof Error || isJson(value);
}

function isJson(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  if (value.constructor !== Object && !Array.isArray(value)) return false;
  return !("next" in value && typeof value.next === "function");
}

function note(response: unknown, request: unknown): unknown {
  if (response instanceof Promise) return response.then((settled) => note(settled, request));
  if (!(response instanceof Response) || response.body === null) return response;
  if (request instanceof Request && request.method === "HEAD") return withoutBody(response);
  return markStreamed(response);
}

/** Elysia answers a HEAD by reading the GET's body to its end, which a stream may not have. */
function withoutBody(response: Response): Response {
  response.body?.cancel().catch(ignore);
  return new Response(null, response);
}

function ignore(): void {
  // Nobody was going to read it.
}
