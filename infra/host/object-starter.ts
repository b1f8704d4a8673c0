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

export interface ObjectStart {
  readonly ref: ObjectRef;
  readonly runtime: ClassRuntime;
  readonly session: Session;
  readonly epoch: number;
  readonly facts: StartFacts;
  readonly carriedState?: object | undefined;
  readonly edges?: ObjectEdges | undefined;
  readonly topics?: KeptHistories | undefined;
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
  stored: StoredObject | undefined,
): StartFacts["reason"] {
  const { former, session } = acquisition;
  if (former !== "" && processOfSession(former) !== processOfSession(session.id)) return "crash";
  return stored && isStored(stored.loaded) ? "wake" : "create";
}

function isStored({ values, alarms, isComplete }: LoadedObject): boolean {
  return values.size + alarms.size > 0 || !isComplete;
}

/** What came with a move. Data of an older release is brought up to date like any other. */
export function storedOf(
  { stored, version }: MovePackage,
  definition: ClassDefinition,
): StoredObject | undefined {
  if (stored?.record || version === definition.version) return stored;
  const record = new Uint8Array(encodeRecord({ version }));
  const values = new Map([[recordKey, record]]);
  if (stored === undefined)
    return { loaded: { values, isComplete: false, alarms: new Map(), hasAllAlarms: true }, record };
  return { loaded: { ...stored.loaded, values: new Map([...stored.loaded.values, ...values]) }, record };
}
