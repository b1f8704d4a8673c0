import type { Allowance, Connection, Heard } from "./conversation.ts";
import { around, type Offence, span } from "./offence.ts";

export interface TopicFindings {
  readonly offences: readonly Offence[];
  readonly heard: number;
  readonly missing: number;
}

/** How far the object got: in its last life, as far as anybody knows. */
export interface End {
  readonly life: string;
  readonly number: number;
}

interface Gap {
  readonly life: string;
  readonly from: number;
  readonly to: number;
  /** Place in what was heard, of what came after it. */
  readonly before: number;
}

/**
 * Whether a connection heard all that was published while it was open, once and in order: from the number that it was
 * welcomed with, each one more than the one before.
 *
 * @param end up to where a connection that stayed open must have heard; undefined: nobody has waited for that
 */
export function checkTopic(connection: Connection, allowed: Allowance, end: End | undefined): TopicFindings {
  const { client, edge } = connection;
  const heard = connection.heard.filter(({ kind }) => kind !== "echo");
  const reading = new Reading();
  for (const [index, told] of heard.entries()) reading.read(told, index);
  if (connection.closing === undefined && end !== undefined) reading.readUpTo(end, heard.length);
  const order = heard.map(({ number }) => number);
  const offences = reading.wrong.map(
    ({ kind, told, index }): Offence => ({
      ...{ kind, client },
      text: `at ${edge}, topic message ${told.number} of life ${told.life} (${told.kind === "welcome" ? "a welcome" : `${told.client}#${told.n}`}, by ${told.owner}); seen ${around(order, index)}`,
    }),
  );
  const gaps = reading.gaps;
  if (gaps.length > allowed.topicGapsMax)
    for (const { life, from, to, before } of gaps) {
      const text = `at ${edge}, topic messages ${span(from, to)} of life ${life} are missing (${gaps.length} gaps, ${allowed.topicGapsMax} allowed); seen ${around(order, before)}`;
      offences.push({ kind: "lost", client, text });
    }
  const missing = gaps.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  return { offences, heard: heard.filter(({ kind }) => kind === "said").length, missing };
}

/** One pass over what a connection heard. */
class Reading {
  readonly wrong: { kind: "repeated" | "reordered" | "forked"; told: Heard; index: number }[] = [];
  readonly gaps: Gap[] = [];
  readonly #pastLives = new Set<string>();
  readonly #seen = new Set<number>();
  #life: string | undefined;
  #last = Number.NaN;

  read(told: Heard, index: number): void {
    if (told.life !== this.#life && !this.#begin(told, index)) return;
    // The welcome says from where on everything is to come; it may come again, and is no message of the topic.
    if (told.kind === "welcome") {
      if (Number.isNaN(this.#last)) this.#last = told.number;
      return;
    }
    const next = this.#last + 1;
    if (this.#seen.has(told.number)) this.wrong.push({ kind: "repeated", told, index });
    else if (told.number < next) this.wrong.push({ kind: "reordered", told, index });
    else if (told.number > next)
      this.gaps.push({ life: told.life, from: next, to: told.number - 1, before: index });
    this.#seen.add(told.number);
    this.#last = Number.isNaN(this.#last) ? told.number : Math.max(this.#last, told.number);
  }

  readUpTo({ life, number }: End, before: number): void {
    if (life === this.#life && this.#last < number)
      this.gaps.push({ life, from: this.#last + 1, to: number, before });
    else if (life !== this.#life) this.gaps.push({ life, from: number, to: number, before });
  }

  /** False: it belongs to a life that was over. What was said before its first message was missed, if anything was. */
  #begin(told: Heard, index: number): boolean {
    if (this.#pastLives.has(told.life)) {
      this.wrong.push({ kind: "forked", told, index });
      return false;
    }
    const isFirst = this.#life === undefined;
    if (this.#life !== undefined) this.#pastLives.add(this.#life);
    this.#life = told.life;
    this.#seen.clear();
    this.#last = isFirst ? Number.NaN : 0;
    return true;
  }
}
