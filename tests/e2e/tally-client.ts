import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { counterName, type TallyBook, type Told } from "./tally-book.ts";

/** A request that is not answered by then is repeated elsewhere. */
const patienceMs = 3_000;
/** An operation that is not acknowledged by then never will be. */
const operationLimitMs = 45_000;
const readShare = 0.15;

export interface TallyClientSetup {
  readonly name: string;
  readonly hosts: readonly HostProcess[];
  readonly counters: number;
  readonly book: TallyBook;
  readonly random: SeededRandom;
  /** Over: what was begun is ended, and nothing new begun. */
  readonly stop: AbortSignal;
}

/**
 * A client: one operation after the other, each repeated with the same idempotency key, at whichever host it happens upon,
 * until somebody acknowledges it.
 */
export async function runTallyClient(setup: TallyClientSetup): Promise<void> {
  const { name, random, counters, stop } = setup;
  for (let number = 1; !stop.aborted; number += 1) {
    const counter = counterName(random.between(0, counters - 1));
    const isRead = random.isLucky(readShare);
    await operate(setup, counter, isRead ? undefined : `${name}-${number}`);
  }
}

async function operate(setup: TallyClientSetup, counter: string, key: string | undefined): Promise<void> {
  const { name, hosts, book, random } = setup;
  const sinceMs = performance.now();
  if (key !== undefined) book.send(counter, key);
  while (performance.now() - sinceMs < operationLimitMs) {
    const asked = book.ask(counter, key);
    const answer = await ask(
      random.pick(hosts),
      counter,
      key === undefined ? undefined : { client: name, key },
    );
    if (typeof answer === "object") return book.hear(counter, answer, asked, performance.now());
    book.fail(answer);
    await Bun.sleep(random.between(10, 60)); // as a client that was refused should
  }
  book.violations.push(`${counter}: ${key ?? "a read"} was not answered for ${operationLimitMs} ms`);
}

/** What it was told; a code where it was told nothing. */
async function ask(host: HostProcess, counter: string, body: object | undefined): Promise<Told | string> {
  const signal = AbortSignal.timeout(patienceMs);
  const headers = { "content-type": "application/json" };
  const init = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) };
  try {
    const url = host.url(`/${counter}${body === undefined ? "" : "/increment"}`);
    const response = await fetch(url, { ...init, signal });
    const answer = await response.json();
    return response.status === 200 ? answer : String(answer.code ?? response.status);
  } catch (thrown) {
    return thrown instanceof Error && thrown.name === "TimeoutError" ? "timed out" : "no connection";
  }
}
