import type { LastWord, OwnerFacts } from "../host/edge-port.ts";
import { packValue as pack } from "../link/msgpack.ts";
import { decodePairs, isCount, listOf, malformed, type Payload, unpackList } from "./socket-protocol.ts";

/** An owner says who it is. */
export interface Hello extends Omit<OwnerFacts, "ref"> {
  /** Names the attachment at its owner, for an edge that comes back to it. */
  readonly port: string;
  /** Number of the last command before those that follow: 0, or what the edge said that it has applied. */
  readonly after: number;
  /** Number of the last command that was given before this: up to there, what follows is older than the cursors. */
  readonly upTo: number;
  /** How many messages of each socket are taken. */
  readonly cursors: ReadonlyMap<number, number>;
}

export function encodeHello(hello: Hello): Uint8Array {
  const { epoch, session, port, after, upTo, autoResponse, redeliver, wakeOnClose, before } = hello;
  const answer = autoResponse ? [autoResponse.request, autoResponse.response] : null;
  const last = before ? [before.port, before.count] : null;
  const cursors: number[] = [];
  for (const [number, taken] of hello.cursors) cursors.push(number, taken);
  return pack([epoch, session, port, after, upTo, answer, redeliver, wakeOnClose, cursors, last]);
}

export function decodeHello(payload: Payload): Hello {
  const [epoch, session, port, after, upTo, answer, redeliver, wakeOnClose, cursors, last] = unpackList(
    payload,
    "hello",
  );
  if (!isCount(epoch) || typeof session !== "string" || typeof port !== "string") throw malformed("hello");
  if (!isCount(after) || !isCount(upTo) || after > upTo) throw malformed("hello");
  if (typeof redeliver !== "boolean" || typeof wakeOnClose !== "boolean") throw malformed("hello");
  const autoResponse = answer === null ? undefined : decodeAnswer(answer);
  const pairs = new Map(decodePairs(cursors, "hello"));
  const before = last === null ? undefined : decodeLastWord(last);
  return { epoch, session, port, after, upTo, autoResponse, redeliver, wakeOnClose, before, cursors: pairs };
}

function decodeLastWord(value: unknown): LastWord {
  const [port, count] = listOf(value, "hello");
  if (typeof port === "string" && isCount(count)) return { port, count };
  throw malformed("hello");
}

function decodeAnswer(value: unknown): { readonly request: string; readonly response: string } {
  const [request, response] = listOf(value, "hello");
  if (typeof request !== "string" || typeof response !== "string") throw malformed("hello");
  return { request, response };
}
