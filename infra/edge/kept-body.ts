import { StatefulError } from "../lib/errors.ts";
import { type ForwardHead, keptBodyBytesMax } from "./forward-protocol.ts";
import { hasBody } from "./http-fields.ts";

/** A small body is read once and kept, so that a refusal costs nothing; any other is not touched before `accept`. */
export async function forwardedBody(request: Request): Promise<ForwardHead["body"]> {
  if (!hasBody(request)) return "none";
  const length = request.headers.get("content-length");
  if (length === null || !(Number(length) <= keptBodyBytesMax)) return "stream";
  try {
    return new Uint8Array(await request.arrayBuffer());
  } catch (cause) {
    throw new StatefulError("bad_request", "The body broke off.", { cause });
  }
}

/** The request again, after its small body was read for an offer that was refused. */
export function restored(request: Request, { body }: ForwardHead): Request {
  if (!(body instanceof Uint8Array)) return request;
  const { method, headers, signal, url } = request;
  return new Request(url, { method, headers, signal, body: body as Uint8Array<ArrayBuffer> }); // read above: never shared
}
