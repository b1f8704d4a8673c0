import type { Told } from "./objects/_talk.ts";

/** A message that a client sent: its own number of it, and when it left. */
export interface Sent {
  readonly n: number;
  readonly atMs: number;
}

export type Heard = Told & { readonly atMs: number };

export interface Closing {
  readonly code: number;
  readonly reason: string;
  readonly atMs: number;
}

/** One connection of a client: all that went over it, in both directions, in its order. */
export interface Connection {
  readonly client: string;
  /** The process that held it, by its host's id. */
  readonly edge: string;
  /** When it was asked for. */
  readonly dialledAtMs: number;
  readonly sent: readonly Sent[];
  readonly heard: readonly Heard[];
  /** How it ended, unless the client ended it. */
  readonly closing: Closing | undefined;
}

/** What a fault may do to a conversation. The rest is an offence. */
export interface Allowance {
  /** On one connection: pieces of what the client sent that nobody answered. */
  readonly unansweredGapsMax: number;
  /** On one connection: pieces of the topic that are missing. */
  readonly topicGapsMax: number;
  /** States that the object may have had, one after the other: 1 where it may not forget. */
  readonly livesMax: number;
  /** Connections that may be closed, by the edge that held them, and with which codes. */
  readonly closings: readonly AllowedClosing[];
}

export interface AllowedClosing {
  /** An id of a host process; `"any"`: all of them. */
  readonly edge: string;
  readonly codes: readonly number[];
}

/** Nothing lost, nothing repeated, nothing overtaken, in either direction, and nobody's socket closed. */
export const nothingMayHappen: Allowance = {
  unansweredGapsMax: 0,
  topicGapsMax: 0,
  livesMax: 1,
  closings: [],
};

/** A planned move: the same, except for the sockets at edges that go away. */
export function plannedMove(edgesThatGo: readonly string[] = []): Allowance {
  return { ...nothingMayHappen, closings: edgesThatGo.map((edge) => ({ edge, codes: [1012] })) };
}

/**
 * A crash: what was under way may be lost, in one piece for each fault and connection; what arrives is in order, and once.
 *
 * @param lives what the class's durability says of its state: 1 where it must be there afterwards
 */
export function crash(faults: number, lives: number, closings: readonly AllowedClosing[]): Allowance {
  return { unansweredGapsMax: faults, topicGapsMax: faults, livesMax: lives, closings };
}
