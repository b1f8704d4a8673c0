import type { EdgeName } from "../host/edge-port.ts";
import type { MoveOffer } from "../host/move-ports.ts";
import { StatefulError } from "../lib/errors.ts";
import { type ObjectRef, objectRef } from "../lib/object-ref.ts";

/** Edges that are named in an offer: they are told so that links are there in time, and a head has its limit. */
export const offeredEdgesMax = 256;

/** The head of a move's channel: a target can refuse before anything of the object has travelled. */
export function encodeMoveOffer(offer: MoveOffer): unknown[] {
  const { ref, epoch, toSession, dataVersion, codeVersion, edges } = offer;
  const named = edges.slice(0, offeredEdgesMax).map((edge) => [edge.process, edge.hostId, edge.region]);
  return [ref.className, ref.id, epoch, toSession, dataVersion, codeVersion, named];
}

/** What a later version puts behind it is left alone. Throws `bad_request` for anything that is not an offer. */
export function decodeMoveOffer(value: unknown): MoveOffer {
  if (!isList(value) || value.length < 7) throw malformed("it is too short");
  const [className, id, epoch, toSession, dataVersion, codeVersion, edges] = value;
  if (typeof className !== "string" || typeof id !== "string") throw malformed("object");
  if (!isWhole(epoch) || !isWhole(dataVersion)) throw malformed("epoch or version");
  if (typeof toSession !== "string" || typeof codeVersion !== "string") throw malformed("session or version");
  if (!isList(edges) || edges.length > offeredEdgesMax) throw malformed("edges");
  const ref = refOf(className, id);
  return { ref, epoch, toSession, dataVersion, codeVersion, edges: edges.map(decodeEdge) };
}

function decodeEdge(value: unknown): EdgeName {
  if (!isList(value)) throw malformed("edge");
  const [process, hostId, region] = value;
  if (typeof process !== "string" || typeof hostId !== "string" || typeof region !== "string")
    throw malformed("edge");
  return { process, hostId, region };
}

function refOf(className: string, id: string): ObjectRef {
  try {
    return objectRef(className, id);
  } catch {
    throw malformed("object");
  }
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** `Array.isArray` makes of an unknown value a list of anything. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function malformed(what: string): StatefulError {
  return new StatefulError("bad_request", `The other host sent a malformed offer of a move: ${what}.`);
}
