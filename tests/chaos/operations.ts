import type { Operation } from "../support/linearizability.ts";
import type { CounterInput, RegisterInput } from "../support/sequential-models.ts";

/** One call of a client, as it saw it. */
export interface Call {
  /** `<class>/<id>`. */
  readonly object: string;
  /** The edge that was asked, by its place on the stage. */
  readonly edge: number;
  readonly label: string;
  readonly input: CallInput;
  readonly calledAtMs: number;
  readonly endedAtMs: number;
  readonly outcome: CallOutcome;
}

export type CallInput =
  | { readonly of: "count"; readonly input: CounterInput }
  | { readonly of: "text"; readonly input: RegisterInput };

export type CallOutcome =
  /** @property life of objects that live in memory alone */
  | { readonly kind: "ok"; readonly value: number | string; readonly owner: string; readonly life?: string }
  /** The handler did not run, as the host says. */
  | { readonly kind: "failed"; readonly code: string }
  | { readonly kind: "unknown"; readonly code: string };

/** Of one object, what was done to its number. */
export function countOperations(calls: readonly Call[]): Operation<CounterInput, number>[] {
  return calls.flatMap((call) =>
    call.input.of === "count" ? [operation(call, call.input.input, (value) => Number(value))] : [],
  );
}

/** Of one object, what was done to its text. */
export function textOperations(calls: readonly Call[]): Operation<RegisterInput, string>[] {
  return calls.flatMap((call) =>
    call.input.of === "text" ? [operation(call, call.input.input, (value) => String(value))] : [],
  );
}

function operation<Input, Output>(
  { calledAtMs, endedAtMs, outcome, label }: Call,
  input: Input,
  outputOf: (value: number | string) => Output,
): Operation<Input, Output> {
  const call = { input, calledAt: calledAtMs, label };
  if (outcome.kind !== "ok") return { ...call, outcome: { kind: outcome.kind } };
  return { ...call, outcome: { kind: "returned", at: endedAtMs, output: outputOf(outcome.value) } };
}
