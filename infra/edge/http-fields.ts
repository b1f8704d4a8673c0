/** Which header fields belong to one connection and so are never forwarded (RFC 9110, section 7.6.1). */
const hopByHop = new Set([
  "connection",
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
 * Meant for whoever answers, whatever a client's `Connection` says: one that names them would have a proxy's word about the client,
 * or its page's origin, taken away on the way to an owner elsewhere.
 */
const endToEnd = new Set([
  "authorization",
  "cookie",
  "forwarded",
  "host",
  "last-event-id",
  "origin",
  "referer",
  "true-client-ip",
  "via",
  "x-client-ip",
  "x-real-ip",
]);
const endToEndPrefixes = ["accept", "cf-", "content-", "fly-", "if-", "sec-", "x-forwarded-"];

export function forwardedHeaders(headers: Headers): [string, string][] {
  const named = headers.get("connection")?.toLowerCase().split(",") ?? [];
  const ofThisConnection = new Set(named.map((name) => name.trim()).filter((name) => !isEndToEnd(name)));
  return [...headers].filter(([name]) => !hopByHop.has(name) && !ofThisConnection.has(name));
}

function isEndToEnd(name: string): boolean {
  return endToEnd.has(name) || endToEndPrefixes.some((prefix) => name.startsWith(prefix));
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
