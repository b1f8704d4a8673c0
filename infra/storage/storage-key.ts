import { StatefulError } from "../lib/errors.ts";
import { keyBytesMax, overLimit } from "./storage-limits.ts";

/**
 * Keys are text, in the order of the bytes of their UTF-8, which is the order of their code points and what SQLite sorts
 * by. JavaScript compares UTF-16 units, which differs above U+FFFF.
 */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above all others: they go behind U+E000 to U+FFFF. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** The first text that is behind everything that begins with `prefix`; undefined where there is none. */
export function endOfPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10ffff) continue;
    const next = last + 1 === 0xd800 ? 0xe000 : last + 1; // surrogates are no code points
    return String.fromCodePoint(...points, next);
  }
  return undefined;
}

/** The first key behind this one: keys have no U+0000. */
export function keyAfter(key: string): string {
  return `${key}\u0001`;
}

/** Throws `bad_request` for what is no key and `storage_limit` for one that is too long. */
export function checkKey(key: unknown): asserts key is string {
  if (typeof key !== "string" || key === "") throw badKey("A storage key is text of one character or more.");
  if (key.includes("\0")) throw badKey("A storage key must not contain U+0000.");
  // What is short in any encoding need not be counted.
  if (key.length * 3 > keyBytesMax && byteLength(key) > keyBytesMax)
    throw overLimit(`A storage key has ${keyBytesMax} bytes at most; this one has ${byteLength(key)}.`);
  if (!key.isWellFormed()) throw badKey("A storage key must be well-formed Unicode.");
}

const utf8 = new TextEncoder();

function byteLength(text: string): number {
  return utf8.encode(text).length;
}

function badKey(message: string): StatefulError {
  return new StatefulError("bad_request", message);
}
