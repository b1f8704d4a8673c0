import type { SeededRandom } from "../support/seeded-random.ts";
import { type Input, mutated } from "./mutation.ts";
import { WhatAllInherit } from "./what-all-inherit.ts";

/** Something that reads what comes from outside. */
export interface Target {
  /** Begins with the ids of the rules that it is held to. */
  readonly name: string;
  /** What whoever means well sends. */
  valid(random: SeededRandom): Input;
  /** Reads it, and looks at what came of it. */
  read(input: Input): unknown;
  /** Whether what was thrown is how this refuses. */
  refuses(thrown: unknown): boolean;
  /** Throws where what was read before has left something behind. */
  check?(): void;
}

export interface FuzzResult {
  readonly target: string;
  readonly inputs: number;
  /** Of those, refused. */
  readonly refused: number;
  readonly slowestMs: number;
  readonly failures: readonly FuzzFailure[];
}

export interface FuzzFailure {
  readonly what: string;
  /** The input, to be pasted: JSON of a text, or base64 of bytes. */
  readonly input: string;
}

/** Longer over one input of at most 96 KiB is a hang in the making. A busy machine stops for less. */
export const readLimitMs = 1000;
const failuresMax = 5;
const shownLengthMax = 4000;
/** How often what a target may have left behind is looked for. */
const checkEvery = 50;

const inherited = new WhatAllInherit();
/** Values of one input. */
const lookedAtMax = 10_000;

/** Reads mutations of what is valid, until `isOver`. */
export function fuzzDecoder(
  target: Target,
  random: SeededRandom,
  isOver: (inputs: number) => boolean,
): FuzzResult {
  const failures: FuzzFailure[] = [];
  let [inputs, refused, slowestMs] = [0, 0, 0];
  for (; !isOver(inputs) && failures.length < failuresMax; inputs += 1) {
    const input = mutated(random, target.valid(random), target.valid(random));
    const beganMs = performance.now();
    const outcome = outcomeOf(target, input);
    const tookMs = performance.now() - beganMs;
    slowestMs = Math.max(slowestMs, tookMs);
    if (outcome === "refused") refused += 1;
    const wrong = outcome === "read" || outcome === "refused" ? [] : [outcome];
    if (tookMs > readLimitMs) wrong.push(`It took ${Math.round(tookMs)} ms.`);
    if (inputs % checkEvery === 0 || inherited.hasOtherNames) wrong.push(...leftBehind(target));
    failures.push(...wrong.map((what) => ({ what, input: shown(input) })));
  }
  // By what came last.
  if (failures.length === 0)
    failures.push(...leftBehind(target).map((what) => ({ what, input: "one of the last" })));
  return { target: target.name, inputs, refused, slowestMs, failures };
}

/** What is wrong, where something is. */
function outcomeOf(target: Target, input: Input): "read" | "refused" | (string & {}) {
  let value: unknown;
  try {
    value = target.read(input);
  } catch (thrown) {
    return target.refuses(thrown) ? "refused" : shownError(thrown);
  }
  const isTainted = inheritsFromInput(value);
  return isTainted ? "What was read inherits from something that came with it." : "read";
}

/** What must stay as it is, whatever becomes of the input. Not for the target to refuse. */
function leftBehind(target: Target): string[] {
  const changes = inherited.changes().map((what) => `${what} has changed by then.`);
  try {
    target.check?.();
    return changes;
  } catch (thrown) {
    return [...changes, shownError(thrown)];
  }
}

function shownError(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown}\n${thrown.stack}` : String(thrown);
}

/** Whether something that was read inherits from what came with it. Each value is looked at once: they may refer to each other in circles. */
function inheritsFromInput(read: unknown): boolean {
  const found = new Set([read]);
  // A Set goes on to what is added to it meanwhile.
  for (const value of found) {
    if (typeof value !== "object" || value === null) continue;
    const inherited: unknown = Object.getPrototypeOf(value);
    if (typeof inherited === "object" && inherited !== null && !Object.hasOwn(inherited, "constructor"))
      return true;
    for (const member of membersOf(value)) if (found.size < lookedAtMax) found.add(member);
  }
  return false;
}

function membersOf(value: object): readonly unknown[] {
  if (value instanceof Map) return [...value.keys(), ...value.values()];
  if (value instanceof Set) return [...value];
  return ArrayBuffer.isView(value) ? [] : Object.values(value);
}

function shown(input: Input): string {
  const text = typeof input === "string" ? JSON.stringify(input) : Buffer.from(input).toString("base64");
  return text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}… (${input.length} in all)` : text;
}
