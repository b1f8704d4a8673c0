import { estimateShallowMemoryUsageOf } from "bun:jsc";

/**
 * How much memory a JavaScript value takes, as an estimate: an engine does not tell what hangs on one value of its heap. What
 * it would tell of a single cell leaves out what that refers to, and a snapshot of the heap stops the process for longer than
 * it would take to save the state. So the value is walked, and each kind costs what it was measured to cost on Bun's engine.
 *
 * What this cannot know: what closures hold, how a number of small objects share their shapes, whether a small view keeps a
 * large buffer alive, spare room in tables that have grown. Expect the truth between half and twice the figure; and where
 * the walk was cut, and the parts that were not looked at are unlike the others, anything.
 *
 * What several places refer to is counted once; long text that is equal counts as one text.
 */
export interface ValueSize {
  readonly bytes: number;
  /** Values that were looked at: what the estimate cost. */
  readonly nodes: number;
  /** Not everything was looked at: the rest is taken to be like the part that was. */
  readonly isExtrapolated: boolean;
}

export const valueNodesMax = 10_000;

/**
 * Looks at everything where that is `nodesMax` values or fewer. Where it is more, a second walk takes samples: of each
 * container some of its elements, each of which stands for as many as were passed over. Throws what a getter or a proxy
 * inside throws.
 */
export function sizeOf(value: unknown, nodesMax: number = valueNodesMax): ValueSize {
  const whole = new Walk();
  if (whole.walk(value, nodesMax)) return { bytes: whole.bytes, nodes: whole.nodes, isExtrapolated: false };
  const sample = new Walk();
  sample.sample(value, nodesMax);
  const bytes = Math.round(Math.max(whole.bytes, sample.bytes)); // A long chain of single links has no like to stand for it.
  return { bytes, nodes: whole.nodes + sample.nodes, isExtrapolated: true };
}

/** So many that each element may be a small tree itself. */
const nodesPerSampledElement = 32;
/** The fields of an object differ from each other, so all are taken, down to where only a few paths are followed deeper. */
const nodesPerSampledField = 8;

interface Step {
  readonly value: object;
  /** How many like it the step stands for. */
  readonly weight: number;
  /** How many objects may be looked at below it. */
  readonly budget: number;
}

class Walk {
  bytes = 0;
  nodes = 0;
  readonly #seen = new Set<object>();
  readonly #seenTexts = new Set<string>();
  readonly #steps: Step[] = [];
  #draw = 1;

  /** Everything. False where that is more than `nodesMax` values: then it has stopped half-way. */
  walk(value: unknown, nodesMax: number): boolean {
    this.#meet(value, 1, Number.POSITIVE_INFINITY);
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const content = contentOf(step.value, nodesMax);
      this.bytes += content.ownBytes;
      if (this.nodes + content.count > nodesMax) return false;
      this.#enter(step, content);
    }
    return true;
  }

  /** Samples from all over it: `budget` objects at most, with what is in their fields. */
  sample(value: unknown, budget: number): void {
    this.#meet(value, 1, budget);
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const elementsMax = Math.max(1, Math.floor(step.budget / nodesPerSampledElement));
      const content = contentOf(step.value, elementsMax);
      this.bytes += step.weight * content.ownBytes;
      this.#enter(step, content);
    }
  }

  #enter(step: Step, { elements, count }: Content): void {
    if (elements.length === 0) return;
    const weight = step.weight * (count / elements.length);
    const objects = elements.filter(isObject);
    if (objects.length < elements.length)
      for (const element of elements) if (!isObject(element)) this.#meet(element, weight, 0);
    if (step.budget <= 0) return;
    const chosen = this.#some(objects, step.budget / nodesPerSampledField);
    const budget = Math.floor((step.budget - chosen.length) / Math.max(1, chosen.length));
    const share = weight * (objects.length / Math.max(1, chosen.length));
    for (const object of chosen) this.#meet(object, share, budget);
  }

  /** Any of them, so that what is deep is not always on the side that is passed over. */
  #some(objects: readonly object[], max: number): readonly object[] {
    if (objects.length <= max) return objects;
    this.#draw = (Math.imul(this.#draw, 1_103_515_245) + 12_345) >>> 1;
    const from = this.#draw % objects.length;
    const looked = spread(objects.length, max).map((index) => (from + index) % objects.length);
    return objects.filter((_, index) => looked.includes(index));
  }

  #meet(value: unknown, weight: number, budget: number): void {
    this.nodes += 1;
    if (typeof value === "string") this.bytes += weight * this.#textBytes(value);
    else if (typeof value === "bigint") this.bytes += weight * estimateShallowMemoryUsageOf(value);
    else if (typeof value === "function") this.bytes += weight * functionBytes;
    else if (isObject(value) && !this.#seen.has(value)) {
      this.#seen.add(value);
      this.#steps.push({ value, weight, budget });
    }
  }

  #textBytes(text: string): number {
    if (text.length >= longTextChars) {
      if (this.#seenTexts.has(text)) return 0;
      this.#seenTexts.add(text);
    }
    return textBytesOf(text);
  }
}

interface Content {
  /** Of the value itself, with the room that it has for its elements. */
  readonly ownBytes: number;
  readonly count: number;
  /** All of them, or as many as were asked for. */
  readonly elements: readonly unknown[];
}

const textHeaderBytes = 24;
/** Long enough that to look it up costs less than to count it wrongly. */
const longTextChars = 256;
const functionBytes = 64;
const objectBytes = 32;
const slotBytes = 10;
/** Objects with more fields than this keep a table of their names, like a Map, and are used like one. */
const fieldsInShapeMax = 64;
const namedSlotBytes = 40;
const arrayBytes = 32;
const arraySlotBytes = 9;
const tableBytes = 200;
const mapSlotBytes = 64;
const setSlotBytes = 48;
const emptyTableBytes = 32;
const viewBytes = 64;
const bufferBytes = 128;
const nothing: readonly unknown[] = [];

function contentOf(value: object, elementsMax: number): Content {
  if (Array.isArray(value)) return arrayContent(value, elementsMax);
  if (value instanceof Map) {
    const ownBytes = value.size === 0 ? emptyTableBytes : tableBytes + mapSlotBytes * value.size;
    return { ownBytes, count: 2 * value.size, elements: first(value, elementsMax).flat() };
  }
  if (value instanceof Set) {
    const ownBytes = value.size === 0 ? emptyTableBytes : tableBytes + setSlotBytes * value.size;
    return { ownBytes, count: value.size, elements: first(value, elementsMax) };
  }
  // The buffer behind a view is not asked for: that would make one for views that have none of their own.
  if (ArrayBuffer.isView(value)) return leaf(viewBytes + value.byteLength);
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer)
    return leaf(bufferBytes + value.byteLength);
  return fieldsContent(value, elementsMax);
}

function leaf(ownBytes: number): Content {
  return { ownBytes, count: 0, elements: nothing };
}

/** An array with holes takes no room for them once they are many. */
function arrayContent(value: readonly unknown[], elementsMax: number): Content {
  const looked = spread(value.length, elementsMax);
  const elements = looked.filter((index) => index in value).map((index) => value[index]);
  const count = looked.length === 0 ? 0 : Math.round((value.length * elements.length) / looked.length);
  return { ownBytes: arrayBytes + arraySlotBytes * count, count, elements };
}

/** What any object has: a plain one, an instance of a class, a Date. The engine knows what else is inside the built-in ones. */
function fieldsContent(value: object, elementsMax: number): Content {
  const names = Object.keys(value);
  const isTable = names.length > fieldsInShapeMax;
  const looked = spread(names.length, isTable ? elementsMax : names.length);
  const elements = looked.map((index) => Reflect.get(value, names[index] ?? ""));
  const known = Math.max(estimateShallowMemoryUsageOf(value), objectBytes + slotBytes * names.length);
  return { ownBytes: known + (isTable ? namedSlotsBytes(names) : 0), count: names.length, elements };
}

/** At most `max` indices from all over `length`. */
function spread(length: number, max: number): number[] {
  const count = Math.min(length, Math.max(1, Math.floor(max)));
  return Array.from({ length: count }, (_, at) => Math.floor((at * length) / count));
}

function namedSlotsBytes(names: readonly string[]): number {
  const chars = names.slice(0, fieldsInShapeMax).reduce((sum, { length }) => sum + length, 0);
  return names.length * (namedSlotBytes + textHeaderBytes + chars / fieldsInShapeMax);
}

/**
 * The engine knows whether a text takes one byte or two for each character. Of one that was put together from pieces, and not
 * read since, it knows only the last piece: that counts one for each.
 */
function textBytesOf(text: string): number {
  return textHeaderBytes + Math.max(text.length, estimateShallowMemoryUsageOf(text));
}

function first<Element>(elements: Iterable<Element>, max: number): Element[] {
  const taken: Element[] = [];
  for (const element of elements) {
    taken.push(element);
    if (taken.length >= max) break;
  }
  return taken;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
