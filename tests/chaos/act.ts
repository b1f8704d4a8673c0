import type { Offence } from "../continuity/offence.ts";
import type { TopicTotals } from "../continuity/topics/listeners-check.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { FaultWindow } from "./availability.ts";
import type { CallsFindings } from "./calls-check.ts";
import { type ChaosStage, leaseTtlMs } from "./chaos-stage.ts";
import { Checking } from "./checking.ts";
import { beyondFaults } from "./beyond-faults.ts";
import { type BeyondName, type FaultName, faultOf, isBeyond, pairsOf, twoAtOnce } from "./fault-names.ts";
import type { Journal } from "./journal.ts";
import type { Call } from "./operations.ts";
import { Participants } from "./participants.ts";
import { Recovery } from "./recovery.ts";
import { Strike } from "./strike.ts";

export interface ActSetup {
  readonly stage: ChaosStage;
  readonly random: SeededRandom;
  readonly journal: Journal;
  readonly seconds: number;
  /** In this order the first time; then by the seed. */
  readonly faults: readonly FaultName[];
  /** Whether more befalls the primary's clock than is promised to be borne: then only what is stored is looked at. */
  readonly isBeyond: boolean;
  readonly signal: AbortSignal;
}

export interface ActResult {
  readonly offences: readonly Offence[];
  readonly calls: readonly Call[];
  readonly checked: CallsFindings;
  readonly windows: readonly FaultWindow[];
  /** Undefined where nobody listened to topics. */
  readonly topics: TopicTotals | undefined;
}

const pauseMs = { min: 300, max: 1_200 } as const;
/** How often objects are asked to move as well while a fault lasts. */
const movesShare = 0.35;
/** Between two notes that something still goes on. */
const disturbedEveryMs = 500;
/** A process may notice its clock's jump a second late, and an owner believes in its lease until it would have ended. */
const staleForMs = leaseTtlMs + 2_000;

/** Clients at work, and one fault after the other; then what they saw is compared. */
export class Act {
  readonly participants: Participants;
  readonly windows: FaultWindow[] = [];
  readonly offences: Offence[] = [];
  readonly #setup: ActSetup;
  readonly #objects: readonly string[];
  readonly #checking = new Checking();
  readonly #recovery: Recovery;
  /** When owners may have answered from what others had changed since. */
  readonly #stale: { readonly fromMs: number; toMs: number }[] = [];
  #isContradicted = false;

  constructor(setup: ActSetup) {
    const { stage, journal, random, isBeyond } = setup;
    this.#setup = setup;
    const called = isBeyond
      ? ["cell/x", "cell/y", "kept-cell/x", "kept-cell/y"]
      : ["cell/a", "cell/b", "kept-cell/a", "copy/a", "copy/b"];
    const boards = isBeyond ? [] : ["board/a", "board-durable/a", "board-durable/b"];
    this.#objects = [...called, ...boards];
    this.#recovery = new Recovery(stage, journal, called);
    const told = (call: Call) => this.#told(call);
    this.participants = new Participants({ hosts: stage.hosts, random: random.fork(), called, boards, told });
  }

  /** Whether something is wrong for certain: then the rest of the run tells nothing more. */
  get isWrong(): boolean {
    return this.#isContradicted || this.offences.length > 0;
  }

  async play(): Promise<ActResult> {
    const { signal, journal, seconds } = this.#setup;
    try {
      this.participants.start();
      this.offences.push(...(await this.#recovery.all(signal)));
      const endsAtMs = performance.now() + seconds * 1_000;
      for (let turn = 0; performance.now() < endsAtMs && !signal.aborted && !this.isWrong; turn += 1)
        await this.#strike(turn);
      await this.participants.silence();
      // Where something is out of reach its listeners would be waited for in vain.
      const [checked, topics] = await Promise.all([
        this.#checking.checkAll(),
        this.isWrong ? undefined : this.participants.compareTopics(journal),
      ]);
      return {
        offences: [...this.offences, ...checked.offences, ...(topics?.offences ?? [])],
        ...{ checked, topics: topics?.totals, calls: this.participants.calls, windows: this.windows },
      };
    } finally {
      await this.participants.stop();
      this.#checking.close();
    }
  }

  async #strike(turn: number): Promise<void> {
    const { stage, random, journal, faults, signal } = this.#setup;
    await Bun.sleep(random.between(pauseMs.min, pauseMs.max)); // the pace of what happens
    const name = faults[turn] ?? random.pick(faults);
    const strike = new Strike({ stage, random: random.fork(), journal, objects: this.#objects });
    const fromMs = performance.now();
    const disturbing = setInterval(() => journal.disturb(), disturbedEveryMs);
    try {
      const moving = random.isLucky(movesShare) ? strike.moveAll() : undefined;
      await Promise.all([this.#play(name, strike), moving]);
      const wrong = [...strike.offences, ...(await this.#recovery.all(signal))];
      this.offences.push(...wrong);
      const tookMs = Math.round(performance.now() - fromMs);
      journal.note(
        `${wrong.length === 0 ? "all is served again" : "not all is well"} ${tookMs} ms after ${name} began`,
      );
    } finally {
      clearInterval(disturbing);
      journal.disturb();
    }
    const struck = new Set(stage.hosts.flatMap((host, edge) => (strike.struck.has(host) ? [edge] : [])));
    this.windows.push({ fault: name, fromMs, toMs: performance.now(), struck });
    this.#checking.checkSometimes(this.participants.open, ({ offences }) => {
      this.#isContradicted ||= offences.length > 0;
    });
  }

  async #play(name: FaultName, strike: Strike): Promise<void> {
    if (isBeyond(name)) return this.#playBeyond(name, strike);
    if (name !== twoAtOnce) return faultOf(name)?.play(strike);
    strike.isWithAnother = true;
    const [one, other] = strike.random.pick(pairsOf(strike.stage.without));
    strike.note("two at once:");
    await Promise.all([one.play(strike), other.play(strike)]);
  }

  /** From here until a while after it, what owners answer without a write may be old. */
  async #playBeyond(name: BeyondName, strike: Strike): Promise<void> {
    const stale = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY };
    this.#stale.push(stale);
    try {
      await beyondFaults[name](strike);
    } finally {
      stale.toMs = performance.now() + staleForMs;
    }
  }

  #told(call: Call): void {
    this.#recovery.told(call);
    const { calledAtMs, endedAtMs } = call;
    const isStale = this.#stale.some(({ fromMs, toMs }) => calledAtMs < toMs && endedAtMs > fromMs);
    if (!isStale || !isAnsweredRead(call)) this.#checking.add(call);
  }
}

/** It was answered, and has changed nothing. */
function isAnsweredRead({ input: { input }, outcome }: Call): boolean {
  if (outcome.kind !== "ok") return false;
  return input.kind === "read" || (input.kind === "swap" && outcome.value !== input.from);
}
