import type { SequentialModel } from "./linearizability.ts";

export type CounterInput = { readonly kind: "add"; readonly by: number } | { readonly kind: "read" };

/** A number that is added to, and answers what it has become. */
export const counterModel: SequentialModel<number, CounterInput, number> = {
  initial: 0,
  step: (count, input) => {
    const next = input.kind === "add" ? count + input.by : count;
    return { state: next, output: next };
  },
  keyOf: String,
  isRead: ({ kind }) => kind === "read",
  isAnswer: (expected, seen) => expected === seen,
};

export type RegisterInput =
  | { readonly kind: "write"; readonly value: string }
  | { readonly kind: "read" }
  /** Answers what was there before, and writes only where that is `from`. */
  | { readonly kind: "swap"; readonly from: string; readonly to: string };

/** A text that is overwritten; a write answers what it wrote. */
export const registerModel: SequentialModel<string, RegisterInput, string> = {
  initial: "",
  step: (text, input) => {
    switch (input.kind) {
      case "write":
        return { state: input.value, output: input.value };
      case "read":
        return { state: text, output: text };
      case "swap":
        return { state: text === input.from ? input.to : text, output: text };
    }
  },
  keyOf: (text) => text,
  isRead: (input, before) => input.kind === "read" || (input.kind === "swap" && before !== input.from),
  isAnswer: (expected, seen) => expected === seen,
};

export type SumInput =
  | CounterInput
  /** Becomes `next` where it is `expected`. */
  | { readonly kind: "exchange"; readonly expected: number; readonly next: number };

export interface SumOutput {
  readonly total: number;
  /** Of an exchange. */
  readonly exchanged?: boolean;
}

/** A number that is added to, and exchanged where it is what the caller expects; it answers what it has become. */
export const sumModel: SequentialModel<number, SumInput, SumOutput> = {
  initial: 0,
  step: (total, input) => {
    switch (input.kind) {
      case "read":
        return { state: total, output: { total } };
      case "add":
        return { state: total + input.by, output: { total: total + input.by } };
      case "exchange": {
        const exchanged = total === input.expected;
        const next = exchanged ? input.next : total;
        return { state: next, output: { exchanged, total: next } };
      }
    }
  },
  keyOf: String,
  isRead: ({ kind }, { exchanged }) => kind === "read" || exchanged === false,
  isAnswer: (expected, seen) => expected.total === seen.total && expected.exchanged === seen.exchanged,
};
