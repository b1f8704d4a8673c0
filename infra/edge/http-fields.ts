/** Which header fields belong to one connection and so are never forwarded (RFC 9110, section 7.6.1). */
const hopByHop = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Those that go to an owner elsewhere, or come from there. They are told by their names alone, and not by what a `Connection` field
 * names besides: to a client all hosts are one server, behind which nothing is a connection of HTTP, and a handler at the edge itself
 * sees such a field too. A client that could take fields away would do so with what a proxy, or a browser, says of it, under whatever
 * name.
 */
export function forwardedHeaders(headers: Headers): [string, string][] {
  return [...headers].filter(([name]) => !hopByHop.has(name));
}

export function wantsWebSocket(request: Request): boolean {
  return request.method === "GET" && request.headers.get("upgrade")?.toLowerCase() === "websocket";
}

export function wantsEventStream(request: Request): boolean {
  return request.method === "GET" && (request.headers.get("accept")?.includes("text/event-stream") ?? false);
}

/** Methods whose handlers must not have effects (RFC 9110, section 9.2.1): sending such a request twice is harmless. */
export function isSafeMethod(method: string): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS" || method === "TRACE";
}

export function hasBody(request: Request): boolean {
  return request.method !== "GET" && request.method !== "HEAD" && request.body !== null;
}
