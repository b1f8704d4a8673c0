import { StatefulError } from "../lib/errors.ts";
import { isDeeper, jsonDepthMax } from "../lib/json-depth.ts";
import { eventOfContext, type HttpContext } from "./http-context.ts";
import type { SocketData } from "./socket-message.ts";

/** A posted message that is no JSON: a text, or bytes. */
export class EncodedBody {
  readonly data: SocketData;

  constructor(data: SocketData) {
    this.data = data;
  }
}

/**
 * Parses the body of a request that publishes it: JSON, text, or, under any other content type or none, bytes. It is held to the
 * limit of a socket's message, which it becomes: far below that of other bodies.
 */
export function messageBody(bytesMax: number): (context: HttpContext) => Promise<unknown> {
  return async (context) => {
    const { request } = context;
    const [type = ""] = (request.headers.get("content-type") ?? "").toLowerCase().split(";", 1);
    const bytes = await bytesOf(request, bytesMax);
    // As behind Elysia's own parsers: the gate may have been shut meanwhile.
    const event = context[eventOfContext];
    if (event.object.isGateShut) await event.object.waitAtGate(event);
    if (type.trim() === "application/json") return parseJson(decoder.decode(bytes));
    return new EncodedBody(type.startsWith("text/") ? decoder.decode(bytes) : bytes);
  };
}

const decoder = new TextDecoder();

function parseJson(text: string): unknown {
  if (isDeeper(text, jsonDepthMax))
    throw new StatefulError("bad_request", `A message is nested ${jsonDepthMax} deep at most.`);
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new StatefulError("bad_request", "The body is not the JSON that its content type promises.", {
      cause: thrown,
    });
  }
}

/** Refused at once where its length is given, and otherwise as soon as it is over the limit. */
async function bytesOf(request: Request, bytesMax: number): Promise<Uint8Array> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > bytesMax) throw tooLarge(bytesMax);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  return joined(chunks, length);
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function tooLarge(bytesMax: number): StatefulError {
  return new StatefulError("body_too_large", `A message of this class has ${bytesMax} bytes at most.`);
}
