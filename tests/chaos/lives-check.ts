import type { Offence } from "../continuity/offence.ts";
import type { Call } from "./operations.ts";

/** What is known of when one life of an object in memory answered. */
interface Span {
  readonly life: string;
  /** The call that ended first, and the one that began last. */
  first: Call;
  last: Call;
}

/**
 * Whether an object that lives in memory was alive once at a time: of two lives that both answered, one must have given its last
 * answer before the other gave its first. An answer was given at some instant between its call and its end; so two lives
 * overlap for certain where each has answered before a call began that the other answered.
 *
 * @param calls of one object
 */
export function checkLives(calls: readonly Call[]): Offence[] {
  const spans = new Map<string, Span>();
  for (const call of calls) {
    if (call.outcome.kind !== "ok" || call.outcome.life === undefined) continue;
    const { life } = call.outcome;
    const span = spans.get(life);
    if (span === undefined) spans.set(life, { life, first: call, last: call });
    else {
      if (call.endedAtMs < span.first.endedAtMs) span.first = call;
      if (call.calledAtMs > span.last.calledAtMs) span.last = call;
    }
  }
  const all = [...spans.values()];
  return all.flatMap((one, index) => all.slice(index + 1).flatMap((other) => overlap(one, other)));
}

function overlap(one: Span, other: Span): Offence[] {
  const isAlternating = precedes(one.first, other.last) && precedes(other.first, one.last);
  if (!isAlternating) return [];
  const told = [one.first, other.first, one.last, other.last].map(describe).join("; ");
  const text = `${one.first.object} lived twice at once, as ${one.life} and ${other.life}: ${told}`;
  return [{ kind: "two copies", client: one.first.object, text }];
}

function precedes(earlier: Call, later: Call): boolean {
  return earlier.endedAtMs < later.calledAtMs;
}

function describe({ label, calledAtMs, endedAtMs, outcome }: Call): string {
  const [life, owner] = outcome.kind === "ok" ? [outcome.life ?? "", outcome.owner] : ["", ""];
  return `${label} (${calledAtMs.toFixed(0)}-${endedAtMs.toFixed(0)} ms) by ${owner} in ${life.slice(0, 8)}`;
}
