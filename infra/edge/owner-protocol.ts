import { packValue, unpackChecked } from "../link/msgpack.ts";
import { StatefulError } from "../lib/errors.ts";
import { type ObjectRef, objectRef } from "../lib/object-ref.ts";
import type { ExplainedOwner } from "../placement/explain.ts";
import type { ExplainedLife } from "../placement/explain-life.ts";
import type { MoveWish } from "../placement/move-targets.ts";

/**
 * What an edge asks the owner of an object that is no event of that object: to move it, which waits for its events, and how it
 * is, which must not wake it.
 *
 *   edge                                          owner
 *   open([question, class, id, intent, wish])  →
 *                                              ←  refuse(code, who owns it)      … the edge asks somebody else
 *                                              ←  answer(…)                      or closed, with what went wrong
 *
 * What a later version puts behind a list is left alone.
 */
export const ownerPurpose = "owner";

export const fromOwner = { answer: 1, refuse: 2 } as const;

export type OwnerQuestion =
  | {
      readonly question: "move";
      readonly ref: ObjectRef;
      readonly intent: "own" | "place";
      readonly wish: MoveWish;
    }
  | { readonly question: "explain"; readonly ref: ObjectRef };

export interface MovedObject {
  readonly from: HostName;
  readonly to: HostName;
  /** Who owns it now, for the asking edge's routes. */
  readonly session: string;
  readonly epoch: number;
  readonly pauseMs: number;
}

export interface HostName {
  readonly hostId: string;
  readonly region: string;
}

/** How an object is, as its owner says. It carries neither sessions nor addresses (P8). */
export interface OwnerAccount {
  readonly owner: ExplainedOwner;
  /** Missing while it sleeps. */
  readonly life: ExplainedLife | undefined;
  readonly isAsleep: boolean;
  /** What keeps it awake. */
  readonly awake: { readonly events: number; readonly timers: number };
  /** Edges that hold sockets of it; how many sockets there are is not known while it sleeps. */
  readonly edges: number;
  readonly sockets: number | undefined;
}

export function encodeQuestion(asked: OwnerQuestion): unknown[] {
  const { question, ref } = asked;
  if (asked.question === "explain") return [question, ref.className, ref.id, "own", null];
  return [question, ref.className, ref.id, asked.intent, asked.wish];
}

export function decodeQuestion(value: unknown): OwnerQuestion {
  if (!Array.isArray(value)) throw malformed("question");
  const [question, className, id, intent, wish]: unknown[] = value;
  if (typeof className !== "string" || typeof id !== "string") throw malformed("object");
  const ref = refOf(className, id);
  if (question === "explain") return { question, ref };
  if (question !== "move") throw malformed("question: this version does not know it");
  if (intent !== "own" && intent !== "place") throw malformed("intent");
  return { question, ref, intent, wish: decodeWish(wish) };
}

function decodeWish(value: unknown): MoveWish {
  const { region, hostId } = fieldsOf(value, "wish");
  if (typeof region === "string" && hostId === undefined) return { region };
  if (typeof hostId === "string" && region === undefined) return { hostId };
  throw malformed("wish");
}

export function encodeMoved({ from, to, session, epoch, pauseMs }: MovedObject): Uint8Array {
  return packValue([from.hostId, from.region, to.hostId, to.region, session, epoch, pauseMs]);
}

export function decodeMoved(bytes: Uint8Array): MovedObject {
  const [fromHost, fromRegion, toHost, toRegion, session, epoch, pauseMs] = list(bytes, "answer");
  return {
    from: { hostId: text(fromHost), region: text(fromRegion) },
    to: { hostId: text(toHost), region: text(toRegion) },
    session: text(session),
    epoch: count(epoch),
    pauseMs: amount(pauseMs),
  };
}

export function encodeAccount({ owner, life, isAsleep, awake, edges, sockets }: OwnerAccount): Uint8Array {
  const { hostId, region, epoch, sinceMs, reason, movedFor } = owner;
  const facts = [hostId, region, epoch, sinceMs ?? null, reason ?? null, movedFor ?? null];
  return packValue([facts, life ?? null, isAsleep, awake.events, awake.timers, edges, sockets ?? null]);
}

export function decodeAccount(bytes: Uint8Array): OwnerAccount {
  const [facts, life, isAsleep, events, timers, edges, sockets] = list(bytes, "account");
  if (!Array.isArray(facts) || typeof isAsleep !== "boolean") throw malformed("account");
  return {
    owner: decodeOwner(facts),
    life: life === null ? undefined : decodeLife(life),
    isAsleep,
    awake: { events: count(events), timers: count(timers) },
    edges: count(edges),
    sockets: sockets === null ? undefined : count(sockets),
  };
}

function decodeOwner([hostId, region, epoch, sinceMs, reason, movedFor]: unknown[]): ExplainedOwner {
  return {
    hostId: text(hostId),
    region: text(region),
    epoch: count(epoch),
    sinceMs: sinceMs === null ? undefined : amount(sinceMs),
    reason: reason === null ? undefined : text(reason),
    movedFor: isMoveKind(movedFor) ? movedFor : undefined,
  };
}

/** For people to read: of what a host of another version may have added or left out only the shape is looked at. */
function decodeLife(value: unknown): ExplainedLife {
  const life = fieldsOf(value, "account");
  fieldsOf(life.traffic, "account");
  fieldsOf(life.follow, "account");
  if (!Array.isArray(life.nearer)) throw malformed("account");
  return life as unknown as ExplainedLife; // as far as was checked: it becomes JSON, and nothing here reads it
}

function isMoveKind(value: unknown): value is NonNullable<ExplainedOwner["movedFor"]> {
  return value === "drain" || value === "memory" || value === "follow" || value === "operator";
}

function refOf(className: string, id: string): ObjectRef {
  try {
    return objectRef(className, id);
  } catch {
    throw malformed("object");
  }
}

function list(bytes: Uint8Array, what: string): readonly unknown[] {
  let value: unknown;
  try {
    value = unpackChecked(bytes);
  } catch {
    throw malformed(what);
  }
  if (!Array.isArray(value)) throw malformed(what);
  return value;
}

function fieldsOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(what);
  return { ...value };
}

function text(value: unknown): string {
  if (typeof value !== "string") throw malformed("answer");
  return value;
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw malformed("answer");
  return value;
}

function amount(value: unknown): number {
  if (typeof value !== "number" || !(value >= 0 && value < Number.POSITIVE_INFINITY))
    throw malformed("answer");
  return value;
}

function malformed(what: string): StatefulError {
  return new StatefulError("bad_request", `The other host sent a malformed ${what}.`);
}
