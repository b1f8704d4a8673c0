import type { SocketRecord, UpgradeHead } from "../host/edge-port.ts";
import { packValue as pack } from "../link/msgpack.ts";
import { isSocketKind } from "../object/event.ts";
import type { PresentIn } from "../topics/topic-presence.ts";
import {
  isBytesOrNull,
  isCount,
  isTextOrNull,
  isTexts,
  listOf,
  malformed,
  type Payload,
  unpackList,
} from "./socket-protocol.ts";

/** The records of sockets, and the heads of their upgrades, as an edge sends them: the long messages of an attachment. */

/** A roll is sent in parts of about this size, so that it does not hold up what shares the link with it. */
const rollPartBytes = 64 * 1024;
/** Bytes of a record beside its texts, about. */
const recordBytes = 64;

/** The records, packed: one message for each part. */
export function encodeRoll(records: readonly SocketRecord[], scope: RollScope): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  let part: unknown[] = [];
  let bytes = 0;
  for (const record of records) {
    part.push(listOfRecord(record));
    bytes += sizeOf(record);
    if (bytes < rollPartBytes) continue;
    parts.push(pack([scope, part]));
    part = [];
    bytes = 0;
  }
  if (part.length > 0) parts.push(pack([scope, part]));
  return parts;
}

export function decodeRoll(payload: Payload): Roll {
  const [scope, records] = unpackList(payload, "roll");
  if (!isScope(scope)) throw malformed("roll");
  return { scope, records: listOf(records, "roll").map(decodeRecord) };
}

function listOfRecord(record: SocketRecord): unknown[] {
  const { number, id, remoteAddress, kind, phase, subscriptions, tags, attachment, handled } = record;
  const presence = record.presence.flatMap(([topic, { data, watches }]) => [topic, data ?? null, watches]);
  return [number, id, remoteAddress, kind, phase, subscriptions, tags, attachment ?? null, handled, presence];
}

function sizeOf({ subscriptions, tags, attachment, presence }: SocketRecord): number {
  let bytes = recordBytes + (attachment?.length ?? 0);
  for (const text of subscriptions) bytes += text.length;
  for (const text of tags) bytes += text.length;
  for (const [topic, { data }] of presence) bytes += topic.length + (data?.length ?? 0);
  return bytes;
}

function decodeRecord(value: unknown): SocketRecord {
  const [number, id, remoteAddress, kind, phase, subscriptions, tags, attachment, handled, present] = listOf(
    value,
    "record",
  );
  if (!isCount(number) || typeof id !== "string" || typeof remoteAddress !== "string" || !isCount(handled))
    throw malformed("record");
  if (!isSocketKind(kind) || (phase !== "accepted" && phase !== "opened")) throw malformed("record");
  if (!isTexts(subscriptions) || !isTexts(tags) || !isBytesOrNull(attachment)) throw malformed("record");
  const presence = present === undefined ? [] : decodePresence(listOf(present, "record")); // version 1 has none
  const kept = { subscriptions, presence, tags, attachment: attachment ?? undefined, handled };
  return { number, id, remoteAddress, kind, phase, ...kept };
}

function decodePresence(flat: readonly unknown[]): SocketRecord["presence"] {
  const presence: [string, PresentIn][] = [];
  for (let index = 0; index < flat.length; index += 3) {
    const [topic, data, watches] = flat.slice(index, index + 3);
    if (typeof topic !== "string" || !isTextOrNull(data) || typeof watches !== "boolean")
      throw malformed("record");
    presence.push([topic, { data: data ?? undefined, watches }]);
  }
  return presence;
}

/** `all`: those that are in none of the parts are gone. `missing`: only those that the owner did not know. */
export type RollScope = "all" | "missing";

/** One part. */
export interface Roll {
  readonly scope: RollScope;
  readonly records: readonly SocketRecord[];
}

function isScope(value: unknown): value is RollScope {
  return value === "all" || value === "missing";
}

export function encodeRollEnd(scope: RollScope): Uint8Array {
  return pack([scope]);
}

export function decodeRollEnd(payload: Payload): RollScope {
  const [scope] = unpackList(payload, "end of a roll");
  if (!isScope(scope)) throw malformed("end of a roll");
  return scope;
}

export function encodeHeadOf(number: number, { kind, url, target, headers }: UpgradeHead): Uint8Array {
  return pack([number, kind, url, target, headers]);
}

export function decodeHeadOf(payload: Payload): { readonly number: number; readonly head: UpgradeHead } {
  const [number, kind, url, target, headers] = unpackList(payload, "upgrade");
  if (!isCount(number) || !isSocketKind(kind) || typeof url !== "string" || typeof target !== "string")
    throw malformed("upgrade");
  const fields = listOf(headers, "upgrade").map((field): readonly [string, string] => {
    const [name, value] = listOf(field, "upgrade");
    if (typeof name !== "string" || typeof value !== "string") throw malformed("upgrade");
    return [name, value];
  });
  return { number, head: { kind, url, target, headers: fields } };
}
