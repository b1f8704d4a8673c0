import { isErrorCode, StatefulError } from "../../../infra/lib/errors.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { Operation, Outcome, Question } from "../checks/history.ts";
import type { MemoCheck } from "../checks/memo-check.ts";
import type { Place } from "../world/connection.ts";
import type { World } from "../world/world.ts";
import { Asker } from "./asker.ts";

const addedMax = 1_000_000;

export interface CallerSetup {
  readonly world: World;
  readonly random: SeededRandom;
  readonly place: Place;
  readonly objects: readonly string[];
  readonly pauseMs: number;
  readonly operations: Operation[];
  readonly memos: MemoCheck;
  /** What was acknowledged of the topic that is kept in memory. */
  readonly published: string[];
}

/** A client that asks one thing after the other, each at any host, and writes down what it was told. */
export class Caller {
  readonly #setup: CallerSetup;
  readonly #asker: Asker;
  /** What each sum was when it last heard of it. */
  readonly #totals = new Map<string, number>();
  #host: string | undefined;
  #count = 0;
  #isStopped = false;

  constructor(setup: CallerSetup) {
    this.#setup = setup;
    this.#asker = new Asker(setup);
  }

  start(): void {
    this.#later();
  }
  stop(): void {
    this.#isStopped = true;
  }
  /** Whether it waits for nothing. */
  get isIdle(): boolean {
    return this.#asker.isIdle;
  }

  #later(): void {
    const { world, random, place, pauseMs } = this.#setup;
    world.scheduler.after(2 * pauseMs * random.next(), place.process, () => {
      if (this.#isStopped) return;
      const { objects } = this.#setup;
      const key = random.pick(objects);
      // Mostly where it was last, as a client's connection stays: also there where it should go elsewhere.
      if (this.#host === undefined || random.isLucky(0.4)) this.#host = random.pick([...world.hosts.keys()]);
      const host = this.#host;
      if (key.startsWith("memo/")) this.#countUp(key, host);
      else if (key.startsWith("board/")) this.#publish(key, host);
      else this.ask(key, host, this.#question(key), () => this.#later());
    });
  }

  /** Asks, and writes down what comes of it. `done` is told at the latest when its patience ends. */
  ask(key: string, host: string, question: Question, done: (outcome: Outcome) => void): void {
    const { world, operations } = this.#setup;
    const invokedAtMs = world.scheduler.nowMs;
    this.#send(key, host, question, (outcome) => {
      const isKnown = outcome.kind !== "unknown";
      const returnedAtMs = isKnown ? world.scheduler.nowMs : Number.POSITIVE_INFINITY;
      operations.push({ key, question, invokedAtMs, returnedAtMs, outcome });
      if (outcome.kind === "answered") this.#totals.set(key, outcome.total);
      world.scheduler.note(`${key} ${JSON.stringify(outcome)}`);
      if (world.isTold)
        world.journal(`${key} at ${host}: ${JSON.stringify(question)} → ${JSON.stringify(outcome)}`);
      done(outcome);
    });
  }

  /** Everything that was ever applied to a sum, in its order; undefined where that cannot be had. */
  readAll(key: string, host: string, told: (applied: readonly string[] | undefined) => void): void {
    this.#asker.ask(host, requestOf(host, key, { kind: "read" }), (status, body) => {
      told(status === 200 ? (body as { applied: string[] }).applied : undefined); // by our own class
    });
  }

  #countUp(key: string, host: string): void {
    const { memos, world } = this.#setup;
    const op = this.#nextOp();
    this.#asker.ask(host, requestOf(host, key, { kind: "add", op, by: 1 }), (status, body) => {
      if (status === 200) memos.counted(key, body as { life: string; count: number }); // by our own class
      world.scheduler.note(`${key} ${status}`);
      this.#later();
    });
  }

  #publish(key: string, host: string): void {
    const { published, random, world } = this.#setup;
    const op = this.#nextOp();
    const question = { kind: "add", op, by: random.between(1, addedMax) } as const;
    this.#asker.ask(host, requestOf(host, key, question), (status) => {
      if (status === 200) published.push(op);
      world.scheduler.note(`${key} ${status}`);
      this.#later();
    });
  }

  #question(key: string): Question {
    const { random } = this.#setup;
    const expected = this.#totals.get(key);
    if (random.isLucky(0.25)) return { kind: "read" };
    if (expected !== undefined && random.isLucky(0.3))
      return { kind: "exchange", op: this.#nextOp(), expected, next: random.between(1, addedMax) };
    return { kind: "add", op: this.#nextOp(), by: random.between(1, addedMax) };
  }

  #nextOp(): string {
    this.#count += 1;
    return `${this.#setup.place.name}.${this.#count}`;
  }

  #send(key: string, host: string, question: Question, told: (outcome: Outcome) => void): void {
    this.#asker.ask(host, requestOf(host, key, question), (status, body) => told(outcomeOf(status, body)));
  }
}

function requestOf(host: string, key: string, question: Question): Request {
  const url = `http://${host}/${key}`;
  if (question.kind === "read") return new Request(url);
  const { kind, ...body } = question;
  const text = JSON.stringify(body);
  // As on a connection: a body whose length is not known is a stream, which its object waits for after it has taken the event.
  const headers = { "content-type": "application/json", "content-length": String(text.length) };
  return new Request(`${url}/${kind}`, { method: "POST", headers, body: text });
}

/** Refused is what the table of errors promises to be so: the handler did not run. */
function outcomeOf(status: number, body: unknown): Outcome {
  if (status === 200) {
    const { total, exchanged } = body as { total: number; exchanged?: boolean }; // by our own class
    return { kind: "answered", total, ...(exchanged !== undefined && { exchanged }) };
  }
  return { kind: isRefusal(body) ? "refused" : "unknown" };
}

/** Whether a problem document says that nothing has been done. */
export function isRefusal(body: unknown): boolean {
  const code = typeof body === "object" && body !== null && "code" in body ? body.code : undefined;
  return isErrorCode(code) && new StatefulError(code, "").retryable;
}
