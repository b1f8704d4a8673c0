import type { Session } from "../lease/leases.ts";
import type { LoadedObject } from "../lease/stored-objects.ts";
import type { Clock } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { KeptHistories } from "../topics/topic-histories.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Activation } from "./activation.ts";
import type { ActivationLife } from "./activation-life.ts";
import type { StoreHost } from "./activation-store.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import type { StoredSpans } from "./history-keeper.ts";
import type { ObjectEdges } from "./object-edges.ts";
import { streamedBytesPerTurn, Turns } from "./turns.ts";
import { WaitingCalls } from "./waiting-calls.ts";
import type { CallsFrom } from "./object-calls.ts";

/** What all activations of a host share. */
export interface ActivationHost extends SharedWaits {
  readonly clock: Clock;
  readonly log: Log;
  /** Calls to other objects, on behalf of an event with that chain of callers. */
  readonly callsFrom: CallsFrom;
  readonly stores: StoreHost;
  /** The edges of an object to which the first client connects. */
  edgesOf(activation: Activation): ObjectEdges;
  /** It can no longer keep what it promises: it is to end, and to be forgotten. */
  broken(activation: ActivationLife, cause: StatefulError): void;
}

/** What events of different objects wait for together. */
interface SharedWaits {
  readonly waitingCalls: WaitingCalls;
  /** What streamed responses take turns by. */
  readonly streamTurns: Turns;
}

export function sharedWaits(clock: Clock): SharedWaits {
  return { waitingCalls: new WaitingCalls(), streamTurns: new Turns(clock, streamedBytesPerTurn) };
}

/** What an activation is made from. */
export interface ActivationSetup {
  readonly ref: ObjectRef;
  readonly runtime: ClassRuntime;
  readonly session: Session;
  readonly epoch: number;
  readonly host: ActivationHost;
  /** State that comes from the activation before: the class's file was replaced in dev, or the object has moved here. */
  readonly carriedState: object | undefined;
  /** The histories of its topics, from the activation before. */
  readonly topics?: KeptHistories | undefined;
  /** What of them is stored; undefined where nobody knows, or where none is. */
  readonly storedTopics?: StoredSpans | undefined;
  /** The edges that hold its sockets, where there are some already. */
  readonly edges?: ObjectEdges | undefined;
  /** What the object has stored; undefined where that was not read: then it is, key by key, when it is asked for. */
  readonly stored: StoredObject | undefined;
}

export interface StoredObject {
  readonly loaded: LoadedObject;
  /** The object's own record, whole; undefined where it has none. */
  readonly record: Uint8Array | undefined;
}
