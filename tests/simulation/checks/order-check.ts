import {
  checkLinearizable,
  type Operation as Call,
  type Verdict as Found,
} from "../../support/linearizability.ts";
import { type SumInput, type SumOutput, sumModel } from "../../support/sequential-models.ts";
import type { Operation, Question } from "./history.ts";

/** Whether some order explains what one sum has answered; where none does, what it is that no order explains. */
export type Verdict =
  | { readonly kind: "linearizable" | "undecided" }
  | { readonly kind: "violated"; readonly what: string };

/** Where it is given up: it takes long only where many outcomes are unknown at once. */
const configurationsMax = 400_000;

/** @param operations of one sum, which was 0 */
export function judgeOrder(operations: readonly Operation[]): Verdict {
  const found = checkLinearizable(sumModel, operations.flatMap(callOf), { configurationsMax });
  return found.kind === "violated"
    ? { kind: "violated", what: contradictionIn(found) }
    : { kind: found.kind };
}

/** What has changed nothing, and told nobody anything, is no part of it. */
function callOf({ question, outcome, invokedAtMs, returnedAtMs }: Operation): Call<SumInput, SumOutput>[] {
  const input = inputOf(question);
  const call = { input, calledAt: invokedAtMs };
  switch (outcome.kind) {
    case "answered": {
      const { kind: _, ...output } = outcome;
      return [{ ...call, outcome: { kind: "returned", at: returnedAtMs, output } }];
    }
    case "refused":
      return [];
    case "unknown":
      return input.kind === "read" ? [] : [{ ...call, outcome: { kind: "unknown" } }];
  }
}

/** Without its name, so that two that do the same are told apart by nothing but their times. */
function inputOf(question: Question): SumInput {
  if (question.kind === "read") return question;
  const { op: _, ...input } = question;
  return input;
}

function contradictionIn({
  contradiction,
}: Extract<Found<number, SumInput, SumOutput>, { kind: "violated" }>): string {
  const { answer, order, state, stuck } = contradiction;
  const candidates = stuck.map(({ input }) => JSON.stringify(input)).join(" nor ");
  return `${shown(answer)} fits nowhere: after ${order.length} calls it is ${state}, and then neither ${candidates} can be next`;
}

function shown({ input, outcome, calledAt }: Call<SumInput, SumOutput>): string {
  const told =
    outcome.kind === "returned"
      ? `${JSON.stringify(outcome.output)} at ${rounded(outcome.at)}`
      : outcome.kind;
  return `${JSON.stringify(input)}, asked at ${rounded(calledAt)} and answered ${told},`;
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
