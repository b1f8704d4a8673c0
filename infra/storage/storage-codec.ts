import { addExtension, Packr } from "msgpackr";
import { overLimit } from "./storage-limits.ts";

/**
 * How values are kept: MessagePack with msgpackr's extensions for what JavaScript has beyond it (records, references, Map,
 * Set, Date, BigInt, RegExp, Error, typed arrays). Each value is readable by itself, with any msgpackr from version 1.10 on
 * and, where it uses no extension, with any MessagePack library. README.md in this folder has the format.
 *
 * Not kept, beside what the structured clone algorithm drops: the sign of -0, holes of arrays (undefined), lone surrogates
 * of text (U+FFFD). Refused, though they can be cloned: what `refusedClasses` has, and fields of these `refusedNames`.
 */
const newPackr = () =>
  new Packr({
    structuredClone: true,
    moreTypes: true,
    useBigIntExtension: true,
    copyBuffers: true, // What is decoded must not keep a whole message in memory.
    // In msgpackr's options, though not in its types: a function would silently become undefined, and an object with a
    // `toJSON` would be kept as what that returns.
    ...({ writeFunction: refuseFunction, useToJSON: false } as object),
  });

/**
 * A packer remembers the fields that it has seen, from value to value, and takes one called `__keys__` for a note of its own:
 * everything like it that it packs afterwards could not be read again. So one that may have seen it packs no more.
 */
let packr = newPackr();
const packersOwnName = "__keys__";

function pack(value: unknown): Buffer {
  let isSound = false;
  try {
    const bytes = packr.pack(value);
    isSound = !bytes.includes(packersOwnName);
    return bytes;
  } finally {
    if (!isSound) packr = newPackr();
  }
}

/**
 * Fields that would come back under another name, or spoil what stands beside them. They never reach a packer: its notes are
 * found by the names of fields, one after the other, and `__keys__` followed by `__proto__` leads from them to what all arrays
 * inherit, where it would go on to write.
 */
const refusedNames: readonly string[] = [packersOwnName, "__proto__"];

/** What would come back as something else, or not at all. */
const refusedClasses = [Number, String, Boolean, BigInt, Blob, AggregateError, classNamed("Float16Array")];
for (const Class of refusedClasses) if (Class) addExtension({ Class, write: refuseInstance } as never); // its types ask for what reading needs
// A class that extends Map would be kept as an object without fields.
addExtension({ Class: Map, write: (map: Map<unknown, unknown>) => new Map(map) } as never); // as above

/** The error that `structuredClone` throws for what cannot be kept. */
export class NotCloneableError extends Error {
  override readonly name = "DataCloneError";
}

/** A value's bytes, made now: what happens to the value afterwards changes nothing. `what` names it in errors. */
export function encodeValue(value: unknown, what: string, bytesMax: number): Uint8Array {
  const bytes = isPlain(value) ? packr.pack(value) : pack(withoutRefused(cloneOf(value, what), what));
  if (bytes.length > bytesMax) {
    throw overLimit(
      `${what} takes ${bytes.length} bytes; the limit is ${bytesMax}. Split it, or raise the class's limits.`,
    );
  }
  // The packer writes into larger pieces of memory: a copy does not pin one.
  return new Uint8Array(bytes);
}

/** A new value at each call, so that nobody can change what is kept. */
export function decodeValue(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}

const plainDepthMax = 32;
/**
 * Objects that are looked at, one by one. One that stands in many places counts in each, and where such are made of each other that
 * multiplies with every level: what seems to have more is taken for not plain, and then each is looked at once.
 */
const plainPartsMax = 1_000_000;
const glanceDepth = 4;
/** Over so few levels that is little. */
const glance: Sight = { partsLeft: Number.POSITIVE_INFINITY };

interface Sight {
  partsLeft: number;
}

/**
 * Whether a value is what most are: text, numbers, arrays and plain objects of such, none of whose fields has a refused name.
 * Nothing else has to be looked at then, neither before it is encoded nor after.
 */
function isPlain(value: unknown, depth = 0, sight: Sight = { partsLeft: plainPartsMax }): boolean {
  if (typeof value !== "object") return typeof value !== "function" && typeof value !== "symbol";
  if (value === null) return true;
  if (depth === plainDepthMax || --sight.partsLeft < 0) return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1, sight));
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const name in value) {
    // `name` is a field of the value: that is what the loop goes over.
    const part = (value as Record<string, unknown>)[name];
    if (refusedNames.includes(name) || !isPlain(part, depth + 1, sight)) return false;
  }
  return true;
}

function cloneOf(value: unknown, what: string): unknown {
  if (typeof value !== "object" || value === null) {
    if (typeof value !== "function" && typeof value !== "symbol") return value;
    throw new NotCloneableError(`${what} is a ${typeof value}, which cannot be stored.`);
  }
  try {
    return structuredClone(value);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new NotCloneableError(`${what} cannot be stored: ${reason}`, { cause });
  }
}

/** The value, in which no field has a refused name. */
function withoutRefused(value: unknown, what: string): unknown {
  const name = refusedField(value, new Set());
  if (name === undefined) return value;
  throw new NotCloneableError(`${what} has a field called "${name}", which cannot be stored.`);
}

function refusedField(value: unknown, seen: Set<object>): string | undefined {
  // As most parts are of what is not plain as a whole. No deeper, so that nothing is gone through many times.
  if (isPlain(value, plainDepthMax - glanceDepth, glance)) return undefined;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || seen.has(value))
    return undefined;
  seen.add(value);
  for (const part of partsOf(value)) {
    const name = refusedField(part, seen);
    if (name !== undefined) return name;
  }
  if (!(value instanceof Map)) return refusedNames.find((name) => Object.hasOwn(value, name));
  for (const part of value.values()) {
    const name = refusedField(part, seen);
    if (name !== undefined) return name;
  }
  return undefined;
}

/** All that a packer would go into; of a Map the keys. */
function partsOf(value: object): Iterable<unknown> {
  if (Array.isArray(value) || value instanceof Set) return value;
  if (value instanceof Map) return value.keys();
  return value instanceof Error ? [value.cause, ...Object.values(value)] : Object.values(value);
}

function classNamed(name: string): unknown {
  return (globalThis as Record<string, unknown>)[name]; // newer than some runtimes
}

function refuseInstance(value: object): never {
  throw new NotCloneableError(`A ${value.constructor.name} object cannot be stored.`);
}

function refuseFunction(value: object): never {
  throw new NotCloneableError(`A function (${"name" in value ? value.name : "anonymous"}) cannot be stored.`);
}

/** An object's own record, under the key "". */
export interface ObjectRecord {
  /** `version` of the class that wrote it. */
  readonly version: number;
  /** Absent where the class does not store its state. */
  readonly state?: unknown;
}

/** Fast, and not the whole check: what is to be stored goes through `checkRecord` as well, unless it is plain. */
export function encodeRecord(record: ObjectRecord): Uint8Array {
  return packRecord(record).bytes;
}

export function packRecord(record: ObjectRecord): {
  readonly bytes: Uint8Array;
  readonly isChecked: boolean;
} {
  const isChecked = isPlain(record.state);
  if (!isChecked) withoutRefused(record.state, "The state");
  return { bytes: isChecked ? packr.pack(record) : pack(record), isChecked };
}

/** Throws where a state could be encoded, but is not what would come back. */
export function checkRecord({ state }: ObjectRecord): void {
  cloneOf(state, "The state");
}

export function decodeRecord(bytes: Uint8Array): ObjectRecord {
  return packr.unpack(bytes); // written by encodeRecord
}
