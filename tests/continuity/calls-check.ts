import type { Counted, CountedAll } from "./objects/_talk.ts";
import { type Offence, span } from "./offence.ts";
import { longestGap } from "./talk-check.ts";

/** One increment over HTTP, number `n` of its caller: sent once, whatever becomes of it. */
export interface Call {
  readonly client: string;
  readonly n: number;
  readonly edge: string;
  readonly sentAtMs: number;
  readonly endedAtMs: number;
  readonly outcome: Outcome;
}

export type Outcome =
  | ({ readonly kind: "counted" } & Counted)
  /** Told that its handler did not run. */
  | { readonly kind: "refused"; readonly code: string }
  /** It may have been counted, and may not. */
  | { readonly kind: "unknown"; readonly code: string };

export interface CallAllowance {
  /** Codes of failures that may be seen; `"any"` after a crash. */
  readonly failures: "any" | readonly string[];
  /** Whether the object may have forgotten what it counted: its state was in memory, and its host is gone. */
  readonly mayForget: boolean;
}

export interface CallFindings {
  readonly offences: readonly Offence[];
  readonly counted: number;
  readonly unknown: number;
  /** Of those that are unknown: how many were counted after all. */
  readonly unknownCounted: number;
  /** How often each failure was seen. */
  readonly failures: ReadonlyMap<string, number>;
  readonly longestWithoutSuccessMs: number;
}

/** Whether each increment that was acknowledged was counted exactly once, and each that was refused was not. */
export function checkCalls(
  calls: readonly Call[],
  final: CountedAll | undefined,
  allowed: CallAllowance,
): CallFindings {
  const failures = new Map<string, number>();
  for (const { outcome } of calls)
    if (outcome.kind !== "counted") failures.set(outcome.code, (failures.get(outcome.code) ?? 0) + 1);
  const offences = [...failureOffences(calls, allowed), ...valueOffences(calls)];
  if (final !== undefined && !allowed.mayForget) offences.push(...finalOffences(calls, final));
  const successes = calls.filter(({ outcome }) => outcome.kind === "counted");
  const unknown = calls.filter(({ outcome }) => outcome.kind === "unknown");
  return {
    ...{ offences, failures, counted: successes.length, unknown: unknown.length },
    unknownCounted: unknown.filter((call) => final !== undefined && isIn(final, call)).length,
    longestWithoutSuccessMs: longestGap(successes.map(({ endedAtMs }) => endedAtMs)),
  };
}

function failureOffences(calls: readonly Call[], { failures }: CallAllowance): Offence[] {
  if (failures === "any") return [];
  return calls.flatMap(({ client, n, edge, outcome }) => {
    if (outcome.kind === "counted" || failures.includes(outcome.code)) return [];
    return [{ kind: "refused" as const, client, text: `increment ${n} at ${edge}: ${outcome.code}` }];
  });
}

/** No two increments of one life make the same value, and none a smaller one than was told before it was sent. */
function valueOffences(calls: readonly Call[]): Offence[] {
  const offences: Offence[] = [];
  const made = new Map<string, string>();
  const byEnd = calls.flatMap(({ client, n, endedAtMs, outcome }) =>
    outcome.kind === "counted" ? [{ name: `${client}#${n}`, endedAtMs, ...outcome }] : [],
  );
  byEnd.sort((a, b) => a.endedAtMs - b.endedAtMs);
  const floors = new Map<string, { value: number; name: string }>();
  let next = 0;
  for (const { client, n, edge, sentAtMs, outcome } of calls.toSorted((a, b) => a.sentAtMs - b.sentAtMs)) {
    for (let told = byEnd[next]; told !== undefined && told.endedAtMs < sentAtMs; told = byEnd[++next]) {
      const floor = floors.get(told.life);
      if (floor === undefined || floor.value < told.value) floors.set(told.life, told);
    }
    if (outcome.kind !== "counted") continue;
    const { life, value, owner } = outcome;
    const name = `${client}#${n}`;
    const twin = made.get(`${life}/${value}`);
    made.set(`${life}/${value}`, name);
    if (twin !== undefined)
      offences.push({
        kind: "forked",
        client,
        text: `${twin} and ${name} both made ${value} of life ${life}`,
      });
    const floor = floors.get(life);
    if (floor !== undefined && value <= floor.value) {
      const text = `${name} at ${edge} made ${value} (by ${owner}), sent after ${floor.name} was told ${floor.value}`;
      offences.push({ kind: "rolled back", client, text });
    }
  }
  return offences;
}

function finalOffences(calls: readonly Call[], final: CountedAll): Offence[] {
  const offences: Offence[] = [];
  for (const [first, last] of forgotten(calls, final)) {
    const { client } = first;
    const text = `increments ${span(first.n, last.n)} were acknowledged; the object has ${runsAround(final, first)} of its increments at the end`;
    offences.push({ kind: "lost", client, text });
  }
  for (const call of calls) {
    const { client, n, outcome } = call;
    const where = `the object has ${runsAround(final, call)} of its increments at the end`;
    if (outcome.kind === "refused" && isIn(final, call))
      offences.push({
        kind: "invented",
        client,
        text: `increment ${n} was refused (${outcome.code}); ${where}`,
      });
  }
  for (const name of final.twice)
    offences.push({
      kind: "repeated",
      client: name.split("#")[0] ?? name,
      text: `increment ${name} was counted twice`,
    });
  const sent = new Map<string, Set<number>>();
  for (const { client, n } of calls) sent.set(client, (sent.get(client) ?? new Set()).add(n));
  let total = 0;
  for (const [client, runs] of Object.entries(final.counted))
    for (const [from, to] of runs) {
      total += to - from + 1;
      const ofClient = sent.get(client);
      // Of somebody who keeps no record, as a test that increments by hand.
      if (ofClient === undefined) continue;
      for (let n = from; n <= to; n += 1)
        if (!ofClient.has(n))
          offences.push({ kind: "invented", client, text: `increment ${n} was counted, and nobody sent it` });
    }
  if (total !== final.count) {
    const text = `the count is ${final.count}, and ${total} increments are in it`;
    offences.push({ kind: "forked", client: "everybody", text });
  }
  return offences;
}

/** Pieces of what a client was acknowledged and the object does not have. */
function forgotten(calls: readonly Call[], final: CountedAll): [first: Call, last: Call][] {
  const pieces: [first: Call, last: Call][] = [];
  const byClient = calls.toSorted((a, b) => a.client.localeCompare(b.client) || a.n - b.n);
  for (const call of byClient) {
    if (call.outcome.kind !== "counted" || isIn(final, call)) continue;
    const piece = pieces.at(-1);
    if (piece !== undefined && piece[1].client === call.client && piece[1].n === call.n - 1) piece[1] = call;
    else pieces.push([call, call]);
  }
  return pieces;
}

function isIn({ counted }: CountedAll, { client, n }: Call): boolean {
  return (counted[client] ?? []).some(([from, to]) => from <= n && n <= to);
}

/** The runs of a client next to one of its numbers. */
function runsAround({ counted }: CountedAll, { client, n }: Call): string {
  const runs = (counted[client] ?? []).filter(([from, to]) => to >= n - 20 && from <= n + 20);
  return runs.length === 0 ? "nothing near" : runs.map(([from, to]) => span(from, to)).join(", ");
}
