import type { UpgradeHead } from "../host/edge-port.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { newSocketId } from "./attached-edges.ts";
import type { EdgeSocket } from "./edge-socket.ts";
import type { EdgeSockets } from "./edge-sockets.ts";
import { wantsEventStream, wantsWebSocket } from "./http-fields.ts";

/** What the process around the edge does for it: Bun's server, in production. */
export interface Frontend {
  /** Answers a WebSocket upgrade; false where the client cannot be upgraded any more. */
  upgrade(request: Request, headers: Headers | undefined, socket: EdgeSocket): boolean;
  clientAddress(request: Request): string;
}

/** An upgrade on its way to the owner, or to its refusal. */
export interface WantedUpgrade {
  readonly head: UpgradeHead;
  readonly frontend: Frontend;
  readonly client: { readonly socketId: string; readonly clientAddress: string };
  /** Reserved from the start, and given back unless an owner was attached to it. */
  readonly socket: EdgeSocket;
}

/**
 * Takes the connection's place at once, so that upgrades that wait for their hooks count as well.
 *
 * @param headBytes what the head takes that is nobody else's
 * @throws StatefulError `host_full` or `address_limit`
 */
export function reserve(
  sockets: EdgeSockets,
  frontend: Frontend,
  { ref, request }: { readonly ref: ObjectRef; readonly request: Request },
  head: UpgradeHead,
  headBytes: number,
): WantedUpgrade {
  if (sockets.isFull) throw hostFull();
  const clientAddress = frontend.clientAddress(request);
  const counted = head.kind === "subscription" ? undefined : clientAddress;
  const socket = sockets.add(ref, headBytes, counted);
  return { head, frontend, client: { socketId: newSocketId(), clientAddress }, socket };
}

export function hostFull(): StatefulError {
  return new StatefulError("host_full", "This host holds all the sockets it may.", { retryAfterMs: 1000 });
}

/** What a client asks for with its headers. That it is a subscription no header can say. */
export function wantedKind(request: Request): "websocket" | "event-stream" | undefined {
  if (wantsWebSocket(request)) return "websocket";
  return wantsTopicStream(request) ? "event-stream" : undefined;
}

/** Event streams of declared topics are held by the edge; those that a handler makes are ordinary responses. */
function wantsTopicStream(request: Request): boolean {
  return request.url.includes("/-/topics/") && wantsEventStream(request);
}
