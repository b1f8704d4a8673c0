import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import { Caller } from "./caller.ts";
import { type CallAllowance, type CallFindings, checkCalls } from "./calls-check.ts";
import type { Allowance } from "./conversation.ts";
import type { CountedAll } from "./objects/_talk.ts";
import { type Offence, offenceLines } from "./offence.ts";
import { recoveryLimitMs, type Stage } from "./stage.ts";
import { checkTalk, type TalkFindings } from "./talk-check.ts";
import { TalkClient } from "./talk-client.ts";

export interface LoadPlan {
  /** `/talk/x`. */
  readonly object: string;
  readonly random: SeededRandom;
  /** Spread evenly over the edges. */
  readonly clients?: number;
  readonly callers?: number;
  readonly everyMs?: number;
}

export const loadDefaults = { clients: 9, callers: 3, everyMs: 40 } as const;

/** What a run has come to: a line of figures, and all that was wrong. */
export interface LoadReport {
  readonly figures: string;
  readonly offences: readonly Offence[];
  readonly talk: TalkFindings;
  readonly calls: CallFindings;
}

/** Clients with sockets and callers of HTTP, all at one object, who go on until `finish` compares notes. */
export class Load {
  readonly clients: readonly TalkClient[];
  readonly callers: readonly Caller[];
  readonly #stage: Stage;
  readonly #object: string;
  readonly #startedAtMs = performance.now();

  private constructor(stage: Stage, plan: LoadPlan) {
    const { object, random } = plan;
    const { clients, callers, everyMs } = { ...loadDefaults, ...plan };
    const { hosts } = stage;
    this.#stage = stage;
    this.#object = object;
    this.clients = Array.from({ length: clients }, (_, index) => {
      const home = stage.host(index % hosts.length);
      return new TalkClient({ name: `c${index}`, object, home, hosts, everyMs, random: random.fork() });
    });
    this.callers = Array.from(
      { length: callers },
      (_, index) => new Caller({ name: `h${index}`, object, hosts, everyMs, random: random.fork() }),
    );
  }

  /** Resolves when everybody is at work. */
  static async start(stage: Stage, plan: LoadPlan): Promise<Load> {
    const load = new Load(stage, plan);
    for (const one of [...load.clients, ...load.callers]) one.start();
    await load.goesOn(3);
    return load;
  }

  /**
   * Until every client and every caller has been answered `count` times more.
   *
   * @param except with them, only the clients that connect elsewhere
   */
  async goesOn(count = 5, limitMs = recoveryLimitMs, except: readonly HostProcess[] = []): Promise<void> {
    const before = this.#progress();
    const isSlow = ({ done, home }: Progress, index: number) => {
      const isAwaited = except.length === 0 || (home !== undefined && !except.includes(home));
      return isAwaited && done < (before[index]?.done ?? 0) + count;
    };
    await until(
      `everybody is answered ${count} times more`,
      () => !this.#progress().some(isSlow),
      limitMs,
    ).catch((error: Error) => {
      const slow = this.#progress().filter(isSlow);
      throw new Error(`${error.message}; not yet: ${slow.map(({ name }) => name).join(", ")}`);
    });
  }

  /** Until a client has been answered once more: what a fault made impossible is possible again for somebody. */
  async somebodyIsAnswered(limitMs = recoveryLimitMs): Promise<void> {
    const before = this.#progress();
    await until(
      "somebody is answered",
      () => this.#progress().some(({ done }, index) => done > (before[index]?.done ?? 0)),
      limitMs,
    );
  }

  /** Ends the work, waits for all that is still to come, hangs up and compares. */
  async finish(allowed: Allowance, calls: CallAllowance): Promise<LoadReport> {
    await Promise.all(this.callers.map((caller) => caller.stop()));
    const unsettled = await this.#settle();
    const tookMs = performance.now() - this.#startedAtMs;
    const counted = await this.#counted().catch(() => undefined);
    await Promise.all(this.clients.map((client) => client.stop()));
    const connections = this.clients.flatMap((client) => client.connections);
    const talk = checkTalk(connections, allowed, unsettled.length === 0);
    const all = this.callers.flatMap((caller) => caller.calls);
    const found = checkCalls(all, counted, calls);
    if (counted === undefined)
      unsettled.push({
        kind: "unsettled",
        client: "everybody",
        text: `${this.#object} does not say what it counted`,
      });
    const offences = [...unsettled, ...talk.offences, ...found.offences];
    return { offences, talk, calls: found, figures: figuresOf(talk, found, tookMs) };
  }

  /** Hangs up, without a word on what was seen. */
  async stop(): Promise<void> {
    await Promise.all([...this.clients, ...this.callers].map((one) => one.stop()));
  }

  async #settle(): Promise<Offence[]> {
    for (const client of this.clients) client.silence();
    const words = await Promise.allSettled(this.clients.map((client) => client.lastWord(recoveryLimitMs)));
    const offences = words.flatMap((word, index): Offence[] =>
      word.status === "fulfilled"
        ? []
        : [{ kind: "unsettled", client: this.clients[index]?.name ?? "", text: String(word.reason) }],
    );
    // All has been said. Whoever has not heard all of it by then is told of by the checker, with what is missing.
    await until("everybody has heard everything", () => this.#hasHeardAll()).catch(() => undefined);
    return offences;
  }

  #hasHeardAll(): boolean {
    const ends = this.clients.map(({ topicEnd }) => topicEnd);
    const last = ends.reduce((a, b) => (b !== undefined && b.number > (a?.number ?? -1) ? b : a), undefined);
    return ends.every((end) => end?.life === last?.life && end?.number === last?.number);
  }

  async #counted(): Promise<CountedAll> {
    return until(
      `${this.#object} says what it has counted`,
      async () => {
        const host = this.#stage.hosts.find(({ isReady }) => isReady);
        if (host === undefined) return false;
        const response = await fetch(host.url(`${this.#object}/counted`), {
          signal: AbortSignal.timeout(5_000),
        });
        if (response.status !== 200) return false;
        const all: CountedAll = await response.json(); // as the class answers
        return all;
      },
      recoveryLimitMs,
    );
  }

  #progress(): Progress[] {
    return [
      ...this.clients.map(({ name, answers, home }) => ({ name, done: answers, home })),
      ...this.callers.map(({ name, successes }) => ({ name, done: successes, home: undefined })),
    ];
  }
}

interface Progress {
  readonly name: string;
  readonly done: number;
  readonly home: HostProcess | undefined;
}

function figuresOf({ totals }: TalkFindings, calls: CallFindings, tookMs: number): string {
  const pauses = totals.pausesMs.toSorted((a, b) => a - b);
  const list = (counts: ReadonlyMap<unknown, number>) =>
    counts.size === 0 ? "none" : Array.from(counts, ([what, count]) => `${what} x ${count}`).join(", ");
  return [
    `${(tookMs / 1000).toFixed(1)} s`,
    `pause ${pauses[Math.floor(pauses.length / 2)] ?? 0} ms median, ${pauses.at(-1) ?? 0} ms max`,
    `${totals.sent} sent, ${totals.answered} answered, ${totals.lost} lost, ${totals.unknown} unknown`,
    `${totals.topicHeard} heard, ${totals.topicMissing} missing`,
    `${totals.ownerChanges} changes of owner`,
    `closed: ${list(totals.closings)}`,
    `increments: ${calls.counted} counted, ${calls.unknown} unknown (${calls.unknownCounted} counted), failures: ${list(calls.failures)}, ${calls.longestWithoutSuccessMs} ms without`,
  ].join("; ");
}

/** Prints the figures, and what is wrong with the line that replays it; for the test, the offences as text. */
export function tell(name: string, seed: number, report: LoadReport): string[] {
  console.log(`continuity: ${name}: seed ${seed}; ${report.figures}`);
  const lines = offenceLines(report.offences);
  for (const line of lines) console.log(`continuity: ${name}: ${line}`);
  if (lines.length > 0) console.log(`continuity: ${name}: replay with CONTINUITY_SEED=${seed}`);
  return lines;
}
