import { InvalidCookieSignature, NotFoundError, ParseError, ValidationError } from "elysia";
import { problem, StatefulError } from "../lib/errors.ts";
import { eventOfContext, type HttpContext } from "./http-context.ts";
import { responseHeaders } from "./response-headers.ts";

/**
 * The answer to what no hook of the author's handled: a problem document (RFC 9457) that shows nothing internal. The
 * headers set so far stay on it, those that describe a body excepted: without its CORS headers a browser cannot read why
 * a request failed.
 */
export function failureResponse(context: HttpContext, thrown: unknown): Response {
  const response = problem(failureOf(context, thrown));
  for (const [name, value] of responseHeaders(context) ?? []) {
    const describesBody = name.startsWith("content-") || name === "transfer-encoding";
    const isOurs = name !== "set-cookie" && response.headers.has(name);
    if (!describesBody && !isOurs) response.headers.append(name, value);
  }
  return response;
}

function failureOf(context: HttpContext, thrown: unknown): StatefulError {
  if (thrown instanceof StatefulError) return thrown;
  if (thrown instanceof ValidationError) {
    // An answer that breaks its own schema is the handler's mistake, not the client's.
    return thrown.type === "response" ? handlerFailed(context, thrown) : invalidInput(thrown);
  }
  if (thrown instanceof ParseError) {
    if (thrown.cause instanceof StatefulError) return thrown.cause; // the body itself broke off, for being too long
    return new StatefulError("bad_request", "The body cannot be parsed as its content type says.");
  }
  if (thrown instanceof InvalidCookieSignature) {
    return new StatefulError("bad_request", "A cookie's signature does not match.");
  }
  if (thrown instanceof NotFoundError) {
    return new StatefulError("not_found", `No route of this class matches ${context.path.slice(0, 200)}.`);
  }
  // The body breaks off with its client, who reads no answer any more: neither is anybody's failure.
  if (context.request.signal.aborted && isAbort(thrown)) {
    return new StatefulError("bad_request", "The client left before its request was whole.");
  }
  // What a schema's Decode threw, which Elysia passes on bare.
  if (context.set.status === 422) return new StatefulError("invalid_input", "The input cannot be decoded.");
  return handlerFailed(context, thrown);
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "AbortError";
}

function handlerFailed(context: HttpContext, thrown: unknown): StatefulError {
  const event = context[eventOfContext];
  const errorId = event.object.reportFailure(thrown, event);
  const message = `The handler failed. The log has it under ${errorId}.`;
  return new StatefulError("handler_failed", message, { details: { errorId } });
}

function invalidInput(error: ValidationError): StatefulError {
  const first = error.all.find((issue) => issue.summary !== undefined);
  const where = first !== undefined && "path" in first ? first.path : "";
  const detail = `${error.type}${where}: ${first?.summary ?? "does not match the schema"}`;
  return new StatefulError("invalid_input", detail, { details: { on: error.type, at: where } });
}
