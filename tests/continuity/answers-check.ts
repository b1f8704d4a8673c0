import type { Allowance, Connection } from "./conversation.ts";
import { around, type Offence, placeOf, span } from "./offence.ts";

export interface AnswersFindings {
  readonly offences: readonly Offence[];
  readonly answered: number;
  /** Sent, and not answered on a connection that stayed open, or that went on to answer later ones. */
  readonly lost: number;
  /** Under way when their connection closed: nobody knows. */
  readonly unknown: number;
}

/** Whether each message of a client was answered, on its own connection, once and in order. */
export function checkAnswers(connection: Connection, allowed: Allowance): AnswersFindings {
  const { client, edge, sent, heard, closing } = connection;
  const offences: Offence[] = [];
  const echoes = heard.flatMap((told) => (told.kind === "echo" ? [told] : []));
  const seenOrder = echoes.map(({ n }) => n);
  const sentOrder = sent.map(({ n }) => n);
  const sentSet = new Set(sentOrder);
  const seen = new Set<number>();
  let last = Number.NEGATIVE_INFINITY;
  for (const [index, echo] of echoes.entries()) {
    const found = echoOffence(echo.n, last, sentSet, seen);
    if (echo.client !== client)
      offences.push({
        kind: "strayed",
        client,
        text: `at ${edge}, heard the answer to ${echo.client}#${echo.n}`,
      });
    else if (found !== undefined) {
      const text = `at ${edge}, the answer to ${echo.n} (${found}); sent ${around(sentOrder, placeOf(sentOrder, echo.n))}; answers seen ${around(seenOrder, index)}`;
      offences.push({ kind: found, client, text });
    }
    seen.add(echo.n);
    last = Math.max(last, echo.n);
  }
  const gaps = gapsIn(sentOrder, seen);
  // Nothing says whether the last ones of a connection that was closed were heard.
  const tail = closing !== undefined && gaps.at(-1)?.to === sentOrder.length - 1 ? gaps.pop() : undefined;
  if (gaps.length > allowed.unansweredGapsMax)
    for (const { from, to } of gaps) {
      const text = `at ${edge}, ${numbersAt(sentOrder, from, to)} were never answered (${gaps.length} gaps, ${allowed.unansweredGapsMax} allowed); sent ${around(sentOrder, from, to)}; answers seen ${around(seenOrder, placeOf(seenOrder, sentOrder[from] ?? 0) - 1)}`;
      offences.push({ kind: "lost", client, text });
    }
  const lost = gaps.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  const unknown = tail === undefined ? 0 : tail.to - tail.from + 1;
  return { offences, answered: seen.size, lost, unknown };
}

function echoOffence(
  n: number,
  last: number,
  sent: ReadonlySet<number>,
  seen: ReadonlySet<number>,
): "invented" | "repeated" | "reordered" | undefined {
  if (!sent.has(n)) return "invented";
  if (seen.has(n)) return "repeated";
  return n < last ? "reordered" : undefined;
}

interface Gap {
  /** Places in what was sent, both included. */
  readonly from: number;
  readonly to: number;
}

function gapsIn(sent: readonly number[], seen: ReadonlySet<number>): Gap[] {
  const gaps: Gap[] = [];
  for (const [index, n] of sent.entries()) {
    if (seen.has(n)) continue;
    const last = gaps.at(-1);
    if (last !== undefined && last.to === index - 1) gaps[gaps.length - 1] = { from: last.from, to: index };
    else gaps.push({ from: index, to: index });
  }
  return gaps;
}

function numbersAt(sent: readonly number[], from: number, to: number): string {
  return span(sent[from] ?? Number.NaN, sent[to] ?? Number.NaN);
}
