import type { UpgradeHead } from "./edge-port.ts";

/** The client's request again, from what an edge keeps of it. */
export function upgradeRequest({ kind, url, headers }: UpgradeHead, signal?: AbortSignal): Request {
  const fields = new Headers(headers.map(([name, value]) => [name, value]));
  if (kind !== "event-stream") fields.set("upgrade", "websocket"); // per connection, so it was not kept
  return new Request(url, signal ? { headers: fields, signal } : { headers: fields });
}
