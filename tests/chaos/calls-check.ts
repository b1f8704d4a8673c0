import type { Offence } from "../continuity/offence.ts";
import { checkLinearizable, type Operation, type SequentialModel } from "../support/linearizability.ts";
import { counterModel, registerModel } from "../support/sequential-models.ts";
import { checkLives } from "./lives-check.ts";
import { type Call, countOperations, textOperations } from "./operations.ts";

/** How much of an order is shown before the place where it is stuck. */
const shownMax = 8;

export interface CallsFindings {
  readonly offences: readonly Offence[];
  /** Histories that were checked, each of one object. */
  readonly histories: number;
  /** Of those: how many had too many possibilities for the search. */
  readonly undecided: number;
}

/** Whether what callers saw of each object could have come from one that does one thing after the other. */
export function checkCalls(calls: readonly Call[]): CallsFindings {
  const offences: Offence[] = [];
  let histories = 0;
  let undecided = 0;
  const check = <State, Input, Output>(
    name: string,
    model: SequentialModel<State, Input, Output>,
    history: readonly Operation<Input, Output>[],
  ) => {
    histories += 1;
    const verdict = checkLinearizable(model, history);
    if (verdict.kind === "undecided") undecided += 1;
    if (verdict.kind !== "violated") return;
    const { answer, order, state, stuck } = verdict.contradiction;
    const text = [
      `${name}: no order explains the answer of ${describe(answer)}`,
      `one that goes furthest ends with ${order.slice(-shownMax).map(describe).join(", ")}`,
      `then it is ${JSON.stringify(state)}, and next had to come one of ${stuck.map(describe).join(", ")}`,
    ].join("; ");
    offences.push({ kind: "contradiction", client: name, text });
  };
  for (const [object, ofObject] of Map.groupBy(calls, (call) => call.object)) {
    offences.push(...checkLives(ofObject));
    for (const [life, ofLife] of livesOf(ofObject))
      check(`${object}/count${life}`, counterModel, countOperations(ofLife));
    check(`${object}/text`, registerModel, textOperations(ofObject));
  }
  return { offences, histories, undecided };
}

/** Of an object in memory one history for each life; what nobody knows the outcome of may have been in any of them. */
function livesOf(calls: readonly Call[]): Map<string, Call[]> {
  const lifeOf = ({ outcome }: Call) => (outcome.kind === "ok" ? outcome.life : undefined);
  const lives = new Set(calls.map(lifeOf).filter((life) => life !== undefined));
  if (lives.size === 0) return new Map([["", [...calls]]]);
  return new Map(
    Array.from(lives, (life) => [
      ` of ${life.slice(0, 8)}`,
      calls.filter((call) => call.outcome.kind !== "ok" || lifeOf(call) === life),
    ]),
  );
}

function describe<Input, Output>({ label, input, calledAt, outcome }: Operation<Input, Output>): string {
  const until = outcome.kind === "returned" ? `${outcome.at.toFixed(0)} ms` : outcome.kind;
  const answer = outcome.kind === "returned" ? ` = ${JSON.stringify(outcome.output)}` : "";
  return `${label} ${JSON.stringify(input)}${answer} (${calledAt.toFixed(0)} to ${until})`;
}
