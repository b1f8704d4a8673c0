/**
 * Whether what callers saw of one object could have come from an object that does one thing after the other: each call taking
 * effect at one instant between its start and its answer. The search of Wing and Gong ("Testing and Verifying Concurrent
 * Objects", 1993), which tries the calls that may come next one by one and goes back where none fits; with the memory of Lowe
 * ("Testing for linearizability", 2017), which enters no configuration twice.
 *
 * A call of unknown outcome may take effect at any instant after its start, or never. Each doubles what is possible, so three
 * things keep them from doubling the work: they are tried last; of those with equal inputs only the earliest, since it can stand
 * in for the others; and a configuration that has used more of them than one that failed, for the same state, fails as well.
 * A read that was answered and fits is placed at once: nothing is gained by waiting.
 */

/** An object that does one thing after the other, as a pure function. Inputs are values of JSON. */
export interface SequentialModel<State, Input, Output> {
  readonly initial: State;
  /** What the object becomes and answers. Never changes `state` itself. */
  step(state: State, input: Input): { readonly state: State; readonly output: Output };
  /** Equal texts are equal states. Default: as JSON. */
  keyOf?(state: State): string;
  /** Whether a call that answered this leaves every state as it was. Default: no. Where many do, the search is much shorter. */
  isRead?(input: Input, output: Output): boolean;
  /** Whether a caller may have seen `seen` where the model says `expected`. Default: equal as JSON. */
  isAnswer?(expected: Output, seen: Output): boolean;
}

/** One call, by any clock that all calls of a history share. */
export interface Operation<Input, Output> {
  readonly input: Input;
  /** It has not acted before. */
  readonly calledAt: number;
  readonly outcome: Outcome<Output>;
  /** What a report calls it, as `caller3#17`. */
  readonly label?: string;
}

export type Outcome<Output> =
  /** It has acted once, and not after `at`. */
  | { readonly kind: "returned"; readonly at: number; readonly output: Output }
  /** It has not acted, and never will. */
  | { readonly kind: "failed" }
  /** It has acted, or may still act, or never will. */
  | { readonly kind: "unknown" };

export interface SearchLimits {
  /** Configurations that are looked at before the search gives up. Default 1,000,000. */
  readonly configurationsMax?: number;
}

export type Verdict<State, Input, Output> =
  /** @property order one that explains everything; calls of unknown outcome are in it where they are needed */
  | { readonly kind: "linearizable"; readonly order: readonly Operation<Input, Output>[] }
  | { readonly kind: "violated"; readonly contradiction: Contradiction<State, Input, Output> }
  /** There were too many possibilities. Nothing is said. */
  | { readonly kind: "undecided"; readonly configurations: number };

/** The shortest beginning of the history that no order explains. */
export interface Contradiction<State, Input, Output> {
  /** The call whose answer completes it: without that answer there is an order still. */
  readonly answer: Operation<Input, Output>;
  /** An order that explains as much as any, up to where it is stuck. */
  readonly order: readonly Operation<Input, Output>[];
  /** What the object would be then. */
  readonly state: State;
  /** Calls that had to come next, and none of which fits. */
  readonly stuck: readonly Operation<Input, Output>[];
}

const configurationsMaxDefault = 1_000_000;

/** @param history of one object, in any order: objects are linearizable together when each of them is */
export function checkLinearizable<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  limits: SearchLimits = {},
): Verdict<State, Input, Output> {
  const configurationsMax = limits.configurationsMax ?? configurationsMaxDefault;
  const whole = new Search(model, history, configurationsMax).run();
  if (whole.kind !== "stuck") return whole;
  // Whatever explains a history explains its beginnings: the first answer too many is found by halving.
  const answers = history
    .flatMap((operation) => (operation.outcome.kind === "returned" ? [operation.outcome.at] : []))
    .sort((a, b) => a - b);
  let explained = -1;
  let contradicted = answers.length - 1;
  let stuck = whole;
  while (contradicted - explained > 1) {
    const middle = Math.floor((explained + contradicted) / 2);
    const found = new Search(model, beginning(history, answers[middle] ?? 0), configurationsMax).run();
    if (found.kind === "stuck") {
      contradicted = middle;
      stuck = found;
    } else explained = middle; // Or undecided: then the beginning that is told is longer than it need be.
  }
  const at = answers[contradicted];
  const answer = history.find(({ outcome }) => outcome.kind === "returned" && outcome.at === at);
  if (answer === undefined) throw new Error("a contradiction without an answer");
  const { order, state, candidates } = stuck;
  return { kind: "violated", contradiction: { answer, order, state, stuck: candidates } };
}

/** What was known at an instant: of calls that were not answered yet nobody knows the outcome. */
function beginning<Input, Output>(
  history: readonly Operation<Input, Output>[],
  instant: number,
): Operation<Input, Output>[] {
  return history
    .filter(({ calledAt }) => calledAt <= instant)
    .map((operation) => {
      const { outcome } = operation;
      const isOpen = outcome.kind === "returned" && outcome.at > instant;
      return isOpen ? { ...operation, outcome: { kind: "unknown" } } : operation;
    });
}

/** A call that was answered: it has to be in the order. */
interface Answered<Input, Output> {
  readonly operation: Operation<Input, Output>;
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly output: Output;
  /** Among all that were answered, by their start. */
  readonly index: number;
  isPlaced: boolean;
}

/** Calls of unknown outcome that nothing tells apart but their start: they are used in that order. */
interface Interchangeable<Input, Output> {
  readonly operations: readonly Operation<Input, Output>[];
  /** Among all of its kind. */
  readonly index: number;
  used: number;
}

/** What started before anything that is still to come was answered. */
interface Candidates<Input, Output> {
  readonly firstAnswerAt: number;
  readonly answered: readonly Answered<Input, Output>[];
  readonly unknown: readonly Interchangeable<Input, Output>[];
}

/** Calls of unknown outcome that may have acted since the last answered one, and what the object is after them. */
interface Reached<State, Input, Output> {
  readonly state: State;
  readonly key: string;
  readonly unknown: readonly Interchangeable<Input, Output>[];
}

/** They, and an answered call that fits after them. */
interface Move<State, Input, Output> extends Reached<State, Input, Output> {
  readonly answered: Answered<Input, Output>;
  /** All that it adds to the order. */
  readonly operations: readonly Operation<Input, Output>[];
}

/** A place in the order that is being tried: what the object is there, and what fits next. */
interface Level<State, Input, Output> {
  readonly state: State;
  readonly moves: Iterator<Move<State, Input, Output>, undefined>;
  /** The move that led to the level after this one. */
  taken: Move<State, Input, Output> | undefined;
}

interface Stuck<State, Input, Output> {
  readonly kind: "stuck";
  readonly order: readonly Operation<Input, Output>[];
  readonly state: State;
  readonly candidates: readonly Operation<Input, Output>[];
}

type Found<State, Input, Output> =
  | Extract<Verdict<State, Input, Output>, { kind: "linearizable" | "undecided" }>
  | Stuck<State, Input, Output>;

class Search<State, Input, Output> {
  readonly #model: SequentialModel<State, Input, Output>;
  readonly #configurationsMax: number;
  /** By their start. */
  readonly #answered: readonly Answered<Input, Output>[];
  readonly #unknown: readonly Interchangeable<Input, Output>[];
  /** All before it are placed. */
  #low = 0;
  #placed = 0;
  readonly #seen = new LeastUsed();
  #configurations = 0;
  #furthest: Stuck<State, Input, Output> | undefined;
  #furthestPlaced = -1;

  constructor(
    model: SequentialModel<State, Input, Output>,
    history: readonly Operation<Input, Output>[],
    configurationsMax: number,
  ) {
    this.#model = model;
    this.#configurationsMax = configurationsMax;
    const byStart = history.toSorted((a, b) => a.calledAt - b.calledAt);
    this.#answered = byStart
      .flatMap((operation) => {
        const { calledAt, outcome } = operation;
        return outcome.kind === "returned" ? [{ operation, calledAt, ...outcome }] : [];
      })
      .map(({ at, ...call }, index) => ({ ...call, returnedAt: at, index, isPlaced: false }));
    const unknown = byStart.filter(({ outcome }) => outcome.kind === "unknown");
    const alike = Map.groupBy(unknown, ({ input }) => JSON.stringify(input));
    this.#unknown = Array.from(alike.values(), (operations, index) => ({ operations, index, used: 0 }));
  }

  run(): Found<State, Input, Output> {
    const { initial } = this.#model;
    const levels = [this.#level(initial, this.#keyOf(initial))];
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      if (this.#placed === this.#answered.length) return { kind: "linearizable", order: orderOf(levels) };
      if (level.taken !== undefined) this.#takeBack(level.taken);
      const move = level.moves.next().value;
      if (this.#configurations > this.#configurationsMax)
        return { kind: "undecided", configurations: this.#configurations };
      level.taken = move;
      if (move === undefined) {
        this.#noteStuck(levels, level.state);
        levels.pop();
        continue;
      }
      this.#take(move);
      if (this.#seen.isNew(`${this.#placedKey()} ${move.key}`, this.#used()))
        levels.push(this.#level(move.state, move.key));
    }
    if (this.#furthest === undefined) throw new Error("a search without an end");
    return this.#furthest;
  }

  #level(state: State, key: string): Level<State, Input, Output> {
    return { state, moves: this.#moves({ state, key, unknown: [] }), taken: undefined };
  }

  /** Those that need the fewest calls of unknown outcome first. */
  *#moves(from: Reached<State, Input, Output>): Generator<Move<State, Input, Output>, undefined> {
    const candidates = this.#candidates();
    const seen = new LeastUsed();
    seen.isNew(from.key, []);
    for (let layer = [from]; layer.length > 0; ) {
      const next: Reached<State, Input, Output>[] = [];
      for (const reached of layer) {
        this.#configurations += 1;
        const fitting = candidates.answered.flatMap((call) => this.#fitting(reached, call));
        const read = fitting.find(({ answered }) => this.#isRead(answered));
        // A read is in nobody's way: if it fits later, it fits now.
        if (read !== undefined) yield read;
        else {
          yield* fitting;
          next.push(...this.#reachedAfter(reached, candidates, seen));
        }
      }
      layer = next;
    }
    return undefined;
  }

  /** Nothing, or what the call makes of it. */
  #fitting(
    { state, unknown }: Reached<State, Input, Output>,
    answered: Answered<Input, Output>,
  ): Move<State, Input, Output>[] {
    const { operation, output } = answered;
    const after = this.#model.step(state, operation.input);
    const isAnswer = this.#model.isAnswer?.(after.output, output) ?? isSameJson(after.output, output);
    if (!isAnswer) return [];
    const operations = [...this.#operationsOf(unknown), operation];
    return [{ state: after.state, key: this.#keyOf(after.state), unknown, answered, operations }];
  }

  /** What one more call of unknown outcome can make of it, and fewer of them could not. */
  #reachedAfter(
    reached: Reached<State, Input, Output>,
    { unknown, firstAnswerAt }: Candidates<Input, Output>,
    seen: LeastUsed,
  ): Reached<State, Input, Output>[] {
    return unknown.flatMap((alike) => {
      const sequence = [...reached.unknown, alike];
      const already = reached.unknown.filter((one) => one === alike).length;
      const operation = alike.operations[alike.used + already];
      // There are not that many, or it began after the answer to something that is still to come.
      if (operation === undefined || operation.calledAt > firstAnswerAt) return [];
      const { state } = this.#model.step(reached.state, operation.input);
      const key = this.#keyOf(state);
      const used = sequence.map(({ index }) => index).sort((a, b) => a - b);
      return seen.isNew(key, used) ? [{ state, key, unknown: sequence }] : [];
    });
  }

  #candidates(): Candidates<Input, Output> {
    let firstAnswerAt = Number.POSITIVE_INFINITY;
    const open: Answered<Input, Output>[] = [];
    for (let index = this.#low; index < this.#answered.length; index += 1) {
      const call = this.#answered[index];
      if (call === undefined || call.calledAt > firstAnswerAt) break;
      if (call.isPlaced) continue;
      open.push(call);
      firstAnswerAt = Math.min(firstAnswerAt, call.returnedAt);
    }
    const answered = open.filter(({ calledAt }) => calledAt <= firstAnswerAt);
    answered.sort((a, b) => a.returnedAt - b.returnedAt);
    const unknown = this.#unknown.filter(({ operations, used }) => {
      const next = operations[used];
      return next !== undefined && next.calledAt <= firstAnswerAt;
    });
    return { firstAnswerAt, answered, unknown };
  }

  #isRead({ operation, output }: Answered<Input, Output>): boolean {
    return this.#model.isRead?.(operation.input, output) ?? false;
  }

  #take({ unknown, answered }: Move<State, Input, Output>): void {
    for (const alike of unknown) alike.used += 1;
    answered.isPlaced = true;
    this.#placed += 1;
    while (this.#answered[this.#low]?.isPlaced === true) this.#low += 1;
  }

  #takeBack({ unknown, answered }: Move<State, Input, Output>): void {
    for (const alike of unknown) alike.used -= 1;
    answered.isPlaced = false;
    this.#placed -= 1;
    this.#low = Math.min(this.#low, answered.index);
  }

  /** The next of each, as many times as it is in the sequence. */
  #operationsOf(sequence: readonly Interchangeable<Input, Output>[]): Operation<Input, Output>[] {
    return sequence.flatMap((alike, place) => {
      const already = sequence.slice(0, place).filter((one) => one === alike).length;
      return alike.operations[alike.used + already] ?? [];
    });
  }

  /** The kinds of those that are used, each as often as it is. */
  #used(): number[] {
    return this.#unknown.flatMap(({ index, used }) => new Array<number>(used).fill(index));
  }

  /** Which calls are placed: all before the first that is not, and those after it. */
  #placedKey(): string {
    let key = `${this.#low}`;
    let left = this.#placed - this.#low;
    for (let index = this.#low; left > 0; index += 1)
      if (this.#answered[index]?.isPlaced === true) {
        key += `,${index}`;
        left -= 1;
      }
    return key;
  }

  #keyOf(state: State): string {
    return this.#model.keyOf?.(state) ?? JSON.stringify(state);
  }

  #noteStuck(levels: readonly Level<State, Input, Output>[], state: State): void {
    if (this.#placed <= this.#furthestPlaced) return;
    this.#furthestPlaced = this.#placed;
    const candidates = this.#candidates().answered.map(({ operation }) => operation);
    this.#furthest = { kind: "stuck", order: orderOf(levels), state, candidates };
  }
}

/** Of each configuration, which calls of unknown outcome it had used, by their kinds: those that none undercuts. */
class LeastUsed {
  readonly #seen = new Map<string, (readonly number[])[]>();

  /**
   * Whether nothing that is at least as good was here before; notes it then.
   *
   * @param used rising, each kind as often as it was used
   */
  isNew(key: string, used: readonly number[]): boolean {
    const before = this.#seen.get(key);
    if (before === undefined) {
      this.#seen.set(key, [used]);
      return true;
    }
    if (before.some((less) => isWithin(less, used))) return false;
    before.push(used);
    return true;
  }
}

/** Of two rising lists: whether one is the other with some left out. */
function isWithin(less: readonly number[], more: readonly number[]): boolean {
  let place = 0;
  for (const kind of more) if (kind === less[place]) place += 1;
  return place === less.length;
}

function orderOf<State, Input, Output>(
  levels: readonly Level<State, Input, Output>[],
): Operation<Input, Output>[] {
  return levels.flatMap(({ taken }) => taken?.operations ?? []);
}

function isSameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
