import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkLinearizable, type Operation, type SequentialModel } from "./linearizability.ts";
import { SeededRandom, seedFrom } from "./seeded-random.ts";
import {
  type CounterInput,
  counterModel,
  type RegisterInput,
  registerModel,
  type SumInput,
  type SumOutput,
  sumModel,
} from "./sequential-models.ts";

const seed = seedFrom("LINEARIZABILITY_SEED");

/** A call from one instant to another, as `[1, 4]`; with one that is not answered as `[1]`. */
type Span = readonly [calledAt: number, returnedAt: number] | readonly [calledAt: number];

const add = (span: Span, output?: number, by = 1) =>
  call<CounterInput, number>({ kind: "add", by }, span, output);
const count = (span: Span, output?: number) => call<CounterInput, number>({ kind: "read" }, span, output);
const write = (span: Span, value: string) =>
  call<RegisterInput, string>({ kind: "write", value }, span, value);
const read = (span: Span, output: string) => call<RegisterInput, string>({ kind: "read" }, span, output);
const swap = (span: Span, from: string, to: string, output: string) =>
  call<RegisterInput, string>({ kind: "swap", from, to }, span, output);

function call<Input, Output>(
  input: Input,
  [calledAt, at]: Span,
  output: Output | undefined,
): Operation<Input, Output> {
  if (at === undefined || output === undefined) return { input, calledAt, outcome: { kind: "unknown" } };
  return { input, calledAt, outcome: { kind: "returned", at, output } };
}

function kindOf<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  ...history: readonly Operation<Input, Output>[]
): string {
  return checkLinearizable(model, history).kind;
}

describe("histories that have an order", () => {
  test("nothing at all", () => expect(kindOf(counterModel)).toBe("linearizable"));

  test("calls at the same time are ordered by what they answer, and not by when they began", () => {
    expect(kindOf(counterModel, add([0, 10], 3), add([1, 9], 1), add([2, 8], 2))).toBe("linearizable");
  });

  test("a read sees a write that is under way, or does not yet", () => {
    expect(kindOf(registerModel, write([0, 10], "a"), read([1, 2], ""), read([3, 4], "a"))).toBe(
      "linearizable",
    );
  });

  test("an answer and a call at the same instant may be either way round", () => {
    expect(kindOf(counterModel, add([0, 5], 2), add([5, 9], 1))).toBe("linearizable");
  });

  test("a call of unknown outcome acts late", () => {
    expect(kindOf(counterModel, add([0]), count([10, 11], 0), count([20, 21], 1))).toBe("linearizable");
  });

  test("or never", () => expect(kindOf(counterModel, add([0]), count([10, 11], 0))).toBe("linearizable"));

  test("one that failed does nothing", () => {
    const failed: Operation<CounterInput, number> = { ...add([0]), outcome: { kind: "failed" } };
    expect(kindOf(counterModel, failed, count([10, 11], 0))).toBe("linearizable");
    expect(kindOf(counterModel, failed, count([10, 11], 1))).toBe("violated");
  });

  test("an order that is given explains the history", () => {
    const history = [add([0, 10], 3), add([1, 9], 1), add([0]), count([20, 21], 3)];
    const verdict = checkLinearizable(counterModel, history);
    if (verdict.kind !== "linearizable") throw new Error(verdict.kind);
    const outputs = verdict.order.map(({ outcome }) =>
      outcome.kind === "returned" ? outcome.output : "unknown",
    );
    expect(outputs).toEqual([1, "unknown", 3, 3]);
  });
});

describe("histories that have none", () => {
  test("one value is made twice", () => {
    expect(kindOf(counterModel, add([0, 5], 1), add([1, 6], 1))).toBe("violated");
  });

  test("an acknowledged increment is lost", () => {
    expect(kindOf(counterModel, add([0, 1], 1), count([2, 3], 0))).toBe("violated");
  });

  test("a read goes back behind another read", () => {
    expect(kindOf(registerModel, write([0, 10], "a"), read([1, 2], "a"), read([3, 4], ""))).toBe("violated");
  });

  test("an increment acts before it was called", () => {
    expect(kindOf(counterModel, count([0, 1], 1), add([2, 3], 1))).toBe("violated");
    expect(kindOf(counterModel, count([0, 1], 1), add([2]))).toBe("violated");
  });

  test("one of unknown outcome acts twice", () => {
    expect(kindOf(counterModel, add([0]), count([5, 6], 2))).toBe("violated");
    expect(
      kindOf(
        registerModel,
        write([0], "a"),
        write([0, 1], "b"),
        read([2, 3], "a"),
        write([4, 5], "c"),
        read([6, 7], "a"),
      ),
    ).toBe("violated");
  });

  test("two copies each swap the same value", () => {
    expect(kindOf(registerModel, swap([0, 5], "", "a", ""), swap([1, 6], "", "b", ""))).toBe("violated");
  });

  test("the answer that completes the contradiction is told, with what could come before it", () => {
    const wrong = { ...count([20, 21], 1), label: "wrong" };
    const history = [
      add([0, 1], 1),
      add([2, 3], 2),
      wrong,
      ...Array.from({ length: 50 }, (_, n) => add([30 + 2 * n, 31 + 2 * n], n + 3)),
    ];
    const verdict = checkLinearizable(counterModel, history);
    if (verdict.kind !== "violated") throw new Error(verdict.kind);
    const { answer, order, state, stuck } = verdict.contradiction;
    expect([answer, order, state, stuck]).toEqual([wrong, history.slice(0, 2), 2, [wrong]]);
  });
});

test("where there are too many possibilities nothing is said", () => {
  const history = [...Array.from({ length: 12 }, (_, n) => add([0, 100], 1 + n)), count([200, 201], 13)];
  expect(checkLinearizable(counterModel, history, { configurationsMax: 10 }).kind).toBe("undecided");
});

test(`of a few calls whatever the search says is what trying all orders says (seed ${seed})`, () => {
  expectSameAsBruteForce(registerModel, aCall);
});

test(`the same of a sum that is exchanged (seed ${seed})`, () => {
  expectSameAsBruteForce(sumModel, aCallOfASum);
});

test(`what a real object answers many callers has an order, and not once an answer is changed (seed ${seed})`, () => {
  const random = new SeededRandom(seed);
  for (let round = 0; round < 8; round += 1) {
    const history = played(random, { callers: 8, calls: 600, unknownShare: 0.03 });
    expect(checkLinearizable(counterModel, history).kind).toBe("linearizable");
    const increments = history.filter(
      ({ input, outcome }) => input.kind === "add" && outcome.kind === "returned",
    );
    const changed = random.pick(increments);
    const forged = history.map((operation) => {
      const { outcome } = operation;
      if (operation !== changed || outcome.kind !== "returned") return operation;
      // Nobody else can have made it: there are not that many.
      return { ...operation, outcome: { ...outcome, output: outcome.output - history.length } };
    });
    const verdict = checkLinearizable(counterModel, forged);
    if (verdict.kind !== "violated") throw new Error(verdict.kind);
    expect(verdict.contradiction.answer.label).toBe(changed.label ?? "");
  }
});

test(`forty writes of unknown outcome, each of another value, do not make the search hopeless (seed ${seed})`, () => {
  const random = new SeededRandom(seed);
  const lost = Array.from({ length: 40 }, (_, n) => write([n * 10], `lost${n}`));
  const told: Operation<RegisterInput, string>[] = [];
  for (let n = 0; n < 160; n += 1) {
    const at = 1_000 + n * 10;
    // Some of those that were lost turn up, each once, between others that are answered.
    const value = n % 8 === 3 ? `lost${n >> 3}` : `own${n}`;
    if (n % 8 !== 3) told.push(write([at, at + random.between(1, 25)], value));
    else told.push(read([at + 30, at + 31], value));
    if (n % 8 === 3) told.push(write([at + 32, at + 33], `after${n}`));
  }
  expect(checkLinearizable(registerModel, [...lost, ...told]).kind).toBe("linearizable");
  const again = read([100_000, 100_001], "lost0");
  expect(checkLinearizable(registerModel, [...lost, ...told, again]).kind).toBe("violated");
});

const aTime = {
  calledAt: fc.integer({ min: 0, max: 12 }),
  tookFor: fc.integer({ min: 0, max: 8 }),
  kind: fc.constantFrom(
    "returned" as const,
    "returned" as const,
    "returned" as const,
    "unknown" as const,
    "failed" as const,
  ),
};

const aCall: fc.Arbitrary<Operation<RegisterInput, string>> = fc
  .record({
    input: fc.oneof(
      fc.record({ kind: fc.constant("write" as const), value: fc.constantFrom("a", "b") }),
      fc.record({ kind: fc.constant("read" as const) }),
      fc.record({
        kind: fc.constant("swap" as const),
        from: fc.constantFrom("", "a"),
        to: fc.constantFrom("a", "b"),
      }),
    ),
    ...aTime,
    output: fc.constantFrom("", "a", "b"),
  })
  .map(({ input, calledAt, tookFor, output, kind }) => {
    if (kind !== "returned") return { input, calledAt, outcome: { kind } };
    // A write that answers anything else would have no order, whatever the others do.
    const said = input.kind === "write" ? input.value : output;
    return { input, calledAt, outcome: { kind, at: calledAt + tookFor, output: said } };
  });

const aCallOfASum: fc.Arbitrary<Operation<SumInput, SumOutput>> = fc
  .record({
    input: fc.oneof(
      fc.record({ kind: fc.constant("add" as const), by: fc.integer({ min: 1, max: 2 }) }),
      fc.record({ kind: fc.constant("read" as const) }),
      fc.record({
        kind: fc.constant("exchange" as const),
        expected: fc.integer({ min: 0, max: 2 }),
        next: fc.integer({ min: 0, max: 3 }),
      }),
    ),
    ...aTime,
    total: fc.integer({ min: 0, max: 3 }),
    hasExchanged: fc.boolean(),
  })
  .map(({ input, calledAt, tookFor, total, hasExchanged, kind }) => {
    if (kind !== "returned") return { input, calledAt, outcome: { kind } };
    const exchanged = input.kind === "exchange" ? { exchanged: hasExchanged } : {};
    const output = { total: hasExchanged && input.kind === "exchange" ? input.next : total, ...exchanged };
    return { input, calledAt, outcome: { kind, at: calledAt + tookFor, output } };
  });

function expectSameAsBruteForce<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  call: fc.Arbitrary<Operation<Input, Output>>,
): void {
  const kinds = new Map<string, number>();
  const property = fc.property(fc.array(call, { maxLength: 6 }), (history) => {
    const { kind } = checkLinearizable(model, history);
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    expect(kind).toBe(hasOrder(model, history) ? "linearizable" : "violated");
  });
  fc.assert(property, { seed, numRuns: 4_000 });
  // Else nothing was compared.
  expect(Math.min(kinds.get("linearizable") ?? 0, kinds.get("violated") ?? 0)).toBeGreaterThan(200);
}

/** By trying everything. */
function hasOrder<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  state = model.initial,
): boolean {
  if (history.every(({ outcome }) => outcome.kind !== "returned")) return true;
  const firstAnswerAt = Math.min(
    ...history.map(({ outcome }) => (outcome.kind === "returned" ? outcome.at : Infinity)),
  );
  return history.some((operation, index) => {
    const { outcome, calledAt, input } = operation;
    if (outcome.kind === "failed" || calledAt > firstAnswerAt) return false;
    const { state: next, output } = model.step(state, input);
    if (outcome.kind === "returned" && !Bun.deepEquals(outcome.output, output)) return false;
    return hasOrder(model, history.toSpliced(index, 1), next);
  });
}

interface Played {
  readonly callers: number;
  readonly calls: number;
  /** Of the calls that are never answered; half of them act, some long after. */
  readonly unknownShare: number;
}

/** Callers of a counter that does one thing after the other, as they see it. */
function played(
  random: SeededRandom,
  { callers, calls, unknownShare }: Played,
): Operation<CounterInput, number>[] {
  const freeAt = Array.from({ length: callers }, () => 0);
  const started = Array.from({ length: calls }, (_, n) => {
    const caller = random.between(0, callers - 1);
    const calledAt = (freeAt[caller] ?? 0) + random.between(1, 5);
    const isUnknown = random.isLucky(unknownShare);
    const actsAt = calledAt + random.next() * (isUnknown ? 500 : 20);
    const at = actsAt + random.next() * 20;
    freeAt[caller] = at;
    const input: CounterInput = random.isLucky(0.6) ? { kind: "add", by: 1 } : { kind: "read" };
    return {
      label: `caller${caller}#${n}`,
      input,
      calledAt,
      actsAt,
      at,
      isUnknown,
      acts: !isUnknown || random.isLucky(0.5),
    };
  });
  let state = counterModel.initial;
  return started
    .sort((a, b) => a.actsAt - b.actsAt)
    .map(({ label, input, calledAt, at, isUnknown, acts }) => {
      const after = acts ? counterModel.step(state, input) : { state, output: 0 };
      state = after.state;
      if (isUnknown) return { label, input, calledAt, outcome: { kind: "unknown" } };
      return { label, input, calledAt, outcome: { kind: "returned", at, output: after.output } };
    });
}
