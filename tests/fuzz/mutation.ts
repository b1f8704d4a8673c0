import type { SeededRandom } from "../support/seeded-random.ts";

/** What a decoder is given. */
export type Input = Uint8Array | string;

/** No mutation makes an input longer: what is large in kind is announced by lengths, not by bytes. */
const inputLengthMax = 96 * 1024;
const editsMax = 4;

/** Bytes that begin something in MessagePack, end something in HTTP, or are the ends of a range. */
const telling = [
  0, 1, 0x0a, 0x0d, 0x20, 0x7f, 0x80, 0x90, 0xc1, 0xc7, 0xc9, 0xd4, 0xd9, 0xdb, 0xdc, 0xdd, 0xdf, 0xff,
];
const lengths = [0, 1, 0x7f, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/** Pieces of text that mean something to some part of the way. */
const words = [
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__keys__", "then"],
  ...["\0", "\n", "\r\n", "\u2028", "\ud800", "\udc00", "\ufeff", "\u0301", "é", "ａ", "／", "．", "🜁"],
  ...[
    "%",
    "%00",
    "%2f",
    "%2F",
    "%252f",
    "%2e%2e",
    "%ff",
    "%c0%af",
    "%u2215",
    "..",
    "/",
    "//",
    "/-/",
    "?",
    "#",
    "\\",
  ],
  ...["[", "]", "{", "}", '"', ":", ",", "null", "-0", "1e999", "9007199254740993", "NaN", "\\ud800"],
];

/** A valid input, changed in up to four places; seldom not at all, and seldom something else altogether. */
export function mutated(random: SeededRandom, valid: Input, other: Input): Input {
  if (random.isLucky(0.03)) return valid;
  if (random.isLucky(0.03))
    return typeof valid === "string" ? noise(random).join("") : randomBytes(random, 300);
  let input = valid;
  for (let edits = random.between(1, editsMax); edits > 0; edits -= 1) {
    input =
      typeof input === "string"
        ? editText(random, input, String(other))
        : editBytes(random, input, bytesOf(other));
  }
  return input.slice(0, inputLengthMax);
}

function editBytes(random: SeededRandom, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const at = random.between(0, bytes.length);
  const to = Math.min(bytes.length, at + random.between(0, 16));
  const [head, range, rest] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
  switch (random.between(0, 8)) {
    case 0: // one bit
      return withByte(bytes, at, (byte) => byte ^ (1 << random.between(0, 7)));
    case 1:
      return withByte(bytes, at, () => random.pick(telling));
    case 2: // cut short
      return head;
    case 3: // a piece left out
      return joined(head, rest);
    case 4: // a piece said again, maybe many times
      return joined(head, ...new Array<Uint8Array>(random.isLucky(0.1) ? 2000 : 2).fill(range), rest);
    case 5:
      return joined(head, randomBytes(random, 20), rest);
    case 6: // spliced with another
      return joined(head, other.subarray(random.between(0, other.length)));
    case 7:
      return withLength(random, bytes, at);
    default: {
      const text = new TextEncoder().encode(random.pick(words));
      return joined(head, text, bytes.subarray(Math.min(bytes.length, at + text.length)));
    }
  }
}

/** A number written over what may be a length. */
function withLength(random: SeededRandom, bytes: Uint8Array, at: number): Uint8Array {
  const size = random.pick([1, 2, 4]);
  const changed = new Uint8Array(bytes);
  const value = random.pick(lengths);
  for (let place = 0; place < size && at + place < changed.length; place += 1)
    changed[at + place] = (value >>> (8 * (size - 1 - place))) & 0xff;
  return changed;
}

function withByte(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const changed = new Uint8Array(bytes);
  if (at < changed.length) changed[at] = change(changed[at] ?? 0) & 0xff;
  return changed;
}

function editText(random: SeededRandom, text: string, other: string): string {
  const at = random.between(0, text.length);
  const to = Math.min(text.length, at + random.between(0, 16));
  const [head, range, rest] = [text.slice(0, at), text.slice(at, to), text.slice(to)];
  switch (random.between(0, 5)) {
    case 0:
      return head;
    case 1:
      return head + rest;
    case 2:
      return head + range.repeat(random.isLucky(0.1) ? 2000 : 2) + rest;
    case 3: // one unit, which may be half of a character
      return head + String.fromCharCode(random.between(0, 0xffff)) + text.slice(at + 1);
    case 4:
      return head + other.slice(random.between(0, other.length));
    default:
      return head + random.pick(words) + (random.isLucky(0.5) ? rest : range + rest);
  }
}

function noise(random: SeededRandom): string[] {
  return Array.from({ length: random.between(0, 20) }, () => random.pick(words));
}

export function randomBytes(random: SeededRandom, lengthMax: number): Uint8Array {
  return Uint8Array.from({ length: random.between(0, lengthMax) }, () => random.between(0, 255));
}

export function randomText(random: SeededRandom, wordsMax = 3): string {
  const texts = Array.from({ length: random.between(1, wordsMax) }, () =>
    random.isLucky(0.4) ? random.pick(words) : random.between(0, 36 ** 4).toString(36),
  );
  return texts.join("").toWellFormed();
}

/** Anything that can be packed: text, numbers, bytes, lists and objects, with fields of any name. */
export function randomValue(random: SeededRandom, depth = 3): unknown {
  const kind = random.between(0, depth > 0 ? 8 : 5);
  if (kind === 0) return random.pick([null, true, false, 0, -1, 1.5, 2 ** 53, Number.NaN]);
  if (kind === 1) return random.between(-(2 ** 31), 2 ** 31);
  if (kind <= 4) return randomText(random);
  if (kind === 5) return randomBytes(random, 40);
  const length = random.between(0, 4);
  if (kind === 6) return Array.from({ length }, () => randomValue(random, depth - 1));
  const fields = Array.from({ length }, () => [randomText(random, 1), randomValue(random, depth - 1)]);
  return kind === 7 ? new Map(fields as [string, unknown][]) : Object.fromEntries(fields); // pairs, each of them
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function bytesOf(input: Input): Uint8Array {
  return typeof input === "string" ? new TextEncoder().encode(input) : input;
}
