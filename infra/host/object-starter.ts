import type { Acquisition, Leases, Session } from "../lease/leases.ts";
import type { LoadedObject } from "../lease/stored-objects.ts";
import { recordKey } from "../lease/stored-objects.ts";
import { processOfSession } from "../lease/session-id.ts";
import { asStatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { StartFacts } from "../object/context.ts";
import type { ClassDefinition } from "../object/options.ts";
import type { KeptHistories } from "../topics/topic-histories.ts";
import { startingState } from "../storage/state-keeper.ts";
import { encodeRecord } from "../storage/storage-codec.ts";
import { Activation } from "./activation.ts";
import type { ActivationHost, StoredObject } from "./activation-setup.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import { readTopics, type StoredTopics } from "./history-rows.ts";
import type { MovePackage } from "./move-package.ts";
import type { ObjectEdges } from "./object-edges.ts";
import { checkCloneable } from "./start-refusals.ts";

export interface ObjectStarterSetup {
  readonly host: ActivationHost;
  readonly leases: Pick<Leases, "release">;
  readonly checkState: boolean;
  /** It is there, and starting: from here on whoever asks for it finds it. */
  began(activation: Activation): void;
  /** It could not start, and is over. */
  failed(activation: Activation): void;
}

/** An object that is ours to start. */
export interface ObjectLease {
  readonly ref: ObjectRef;
  readonly runtime: ClassRuntime;
  readonly session: Session;
  readonly epoch: number;
}

export interface ObjectStart extends ObjectLease {
  readonly facts: StartFacts;
  readonly carriedState?: object | undefined;
  readonly edges?: ObjectEdges | undefined;
  readonly topics?: KeptHistories | undefined;
  readonly storedTopics?: StoredTopics["storedTopics"] | undefined;
  readonly stored?: StoredObject | undefined;
  /** For `onMoveIn`. */
  readonly carried?: unknown;
  /** Where it cannot start, it stays ours: what came of it is kept for whoever asks next. */
  readonly keepsLease?: boolean;
}

/** Makes the live copy of an object whose lease is ours, and runs its start. */
export class ObjectStarter {
  readonly #setup: ObjectStarterSetup;

  constructor(setup: ObjectStarterSetup) {
    this.#setup = setup;
  }

  /** Rejects with a `StatefulError`; then the lease is given back, and sockets are closed with it. */
  async start({ facts, stored, carried, keepsLease = false, ...start }: ObjectStart): Promise<Activation> {
    const { host, leases, checkState, began, failed } = this.#setup;
    const { ref, edges } = start;
    let activation: Activation | undefined;
    try {
      activation = new Activation({ ...start, carriedState: start.carriedState, host, stored });
      if (checkState) checkCloneable(activation);
      began(activation);
      edges?.starting(activation);
      await activation.start(facts, stored, carried);
      host.log.debug("object.started", { object: ref.key, epoch: start.epoch, reason: facts.reason });
      if (activation.isLive) edges?.open();
      return activation;
    } catch (thrown) {
      const cause = asStatefulError(thrown, "start_failed");
      if (cause !== thrown) host.log.error("object.start.failed", { object: ref.key, error: thrown });
      activation?.end(cause);
      if (activation) failed(activation);
      (activation?.attachedEdges ?? edges)?.close(cause);
      // The next session may have adopted it while it started: then the lease has a later epoch.
      if (!keepsLease) leases.release({ object: ref, epoch: activation?.epoch ?? start.epoch });
      throw cause;
    }
  }

  /** What the object has stored, as far as it is not there yet. */
  async found(ref: ObjectRef, runtime: ClassRuntime, loaded: LoadedObject): Promise<StoredParts> {
    const [stored, topics] = await Promise.all([this.stored(ref, loaded), this.topics(ref, runtime)]);
    return { stored, ...topics };
  }

  /** The same without its topics. */
  async stored(ref: ObjectRef, loaded: LoadedObject): Promise<StoredObject> {
    const { reader } = this.#setup.host.stores;
    const alarms = loaded.hasAllAlarms ? loaded.alarms : await reader.alarmsOf(ref);
    // The object's own record. One that is too large to come with the lease is read.
    const isLarge = loaded.values.has(recordKey) && loaded.values.get(recordKey) === undefined;
    const record = isLarge
      ? await reader.read({ object: ref, key: recordKey })
      : loaded.values.get(recordKey);
    return { loaded: { ...loaded, alarms, hasAllAlarms: true }, record };
  }

  /** Its topics alone, where its class stores them, or what is in memory of them. To be asked while the lease is ours. */
  async topics(ref: ObjectRef, { definition }: ClassRuntime, inMemory?: KeptHistories) {
    const { durability, histories } = definition;
    if (inMemory) return notStored(inMemory);
    if (durability !== "storage" || histories.size === 0) return undefined;
    return readTopics(this.#setup.host.stores.reader, ref, histories);
  }
}

/** All that an object has stored. */
export interface StoredParts {
  readonly stored: StoredObject;
  readonly topics?: KeptHistories | undefined;
  readonly storedTopics?: StoredTopics["storedTopics"] | undefined;
}

/** Histories that were in memory alone: whatever is stored is of an earlier time. */
export function notStored(topics: KeptHistories | undefined) {
  return { topics, storedTopics: undefined };
}

/** What a class whose file was replaced in dev, or an object whose start failed after a move, goes on from. */
export function withDefaults(runtime: ClassRuntime, carried: object | undefined): object | undefined {
  return carried && startingState(runtime.definition.state(), carried);
}

/** Whether what an object has stored is read with its lease: where its class is sure to use it. */
export function loadsWithLease(definition: ClassDefinition | undefined): boolean {
  if (definition === undefined) return false;
  const { durability, version, onAlarm, onStart } = definition;
  // `onStart` is told whether anything is stored.
  return durability !== "memory" || version > 1 || onAlarm !== undefined || onStart !== undefined;
}

/** Why an object starts that nobody here had anything of. */
export function reasonOf(
  acquisition: Extract<Acquisition, { owned: true }>,
  found: StoredParts | undefined,
): StartFacts["reason"] {
  const { former, session } = acquisition;
  if (former !== "" && processOfSession(former) !== processOfSession(session.id)) return "crash";
  return found && isStored(found) ? "wake" : "create";
}

function isStored({ stored: { loaded }, storedTopics }: StoredParts): boolean {
  const { values, alarms, isComplete } = loaded;
  return values.size + alarms.size + (storedTopics?.size ?? 0) > 0 || !isComplete;
}

/** What came with a move. Data of an older release is brought up to date like any other. */
export function storedOf(
  { stored, version }: MovePackage,
  definition: ClassDefinition,
): StoredObject | undefined {
  // Where the release before stored nothing of it, and this one does, all of it is yet to be written.
  const isUnknown = stored === undefined && definition.durability !== "memory";
  if (stored?.record || (version === definition.version && !isUnknown)) return stored;
  const record = new Uint8Array(encodeRecord({ version }));
  const values = new Map([[recordKey, record]]);
  if (stored === undefined)
    return { loaded: { values, isComplete: false, alarms: new Map(), hasAllAlarms: true }, record };
  return { loaded: { ...stored.loaded, values: new Map([...stored.loaded.values, ...values]) }, record };
}
