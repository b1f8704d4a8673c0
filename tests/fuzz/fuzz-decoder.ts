import type { SeededRandom } from "../support/seeded-random.ts";
import { type Input, mutated } from "./mutation.ts";

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
    try {
      const value = target.read(input);
      if (inheritsFromInput(value, depthMax))
        throw new TypeError("What was read inherits from something that came with it.");
      if (inputs % checkEvery === 0) target.check?.();
    } catch (thrown) {
      if (target.refuses(thrown)) refused += 1;
      else
        failures.push({
          what: thrown instanceof Error ? `${thrown}\n${thrown.stack}` : String(thrown),
          input: shown(input),
        });
    }
    const changed = changedPrototype();
    if (changed !== undefined)
      failures.push({ what: `${changed}.prototype has changed by then.`, input: shown(input) });
    const tookMs = performance.now() - beganMs;
    slowestMs = Math.max(slowestMs, tookMs);
    if (tookMs > readLimitMs)
      failures.push({ what: `It took ${Math.round(tookMs)} ms.`, input: shown(input) });
  }
  return { target: target.name, inputs, refused, slowestMs, failures };
}

const builtIns = [Object, Array, Map, Function];
const ownNames = new Map(builtIns.map((one) => [one.name, Reflect.ownKeys(one.prototype).length]));
const depthMax = 6;

/** What all values inherit must stay as it is, whatever becomes of the input. */
function changedPrototype(): string | undefined {
  return builtIns.find((one) => Reflect.ownKeys(one.prototype).length !== ownNames.get(one.name))?.name;
}

/** Nothing that was read inherits from what came with it. */
function inheritsFromInput(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null || depth === 0) return false;
  const inherited: unknown = Object.getPrototypeOf(value);
  if (typeof inherited === "object" && inherited !== null && !Object.hasOwn(inherited, "constructor"))
    return true;
  const members =
    value instanceof Map ? [...value.values()] : ArrayBuffer.isView(value) ? [] : Object.values(value);
  return members.slice(0, 50).some((member) => inheritsFromInput(member, depth - 1));
}

function shown(input: Input): string {
  const text = typeof input === "string" ? JSON.stringify(input) : Buffer.from(input).toString("base64");
  return text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}… (${input.length} in all)` : text;
}
