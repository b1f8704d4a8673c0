import { checkAnswers } from "./answers-check.ts";
import type { Allowance, Connection, Heard } from "./conversation.ts";
import type { Offence } from "./offence.ts";
import { checkTopic, type End } from "./topic-check.ts";

export interface TalkTotals {
  readonly clients: number;
  readonly connections: number;
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly unknown: number;
  readonly topicHeard: number;
  readonly topicMissing: number;
  /** How often the object changed hands, as the numbers that it gave say. */
  readonly ownerChanges: number;
  readonly closings: ReadonlyMap<number, number>;
  /** The longest time without an answer, for each client. */
  readonly pausesMs: readonly number[];
}

export interface TalkFindings {
  readonly offences: readonly Offence[];
  readonly totals: TalkTotals;
}

/**
 * Compares what all clients of one object have sent and heard with what they should have. A single client's connection says
 * what was lost, repeated or overtaken; all of them together say whether two copies of the object were alive, whether one
 * message was handled twice, and whether the object forgot what it had told somebody.
 *
 * @param isSettled whether all that was to come has been waited for: then what is missing at the end is lost, too
 */
export function checkTalk(
  connections: readonly Connection[],
  allowed: Allowance,
  isSettled = true,
): TalkFindings {
  const answers = connections.map((connection) => checkAnswers(connection, allowed));
  const end = isSettled ? endOf(connections) : undefined;
  const topics = connections.map((connection) => checkTopic(connection, allowed, end));
  const offences = [
    ...answers.flatMap((found) => found.offences),
    ...topics.flatMap((found) => found.offences),
    ...closingOffences(connections, allowed),
    ...forkOffences(connections),
    ...lifeOffences(connections, allowed),
    ...rollbackOffences(connections),
  ];
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  const totals = {
    clients: new Set(connections.map(({ client }) => client)).size,
    connections: connections.length,
    sent: sum(connections.map(({ sent }) => sent.length)),
    answered: sum(answers.map(({ answered }) => answered)),
    lost: sum(answers.map(({ lost }) => lost)),
    unknown: sum(answers.map(({ unknown }) => unknown)),
    topicHeard: sum(topics.map(({ heard }) => heard)),
    topicMissing: sum(topics.map(({ missing }) => missing)),
    ownerChanges: ownerChangesIn(connections),
    closings: closingsIn(connections),
    pausesMs: pausesOf(connections),
  };
  return { offences, totals };
}

/** The largest number of the life that was heard of last. */
function endOf(connections: readonly Connection[]): End | undefined {
  let last: Heard | undefined;
  for (const { heard } of connections) {
    const told = heard.at(-1);
    if (told !== undefined && (last === undefined || told.atMs > last.atMs)) last = told;
  }
  if (last === undefined) return undefined;
  const { life } = last;
  let number = 0;
  for (const { heard } of connections)
    for (const told of heard) if (told.life === life) number = Math.max(number, told.number);
  return { life, number };
}

function closingOffences(connections: readonly Connection[], { closings }: Allowance): Offence[] {
  return connections.flatMap(({ client, edge, closing }) => {
    if (closing === undefined) return [];
    const { code, reason } = closing;
    const isAllowed = closings.some(
      (one) => (one.edge === "any" || one.edge === edge) && one.codes.includes(code),
    );
    const text = `its socket at ${edge} was closed with ${code} ${JSON.stringify(reason)}`;
    return isAllowed ? [] : [{ kind: "closed" as const, client, text }];
  });
}

/** One number of one life is one message, whoever heard of it; and one message has one number. */
function forkOffences(connections: readonly Connection[]): Offence[] {
  const offences: Offence[] = [];
  const messageOf = new Map<string, { message: string; by: string }>();
  const placeOfMessage = new Map<string, string>();
  const reported = new Set<string>();
  for (const { client, heard } of connections) {
    for (const told of heard) {
      if (told.kind === "welcome") continue;
      const place = `${told.life}/${told.number}`;
      const message = `${told.client}#${told.n}`;
      const by = `${told.owner}, heard by ${client}`;
      const first = messageOf.get(place);
      if (first === undefined) messageOf.set(place, { message, by });
      else if (first.message !== message && !reported.has(place)) {
        reported.add(place);
        const text = `number ${told.number} of life ${told.life} is ${first.message} (${first.by}) and ${message} (${by}): two copies were alive`;
        offences.push({ kind: "forked", client, text });
      }
      const earlier = placeOfMessage.get(message);
      if (earlier === undefined) placeOfMessage.set(message, place);
      else if (earlier !== place && !reported.has(message)) {
        reported.add(message);
        const text = `${message} was handled twice: as ${earlier} and as ${place} (by ${told.owner})`;
        offences.push({ kind: "repeated", client, text });
      }
    }
  }
  return offences;
}

function lifeOffences(connections: readonly Connection[], { livesMax }: Allowance): Offence[] {
  const lives = new Map<string, string>();
  for (const { client, heard } of connections)
    for (const told of heard) if (!lives.has(told.life)) lives.set(told.life, `${client} (${told.owner})`);
  if (lives.size <= livesMax) return [];
  const seen = Array.from(lives, ([life, by]) => `${life} by ${by}`).join(", ");
  const text = `the object's state was made ${lives.size} times, ${livesMax} allowed: ${seen}`;
  return [{ kind: "restarted", client: "everybody", text }];
}

/** Whoever connects is welcomed with at least the number that anybody has heard of by then. */
function rollbackOffences(connections: readonly Connection[]): Offence[] {
  const all = connections.flatMap(({ client, dialledAtMs, heard }) =>
    heard.map((told) => ({ told, client, dialledAtMs })),
  );
  const inOrder = all.toSorted((a, b) => timeOf(a) - timeOf(b));
  const toldBefore = new Map<string, number>();
  const offences: Offence[] = [];
  for (const { told, client } of inOrder) {
    const before = toldBefore.get(told.life) ?? 0;
    if (told.kind !== "welcome") toldBefore.set(told.life, Math.max(before, told.number));
    else if (told.number < before) {
      const text = `was welcomed at ${told.number} of life ${told.life} by ${told.owner}, after somebody had heard of ${before}`;
      offences.push({ kind: "rolled back", client, text });
    }
  }
  return offences;
}

/** A welcome counts from when its connection was asked for: what was heard later it need not know. */
function timeOf({ told, dialledAtMs }: { told: Heard; dialledAtMs: number }): number {
  return told.kind === "welcome" ? dialledAtMs : told.atMs;
}

function ownerChangesIn(connections: readonly Connection[]): number {
  const lives = new Map<string, Map<number, string>>();
  for (const { heard } of connections)
    for (const { kind, life, number, owner } of heard) {
      const owners = lives.get(life) ?? new Map<number, string>();
      if (kind !== "welcome") owners.set(number, owner);
      lives.set(life, owners);
    }
  const changesIn = (owners: ReadonlyMap<number, string>) => {
    const inOrder = [...owners].sort(([a], [b]) => a - b).map(([, owner]) => owner);
    return inOrder.filter((owner, index) => index > 0 && inOrder[index - 1] !== owner).length;
  };
  return Array.from(lives.values(), changesIn).reduce((sum, changes) => sum + changes, lives.size - 1);
}

function closingsIn(connections: readonly Connection[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { closing } of connections)
    if (closing !== undefined) counts.set(closing.code, (counts.get(closing.code) ?? 0) + 1);
  return counts;
}

function pausesOf(connections: readonly Connection[]): number[] {
  const answeredAtMs = new Map<string, number[]>();
  for (const { client, heard } of connections) {
    const times = heard.flatMap(({ kind, atMs }) => (kind === "echo" ? [atMs] : []));
    answeredAtMs.set(client, [...(answeredAtMs.get(client) ?? []), ...times]);
  }
  return Array.from(answeredAtMs.values(), (times) => longestGap(times));
}

/** Between two that follow each other, in whole milliseconds. */
export function longestGap(times: readonly number[]): number {
  const inOrder = times.toSorted((a, b) => a - b);
  let longest = 0;
  for (const [index, time] of inOrder.entries())
    longest = Math.max(longest, time - (inOrder[index - 1] ?? time));
  return Math.round(longest);
}
