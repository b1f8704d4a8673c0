import type { Offence, OffenceKind } from "../offence.ts";
import { type HeardMessage, type Listening, objectOf, type Publishing, type Upheaval } from "./listening.ts";
import { type Stretch, stretchesOf } from "./stretches.ts";
import { TopicOrder } from "./topic-order.ts";

export interface TopicTotals {
  readonly published: number;
  readonly acknowledged: number;
  readonly heard: number;
  /** How often a listener that came back was told that it has missed nothing, or that it may have. */
  readonly resumes: { readonly recovered: number; readonly lost: number };
  /** Gaps that were told to listeners that stayed. */
  readonly gapsTold: number;
  /** Subscriptions and connections that ended unasked. */
  readonly closed: number;
}

export interface TopicFindings {
  readonly offences: readonly Offence[];
  readonly totals: TopicTotals;
}

/** What was lost before the run did it, by the clocks of those who noticed: a kill and a message cross each other. */
const crossingMs = 3_000;
/** Longest from the loss of an owner until whoever listens to its topics is told. */
const noticedWithinMs = 60_000;

/**
 * Compares what all listeners of all topics have heard with each other and with what was published. `infra/topics/PROTOCOL.md`
 * says what is right; nothing here knows how the machinery does it, and positions are texts that mean nothing.
 */
export function checkListeners(
  listenings: readonly Listening[],
  publishings: readonly Publishing[],
  upheaval: Upheaval,
): TopicFindings {
  const byMessage = new Map(publishings.map((publishing) => [publishing.message, publishing]));
  const offences: Offence[] = [];
  for (const [address, ofTopic] of Map.groupBy(listenings, ({ address }) => address)) {
    const stretches = ofTopic.flatMap(stretchesOf);
    const order = new TopicOrder(stretches);
    const published = publishings.filter((publishing) => publishing.address === address);
    const check = new StretchCheck(order, published, byMessage);
    offences.push(...stretches.flatMap((stretch) => check.offences(stretch)));
    offences.push(...ofTopic.flatMap(repeats), ...forks(ofTopic));
  }
  offences.push(...listenings.flatMap((listening) => wrongStarts(listening, upheaval)));
  return { offences, totals: totalsOf(listenings, publishings) };
}

/** Looks at one stretch after the other of one topic. */
class StretchCheck {
  readonly #order: TopicOrder;
  readonly #byMessage: ReadonlyMap<string, Publishing>;
  /** Those that were acknowledged, in the order in which they were sent. */
  readonly #acknowledged: readonly (Publishing & { readonly answeredAtMs: number })[];

  constructor(
    order: TopicOrder,
    published: readonly Publishing[],
    byMessage: ReadonlyMap<string, Publishing>,
  ) {
    this.#order = order;
    this.#byMessage = byMessage;
    this.#acknowledged = published
      .flatMap((one) => (one.answeredAtMs === undefined ? [] : { ...one, answeredAtMs: one.answeredAtMs }))
      .toSorted((a, b) => a.sentAtMs - b.sentAtMs);
  }

  offences(stretch: Stretch): Offence[] {
    const { listener, address } = stretch;
    const heard = stretch.heard.map(({ message }) => message);
    const found = new Map<string, Offence>();
    const add = (kind: OffenceKind, message: string, why: string) => {
      const text = `${address}: ${message} ${why}; heard ${near(heard, message)}`;
      if (!found.has(message)) found.set(message, { kind, client: listener, text });
    };
    this.#strangers(stretch, add);
    this.#overtaken(stretch, add);
    this.#againstOthers(heard, add);
    this.#unheard(stretch, new Set(heard), add);
    return [...found.values()];
  }

  #strangers({ heard, address }: Stretch, add: Add): void {
    for (const { message } of heard) {
      const publishing = this.#byMessage.get(message);
      if (publishing === undefined) add("invented", message, "was never published");
      else if (publishing.address !== address) add("strayed", message, `was said at ${publishing.address}`);
    }
  }

  /** What was acknowledged before another was sent comes before it; and so does what was sent before it on one connection. */
  #overtaken({ heard }: Stretch, add: Add): void {
    let latest: Publishing | undefined;
    const lastOf = new Map<string, Publishing>();
    // One that comes again is told of as that.
    for (const message of new Set(heard.map((one) => one.message))) {
      const publishing = this.#byMessage.get(message);
      if (publishing === undefined) continue;
      const { answeredAtMs = Number.POSITIVE_INFINITY, line, sentAtMs } = publishing;
      if (latest && answeredAtMs < latest.sentAtMs)
        add("reordered", message, `was acknowledged before ${latest.message} was sent`);
      if (latest === undefined || sentAtMs > latest.sentAtMs) latest = publishing;
      if (line === undefined) continue;
      const before = lastOf.get(line);
      if (before && before.sentAtMs > sentAtMs)
        add("reordered", message, `was sent before ${before.message} on ${line}`);
      else lastOf.set(line, publishing);
    }
  }

  /** In the order in which the others heard them, and none left out. */
  #againstOthers(heard: readonly string[], add: Add): void {
    const own = new Set(heard);
    let last: string | undefined;
    for (const message of own) {
      const before = last === undefined ? undefined : this.#order.placeOf(last);
      const place = this.#order.placeOf(message);
      if (before === undefined || place === undefined) {
        last = message;
        continue;
      }
      if (before.piece === place.piece && place.index < before.index) {
        add("reordered", message, `comes before ${last} for others`);
        continue;
      }
      const end = before.piece === place.piece ? place.index : before.piece.length;
      for (const missed of before.piece.slice(before.index + 1, end))
        if (!own.has(missed)) add("lost", missed, `was heard by others between ${last} and ${message}`);
      last = message;
    }
  }

  /** Acknowledged after the stretch began, and before something was sent that was heard in it: it has to be in it. */
  #unheard({ heard, fromMs }: Stretch, own: ReadonlySet<string>, add: Add): void {
    let untilMs = Number.NEGATIVE_INFINITY;
    for (const { message } of heard) untilMs = Math.max(untilMs, this.#byMessage.get(message)?.sentAtMs ?? 0);
    let index = firstSentAfter(this.#acknowledged, fromMs);
    for (; index < this.#acknowledged.length; index += 1) {
      const publishing = this.#acknowledged[index];
      if (publishing === undefined || publishing.sentAtMs > untilMs) return;
      if (publishing.answeredAtMs < untilMs && !own.has(publishing.message))
        add("lost", publishing.message, "was acknowledged, and what was sent after that was heard");
    }
  }
}

type Add = (kind: OffenceKind, message: string, why: string) => void;

function firstSentAfter(publishings: readonly Publishing[], atMs: number): number {
  let [low, high] = [0, publishings.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((publishings[middle]?.sentAtMs ?? 0) > atMs) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whatever came between: nobody hears a message twice. */
function repeats({ listener, address, told }: Listening): Offence[] {
  const seen = new Set<string>();
  const offences: Offence[] = [];
  const heard = messagesIn(told);
  for (const { message } of heard) {
    if (seen.has(message)) {
      const list = heard.map((one) => one.message);
      offences.push({
        ...{ kind: "repeated", client: listener },
        text: `${address}: ${message} came twice; heard ${near(list, message)}`,
      });
    }
    seen.add(message);
  }
  return offences;
}

/** A position is the place of one message, for all who listen. */
function forks(listenings: readonly Listening[]): Offence[] {
  const messageAt = new Map<string, string>();
  const offences: Offence[] = [];
  for (const { listener, address, told } of listenings)
    for (const { message, position } of messagesIn(told)) {
      if (position === undefined) continue;
      const first = messageAt.get(position) ?? message;
      messageAt.set(position, first);
      if (first === message) continue;
      const text = `${address}: ${position} is ${message} here and ${first} elsewhere`;
      offences.push({ kind: "forked", client: listener, text });
    }
  return offences;
}

/** What is said of a subscription: whether it answers what was asked, and whether there was a reason for it. */
function wrongStarts({ listener, kind, address, told }: Listening, upheaval: Upheaval): Offence[] {
  const offences: Offence[] = [];
  const add = (kind: OffenceKind, text: string) =>
    offences.push({ kind, client: listener, text: `${address}: ${text}` });
  const lossAt = upheaval.losses.filter(({ object }) => object === objectOf(address));
  const isLostBetween = (fromMs: number, toMs: number) =>
    lossAt.some(({ atMs }) => atMs > fromMs && atMs < toMs);
  let wholeAtMs = Number.NEGATIVE_INFINITY;
  for (const one of told) {
    if (one.kind === "subscribed") {
      const { since, position, recovered, atMs } = one;
      if (since !== undefined && recovered === undefined) add("strayed", "does not say whether it recovered");
      if (recovered === true && position !== since)
        add("strayed", `goes on at ${position}, and was asked for ${since}`);
      if (recovered === false && !isLostBetween(wholeAtMs - crossingMs, atMs))
        add("needless", `a gap was told after ${since}, and no owner was lost`);
    }
    if (one.kind === "closed") {
      const { edge, code, atMs } = one;
      if (!upheaval.edgesGone.has(edge) && !isLostBetween(atMs - noticedWithinMs, atMs))
        add("closed", `${kind} at ${edge} was closed with ${code}, and neither edge nor owner was lost`);
    } else wholeAtMs = one.atMs;
  }
  return offences;
}

function totalsOf(listenings: readonly Listening[], publishings: readonly Publishing[]): TopicTotals {
  const all = listenings.flatMap(({ told }) => told);
  const starts = all.filter((one) => one.kind === "subscribed");
  const asked = starts.filter(({ since }) => since !== undefined);
  return {
    published: publishings.length,
    acknowledged: publishings.filter(({ answeredAtMs }) => answeredAtMs !== undefined).length,
    heard: messagesIn(all).length,
    resumes: {
      recovered: asked.filter(({ recovered }) => recovered === true).length,
      lost: asked.filter(({ recovered }) => recovered === false).length,
    },
    gapsTold: starts.filter(({ since, recovered }) => since === undefined && recovered === false).length,
    closed: all.filter(({ kind }) => kind === "closed").length,
  };
}

function messagesIn(told: Listening["told"]): HeardMessage[] {
  return told.filter((one) => one.kind === "message");
}

const nearLength = 4;

/** What was heard around a message, or last where it was not. */
function near(heard: readonly string[], message: string): string {
  const found = heard.lastIndexOf(message);
  const at = found === -1 ? heard.length : found;
  return heard.slice(Math.max(0, at - nearLength), at + nearLength + 1).join(" ");
}
