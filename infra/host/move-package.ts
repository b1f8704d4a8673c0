import { StatefulError } from "../lib/errors.ts";
import { recordKey, type StoredAlarm } from "../lease/stored-objects.ts";
import { decodeValue, encodeValue } from "../storage/storage-codec.ts";
import type { KeptHistories } from "../topics/topic-histories.ts";
import type { StoredObject } from "./activation-setup.ts";
import type { StoredSpans } from "./history-keeper.ts";
import type { MoveReason } from "./move-ports.ts";
import type { EdgeRecords } from "./object-edges.ts";

/** A package over this is not sent: such an object is moved by hand of its author, or not at all. */
export const moveBytesMax = 256 * 1024 * 1024;

/** All that an object is, beside what the directory has of it. */
export interface MovePackage {
  /** Undefined for an object that sleeps: its state is what is stored. */
  readonly state: object | undefined;
  /** Version of its class's data. */
  readonly version: number;
  /** What `onMoveOut` returned. */
  readonly carried: unknown;
  /** Undefined where nothing is known of what it has stored. */
  readonly stored: StoredObject | undefined;
  readonly edges: readonly EdgeRecords[];
  /** The histories of its topics; undefined where none has one. */
  readonly topics?: KeptHistories | undefined;
  /** What of them the directory has; missing where their class does not store them, or nobody knows. */
  readonly storedTopics?: StoredSpans | undefined;
  /** When it took its last event, by the directory's clock; undefined where nobody knows. */
  readonly sinceMs: number | undefined;
  readonly nextAlarmMs: number | undefined;
  /** Missing where the host that it comes from is of a version without. */
  readonly note?: MoveNote | undefined;
}

/** Why an object moves, for the host that it goes to, and what whoever decides on moves wants to find there again. */
export interface MoveNote {
  readonly reason: MoveReason;
  /** Not looked at on the way: `apps/server/object-traffic.ts` writes and reads them. */
  readonly traffic: unknown;
  readonly followed: unknown;
}

/** @throws StatefulError `storage_limit`, or the codec's error for state that cannot be cloned. */
export function encodePackage(moved: MovePackage): Uint8Array {
  const { stored, ...rest } = moved;
  const packed = stored && {
    values: stored.loaded.values,
    isComplete: stored.loaded.isComplete,
    alarms: stored.loaded.alarms,
    hasAllAlarms: stored.loaded.hasAllAlarms,
    record: stored.record,
  };
  return encodeValue({ ...rest, stored: packed }, "A moving object", moveBytesMax);
}

/** From a host of the cluster, which is trusted; that it is of another version is what is checked. */
export function decodePackage(bytes: Uint8Array): MovePackage {
  const value = decodeValue(bytes) as PackedMove | undefined; // checked below, as far as versions may differ
  if (!value || !Array.isArray(value.edges) || typeof value.version !== "number")
    throw new StatefulError("bad_request", "The other host sent a malformed object.");
  const { stored, ...given } = value;
  const rest = { ...given, edges: given.edges.map(withPresence) };
  if (stored === undefined) return { ...rest, stored: undefined };
  const { values, isComplete, alarms, hasAllAlarms, record } = stored;
  return { ...rest, stored: { loaded: { values, isComplete, alarms, hasAllAlarms }, record } };
}

/** Hosts of the release before presence have none in their records. */
function withPresence({ records, ...edge }: EdgeRecords): EdgeRecords {
  return { ...edge, records: records.map((record) => ({ ...record, presence: record.presence ?? [] })) };
}

interface PackedMove extends Omit<MovePackage, "stored"> {
  readonly stored:
    | {
        readonly values: ReadonlyMap<string, Uint8Array | undefined>;
        readonly isComplete: boolean;
        readonly alarms: ReadonlyMap<string, StoredAlarm>;
        readonly hasAllAlarms: boolean;
        readonly record: Uint8Array | undefined;
      }
    | undefined;
}

/** Values beyond this many bytes stay behind: the target reads them when they are asked for. */
const carriedBytesMax = 4 * 1024 * 1024;

/** What is known of an object's keys, cut to what is worth carrying. */
export function carriedValues(
  known: ReadonlyMap<string, Uint8Array | undefined>,
  record: Uint8Array | undefined,
): Map<string, Uint8Array | undefined> {
  let bytes = 0;
  const values = new Map<string, Uint8Array | undefined>();
  for (const [key, value] of known) {
    bytes += value?.length ?? 0;
    values.set(key, bytes > carriedBytesMax ? undefined : value);
  }
  if (record) values.set(recordKey, record);
  return values;
}
