import { Caller } from "./clients/caller.ts";
import { Listener } from "./clients/listener.ts";
import { echoLimitMs, Talker } from "./clients/talker.ts";
import { AlarmSetter } from "./clients/alarm-setter.ts";
import type { Operation } from "./checks/history.ts";
import { MemoCheck } from "./checks/memo-check.ts";
import { judgeOrder } from "./checks/order-check.ts";
import { TopicCheck } from "./checks/topic-check.ts";
import type { Violation } from "./checks/violation.ts";
import { settingsOf } from "./settings.ts";
import { drawFaults, type Fault, FaultPlayer } from "./faults.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import type { Scheduler } from "./world/scheduler.ts";
import type { SqlDatabase } from "./world/sql-database.ts";
import { World, type WorldSettings } from "./world/world.ts";

export interface RunOptions {
  readonly seed: number;
  /** Instead of those that the seed has drawn. */
  readonly faults?: readonly Fault[];
  /** When the faults stop. */
  readonly faultsEndMs?: number;
  /** Keeps a journal. */
  readonly isTold?: boolean;
}

export interface RunResult {
  readonly seed: number;
  readonly settings: WorldSettings;
  readonly faults: readonly Fault[];
  readonly violations: readonly Violation[];
  readonly faultCounts: Readonly<Record<string, number>>;
  readonly operations: number;
  readonly answered: number;
  readonly unknown: number;
  readonly undecided: number;
  readonly heard: number;
  /** Messages of sockets that came back. */
  readonly echoed: number;
  /** Alarms that were acknowledged, and how often a handler of one began. */
  readonly alarms: number;
  readonly rings: number;
  readonly accepts: number;
  readonly activations: number;
  readonly transactions: number;
  readonly steps: number;
  readonly virtualMs: number;
  readonly faultsEndMs: number;
  /** How long after the faults the last object was served from everywhere. */
  readonly healedMs: number;
  readonly traceHash: number;
  readonly lines: readonly string[];
}

const startMs = 2_500;
const faultsEndMs = 27_000;
/** Once the faults stop every object is served at every host within this time. */
export const healLimitMs = 30_000;
const probePauseMs = 400;
/** Longer than a client waits for an answer. */
const answerLimitMs = 10_000;
/** Once everything is served everywhere, and nobody asks anything any more, listeners have heard all within this time. */
const quietLimitMs = 40_000;

const sums = ["ledger/a", "ledger/b", "vault/a"];
/** Its topic's history is in memory. */
const inMemory = "board/a";
const topical = ["ledger/a", "ledger/b", inMemory];
const objects = [...sums, "memo/a", inMemory];
const movable = [...objects, "talk/a", "insist/a"];
/** An alarm rings within this time once all is quiet: it may have been set for 9 s from then, and cut off several times before. */
const alarmsLimitMs = 60_000;
const regions = ["iad", "ams", "nrt"];

const chimes = ["chime/a", "chime/b"];

/** One run: hosts start, clients ask and listen, things go wrong, everything is mended, and it is looked at what came of it. */
export class Run {
  readonly #options: RunOptions;
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #operations: Operation[] = [];
  /** Acknowledged, of the topic that is kept in memory. */
  readonly #published: string[] = [];
  readonly #callers: Caller[];
  readonly #listeners: Listener[];
  readonly #talkers: Talker[];
  readonly #setters: readonly AlarmSetter[];
  readonly #topics: TopicCheck;
  readonly #player: FaultPlayer;
  readonly #faults: readonly Fault[];
  readonly #endMs: number;
  /** What each host said of each sum in the end. */
  readonly #applied = new Map<string, readonly string[]>();
  /** The changes of each sum that were acknowledged. */
  readonly #acknowledged = new Map<string, readonly string[]>();
  #healedMs = 0;
  #undecided = 0;

  constructor(
    options: RunOptions,
    scheduler: Scheduler,
    databases: { readonly primary: SqlDatabase; readonly replica: SqlDatabase },
  ) {
    const { seed, isTold = false } = options;
    const settings = settingsOf(seed);
    this.#options = options;
    this.#random = new SeededRandom(seed ^ 0xca11);
    this.#world = new World(settings, scheduler, databases, isTold);
    this.#player = new FaultPlayer(this.#world);
    this.#endMs = options.faultsEndMs ?? faultsEndMs;
    const stage = {
      hosts: [...this.#world.hosts.keys()],
      objects: settings.hasAlarms ? [...movable, ...chimes] : movable,
      fromMs: startMs,
      toMs: faultsEndMs - 1_000,
    };
    this.#faults = options.faults ?? drawFaults(new SeededRandom(seed ^ 0xfa17), settings, stage);
    this.#topics = new TopicCheck(this.#world);
    const memos = new MemoCheck(this.#world);
    const world = this.#world;
    const operations = this.#operations;
    const pauseMs = this.#random.between(60, 350);
    this.#callers = regions.map((region, index) => {
      const place = world.clientPlace(`caller-${index + 1}`, region);
      const published = this.#published;
      return new Caller({
        ...{ world, random: this.#random.fork(), place, objects, pauseMs },
        ...{ operations, memos, published },
      });
    });
    this.#listeners = regions.map((region, index) => this.#listener(`listener-${index + 1}`, region));
    this.#talkers = ["talk/a", "talk/a", "insist/a"].map((object, index) => {
      const place = world.clientPlace(`talker-${index + 1}`, regions[index] ?? "iad");
      const isRedelivered = object.startsWith("insist/");
      return new Talker({ world, random: this.#random.fork(), place, object, isRedelivered });
    });
    const setters = settings.hasAlarms ? regions.slice(1) : [];
    this.#setters = setters.map((region, index) => this.#alarmSetter(`setter-${index + 1}`, region));
  }

  #alarmSetter(name: string, region: string): AlarmSetter {
    const world = this.#world;
    const own = { random: this.#random.fork(), place: world.clientPlace(name, region) };
    return new AlarmSetter({ world, ...own, objects: chimes, check: world.alarms });
  }

  run(): RunResult {
    const { scheduler, hosts } = this.#world;
    for (const host of hosts.values()) host.start();
    scheduler.runUntil(startMs);
    this.#player.schedule(this.#faults, startMs);
    for (const caller of this.#callers) caller.start();
    for (const listener of this.#listeners) listener.start();
    for (const talker of this.#talkers) talker.start();
    for (const setter of this.#setters) setter.start();
    scheduler.runUntil(this.#endMs);
    this.#world.journal("— the faults stop");
    this.#player.end();
    this.#heal();
    for (const caller of this.#callers) caller.stop();
    this.#judge();
    return this.#result();
  }

  /** Asks every host for every sum until it has answered. */
  #heal(): void {
    const { scheduler, hosts } = this.#world;
    const fromMs = scheduler.nowMs;
    const missing = new Set<string>();
    for (const host of hosts.keys()) for (const key of sums) missing.add(`${key} at ${host}`);
    for (const host of hosts.keys()) for (const key of sums) this.#probe(key, host, missing);
    while (missing.size > 0 && scheduler.nowMs - fromMs < healLimitMs)
      scheduler.runUntil(scheduler.nowMs + 500);
    this.#healedMs = scheduler.nowMs - fromMs;
    for (const each of missing)
      this.#world.violation("healing", `${each} was not served within ${healLimitMs} ms`);
    for (const caller of this.#callers) caller.stop();
    for (const one of [...this.#talkers, ...this.#setters]) one.stop();
    // What was asked last has the time to be answered; then all is quiet, and everything is read once more.
    const asked = [...this.#callers, ...this.#setters];
    this.#waitFor(() => asked.every(({ isIdle }) => isIdle), answerLimitMs);
    this.#waitFor(() => this.#talkers.every(({ isSettled }) => isSettled), echoLimitMs);
    for (const talker of this.#talkers) talker.judge();
    if (this.#world.settings.endsDark) this.#restartAll();
    for (const key of sums) this.#readAtLast(key);
    const isTold = () => this.#haveHeardAll() && this.#knowEachOther() && this.#missing().length === 0;
    this.#waitFor(() => this.#applied.size === sums.length && isTold(), quietLimitMs);
    this.#awaitAlarms();
    for (const key of sums)
      if (!this.#applied.has(key)) this.#world.violation("healing", `${key} cannot be read in the end`);
  }

  /** Each that was acknowledged rings, the latest of them some time from now. */
  #awaitAlarms(): void {
    const [setter] = this.#setters;
    if (setter === undefined) return;
    const { alarms } = this.#world;
    // To ask them for something would wake them, and they are to wake by themselves.
    this.#waitFor(() => alarms.haveAllRung, alarmsLimitMs);
    alarms.judgeUnasked();
    let isOver = false;
    for (const key of chimes) setter.read(key, () => isOver || alarms.isWhole(key));
    this.#waitFor(() => chimes.every((key) => alarms.isWhole(key)), alarmsLimitMs);
    isOver = true;
    for (const key of chimes) alarms.judge(key);
  }

  /** Whatever was in memory alone is gone. */
  #restartAll(): void {
    const { scheduler, hosts } = this.#world;
    this.#world.journal("— all hosts are killed, and started again");
    this.#world.mayLoseMessages = true;
    for (const host of hosts.values()) host.crash(false);
    scheduler.runUntil(scheduler.nowMs + 200);
    for (const host of hosts.values()) host.start();
    // One who has heard nothing yet is told all that is stored, and it is what the others heard.
    const reader = this.#listener("reader", "iad");
    this.#listeners.push(reader);
    reader.start();
  }

  #listener(name: string, region: string): Listener {
    const place = this.#world.clientPlace(name, region);
    const topics = { objects: topical, present: [inMemory], check: this.#topics };
    const own = { random: this.#random.fork(), place, ...topics };
    return new Listener({ world: this.#world, ...own });
  }

  /** What was published has arrived, as far as anybody was told that it would. */
  #haveHeardAll(): boolean {
    return this.#listeners.every(({ checks }) =>
      [...checks].every(([key, { ops }]) => {
        const heard = new Set(ops);
        return (this.#acknowledged.get(key) ?? []).every((op) => heard.has(op));
      }),
    );
  }

  /** Each listener was told of all listeners, and of nobody else. */
  #knowEachOther(): boolean {
    const lists = this.#listeners.map((listener) => listener.members(inMemory));
    const [first] = lists;
    return first?.length === lists.length && lists.every((list) => list?.join() === first.join());
  }

  #waitFor(isSo: () => boolean, limitMs: number): void {
    const { scheduler } = this.#world;
    const untilMs = scheduler.nowMs + limitMs;
    while (!isSo() && scheduler.nowMs < untilMs) scheduler.runUntil(scheduler.nowMs + 100);
  }

  #probe(key: string, host: string, missing: Set<string>): void {
    const [caller] = this.#callers;
    caller?.ask(key, host, { kind: "read" }, (outcome) => {
      if (outcome.kind === "answered") missing.delete(`${key} at ${host}`);
      else this.#world.scheduler.after(probePauseMs, undefined, () => this.#probe(key, host, missing));
    });
  }

  #readAtLast(key: string): void {
    const [caller] = this.#callers;
    const [host = ""] = this.#world.hosts.keys();
    caller?.readAll(key, host, (applied) => {
      if (applied === undefined) {
        this.#world.scheduler.after(probePauseMs, undefined, () => this.#readAtLast(key));
        return;
      }
      this.#applied.set(key, applied);
      const told = this.#operations.filter((each) => each.key === key && isDone(each));
      const ops = told.flatMap(({ question }) => (question.kind === "read" ? [] : [question.op]));
      this.#acknowledged.set(key, ops);
    });
  }

  #judge(): void {
    for (const key of sums) {
      const applied = this.#applied.get(key);
      const own = this.#operations.filter((operation) => operation.key === key);
      if (applied !== undefined) this.#judgeApplied(key, own, applied);
      this.#judgeOrder(key, own, applied);
    }
    if (!this.#world.settings.beyondBounds && !this.#knowEachOther()) {
      const told = this.#listeners.map((listener) => listener.members(inMemory)?.length ?? "nobody");
      this.#world.violation("presence", `${told.length} listen, who were told of ${told.join(", ")}`);
    }
    for (const listener of this.#listeners)
      for (const [key, check] of listener.checks) this.#judgeHeard(key, check.ops);
    for (const op of this.#missing()) this.#world.violation("topics", `${op} of ${inMemory} was not heard`);
  }

  /** Where no host was lost, nothing is that was in memory: what listeners have not heard of that. */
  #missing(): readonly string[] {
    const { mayLoseMessages, settings } = this.#world;
    if (mayLoseMessages || settings.beyondBounds) return [];
    return this.#listeners.flatMap(({ checks }) => {
      const heard = new Set(checks.get(inMemory)?.ops);
      return this.#published.filter((op) => !heard.has(op));
    });
  }

  /** Nothing that was acknowledged is missing or there twice, and nothing is there that was refused. */
  #judgeApplied(key: string, operations: readonly Operation[], applied: readonly string[]): void {
    const times = new Map<string, number>();
    for (const op of applied) times.set(op, (times.get(op) ?? 0) + 1);
    for (const { question, outcome } of operations) {
      if (question.kind === "read") continue;
      const count = times.get(question.op) ?? 0;
      times.delete(question.op);
      const isTold = outcome.kind === "answered" && (outcome.exchanged ?? true);
      const isNot = outcome.kind === "refused" || (outcome.kind === "answered" && !isTold);
      if (count > 1)
        this.#world.violation("durability", `${question.op} of ${key} was applied ${count} times`);
      else if (isTold && count === 0)
        this.#world.violation("durability", `${question.op} of ${key}, acknowledged, is lost`);
      else if (isNot && count === 1)
        this.#world.violation("durability", `${question.op} of ${key}, refused, is there`);
    }
    for (const op of times.keys()) this.#world.violation("durability", `${op} of ${key} was never asked for`);
  }

  #judgeOrder(key: string, operations: readonly Operation[], applied: readonly string[] | undefined): void {
    // Two copies may answer reads at once where clocks are worse than is assumed.
    if (this.#world.settings.beyondBounds) return;
    // What is not there in the end has not happened: had somebody seen it, then nothing explains that.
    const done = new Set(applied);
    const possible = operations.filter(
      ({ question, outcome }) =>
        outcome.kind !== "unknown" ||
        question.kind === "read" ||
        applied === undefined ||
        done.has(question.op),
    );
    const verdict = judgeOrder(possible);
    if (verdict.kind === "undecided") this.#undecided += 1;
    if (verdict.kind === "violated")
      this.#world.violation("linearizability", `no order explains what ${key} answered: ${verdict.what}`);
  }

  /** A listener has heard all that was acknowledged, and nothing but what was applied, in that order. */
  #judgeHeard(key: string, heard: readonly string[]): void {
    if (this.#world.settings.beyondBounds) return;
    const applied = this.#applied.get(key);
    if (applied === undefined) return;
    const places = new Map(applied.map((op, index) => [op, index]));
    let last = -1;
    for (const op of heard) {
      const place = places.get(op);
      if (place === undefined) this.#world.violation("topics", `${op} of ${key} was heard, and is not there`);
      else if (place <= last) this.#world.violation("topics", `${op} of ${key} was heard out of order`);
      last = place ?? last;
    }
    const heardOps = new Set(heard);
    for (const { key: asked, question, outcome } of this.#operations) {
      if (asked !== key || question.kind === "read" || outcome.kind !== "answered") continue;
      const isSaid = outcome.exchanged ?? true;
      if (isSaid && !heardOps.has(question.op))
        this.#world.violation("topics", `${question.op} of ${key} was not heard`);
    }
  }

  #result(): RunResult {
    const { scheduler, settings, violations, primary, oneCopy, alarms, lines } = this.#world;
    const answered = this.#operations.filter(({ outcome }) => outcome.kind === "answered").length;
    const unknown = this.#operations.filter(({ outcome }) => outcome.kind === "unknown").length;
    return {
      ...{ seed: this.#options.seed, settings, faults: this.#faults, violations },
      ...{ operations: this.#operations.length, answered, unknown, undecided: this.#undecided },
      ...{ faultCounts: Object.fromEntries(this.#player.counts), heard: this.#topics.heard },
      echoed: this.#talkers.reduce((sum, { echoed }) => sum + echoed, 0),
      ...{ alarms: alarms.told, rings: alarms.rings },
      ...{ accepts: oneCopy.accepts, activations: oneCopy.activations, transactions: primary.transactions },
      ...{ steps: scheduler.steps, virtualMs: scheduler.nowMs, healedMs: this.#healedMs },
      faultsEndMs: this.#endMs,
      ...{ traceHash: scheduler.traceHash, lines: lines ?? [] },
    };
  }
}

/** Whether somebody was told that it has changed the sum. */
function isDone({ question, outcome }: Operation): boolean {
  return question.kind !== "read" && outcome.kind === "answered" && (outcome.exchanged ?? true);
}
