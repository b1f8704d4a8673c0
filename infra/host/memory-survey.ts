import type { ActivationMemory } from "./memory-account.ts";

/** An activation, as the guard of the host's memory sees it. What it tells is true at the moment of asking. */
export interface GuardedObject {
  readonly key: string;
  /** undefined: it has something to do, or is about to start or stop. */
  readonly idleForMs: number | undefined;
  /** Whether it can be asked to move now: it lives, is not on its way already, and its class allows it. */
  readonly mayMove: boolean;
  memory(): ActivationMemory;
  /** Stops it as one that is idle, unless it no longer is. */
  sleep(): Promise<void>;
  /** Asks another host to take it. Resolves to false where none does. */
  move(): Promise<boolean>;
}

export interface Surveyed {
  readonly object: GuardedObject;
  readonly memory: ActivationMemory;
  /** What the host may have back when it goes: its account, and the activation itself. */
  readonly bytes: number;
  readonly idleForMs: number;
}

/** Beside all that is in its account. */
const activationBytes = 1024;

export interface SurveyOptions {
  /** Objects that one step looks at. */
  readonly objectsPerStep: number;
  /** What has been idle for less counts as busy: its next event is likely soon, and would only start it again. */
  readonly idleMsMin: number;
  /** Of the idle ones, how many are kept: those idle for the longest. */
  readonly idleMax: number;
  /** Of the busy ones that may move, how many are kept: those that hold the most. */
  readonly costliestMax: number;
  readonly isWorthMoving: (object: GuardedObject, bytes: number) => boolean;
}

/** Goes through all objects of a host, in steps that are short: what they hold together, and who should go first. */
export class MemorySurvey {
  readonly #objects: Iterator<GuardedObject>;
  readonly #options: SurveyOptions;
  readonly #idle: Surveyed[] = [];
  readonly #costliest: Surveyed[] = [];
  #count = 0;
  #bytes = 0;

  constructor(objects: Iterable<GuardedObject>, options: SurveyOptions) {
    this.#objects = objects[Symbol.iterator]();
    this.#options = options;
  }

  get count(): number {
    return this.#count;
  }
  /** Of all together. */
  get bytes(): number {
    return this.#bytes;
  }
  /** The longest idle first. */
  get idle(): readonly Surveyed[] {
    return this.#idle;
  }
  /** The largest first. */
  get costliest(): readonly Surveyed[] {
    return this.#costliest;
  }

  /** True once all have been looked at. */
  step(): boolean {
    for (let looked = 0; looked < this.#options.objectsPerStep; looked += 1) {
      const next = this.#objects.next();
      if (next.done === true) return true;
      this.#add(next.value);
    }
    return false;
  }

  #add(object: GuardedObject): void {
    const memory = object.memory();
    const { idleMsMin, idleMax, costliestMax, isWorthMoving } = this.#options;
    const { idleForMs = 0 } = object;
    const surveyed = { object, memory, bytes: memory.totalBytes + activationBytes, idleForMs };
    this.#count += 1;
    this.#bytes += surveyed.bytes;
    if (idleForMs >= idleMsMin) keep(this.#idle, surveyed, idleMax, idleFor);
    else if (object.mayMove && isWorthMoving(object, surveyed.bytes))
      keep(this.#costliest, surveyed, costliestMax, bytesOf);
  }
}

function idleFor({ idleForMs }: Surveyed): number {
  return idleForMs;
}

function bytesOf({ bytes }: Surveyed): number {
  return bytes;
}

/** Keeps the list in order, the greatest first, and no longer than `max`. */
function keep(list: Surveyed[], surveyed: Surveyed, max: number, rank: (one: Surveyed) => number): void {
  const last = list.at(-1);
  if (list.length >= max && last && rank(last) >= rank(surveyed)) return;
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const there = list[middle];
    if (there && rank(there) >= rank(surveyed)) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, surveyed);
  if (list.length > max) list.pop();
}
