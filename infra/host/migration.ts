import type { LoadedObject } from "../lease/stored-objects.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { ClassDefinition } from "../object/options.ts";
import type { ActivationStore } from "./activation-store.ts";
import { keysOf } from "./storage-handles.ts";

export interface StoredVersion {
  readonly ref: ObjectRef;
  readonly definition: ClassDefinition;
  readonly state: object;
  readonly loaded: LoadedObject;
  /** Of the object's record; undefined where it has none. */
  readonly version: number | undefined;
}

/** The version of what is stored. What was stored before there were versions is of version 1; nothing is of the class's. */
export function versionOf({ definition, loaded, version }: StoredVersion): number {
  const isNew = loaded.values.size === 0 && loaded.isComplete && loaded.alarms.size === 0;
  return version ?? (isNew ? definition.version : 1);
}

/**
 * Brings what an object has stored to its class's version, in one transaction that also writes the version down: it
 * happens once or not at all. Rejects, and with that the start, where the data is newer than the class.
 */
export async function migrateStored(store: ActivationStore, stored: StoredVersion): Promise<void> {
  const { definition, ref, state } = stored;
  const from = versionOf(stored);
  if (from > definition.version) throw tooNew(ref, from, definition.version);
  if (from === definition.version) return;
  await store.storage.transaction(undefined, async (transaction) => {
    await definition.migrate?.(keysOf(store.storage, transaction), from, state);
    store.setVersion(definition.version);
  });
}

function tooNew(ref: ObjectRef, stored: number, known: number): StatefulError {
  const message = `${ref.key} is stored in version ${stored}, and this host's class knows ${known}. A newer release has written it.`;
  return new StatefulError("start_failed", message, { retryAfterMs: 1000 });
}
