import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { sleepUnless } from "../continuity/topics/roaming-client.ts";
import type { Call, CallInput, CallOutcome } from "./operations.ts";

/** A call that is not answered by then has an outcome that nobody knows. */
const patienceMs = 4_000;
/** After one that failed: nobody asks as fast as it can. */
const afterFailureMs = 100;

export interface CallerSetup {
  readonly object: string;
  readonly edge: number;
  readonly host: HostProcess;
  readonly random: SeededRandom;
  /** Between two calls, on the average. */
  readonly everyMs: number;
  /** Whether the object lives in memory alone, and counts by one. */
  readonly isCopy: boolean;
  readonly told: (call: Call) => void;
}

/** Calls one object through one edge, one call after the other, and none a second time. */
export class Caller {
  readonly #setup: CallerSetup;
  readonly #stop = new AbortController();
  #n = 0;
  #lastText = "";
  #open: Call | undefined;
  #running: Promise<void> | undefined;

  constructor(setup: CallerSetup) {
    this.#setup = setup;
  }

  /** What is asked and not answered yet: it may have acted already. */
  get open(): readonly Call[] {
    return this.#open === undefined ? [] : [this.#open];
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves when the last call has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random, everyMs, host } = this.#setup;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleepUnless(signal, random.between(everyMs / 2, everyMs * 1.5)); // its pace, which is what the load consists of
      // A load balancer sends nobody to a host that is down.
      if (signal.aborted || !host.isReady) continue;
      const { kind } = await this.#call();
      if (kind !== "ok") await sleepUnless(signal, afterFailureMs);
    }
  }

  async #call(): Promise<CallOutcome> {
    const { object, edge, host, told } = this.#setup;
    this.#n += 1;
    const label = `${host.region}#${this.#n}`;
    const input = this.#choose(label);
    const calledAtMs = performance.now();
    const asked = { object, edge, label, input, calledAtMs, endedAtMs: Number.POSITIVE_INFINITY };
    this.#open = { ...asked, outcome: { kind: "unknown", code: "not answered yet" } };
    const outcome = await outcomeOf(host.url(`/${object}/${input.of}`), input);
    this.#open = undefined;
    told({ ...asked, endedAtMs: performance.now(), outcome });
    if (outcome.kind === "ok" && typeof outcome.value === "string") this.#lastText = outcome.value;
    return outcome;
  }

  #choose(label: string): CallInput {
    const { random, isCopy } = this.#setup;
    if (isCopy || random.isLucky(0.5)) {
      if (random.isLucky(0.4)) return { of: "count", input: { kind: "read" } };
      return { of: "count", input: { kind: "add", by: isCopy ? 1 : random.between(1, 3) } };
    }
    const kind = random.pick(["read", "write", "swap"] as const);
    if (kind === "read") return { of: "text", input: { kind } };
    if (kind === "write") return { of: "text", input: { kind, value: label } };
    return { of: "text", input: { kind, from: this.#lastText, to: label } };
  }
}

const methods = { read: "GET", add: "POST", write: "PUT", swap: "PATCH" } as const;

async function outcomeOf(url: string, { input }: CallInput): Promise<CallOutcome> {
  const { kind, ...body } = input;
  const content = kind !== "read" && {
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  try {
    const signal = AbortSignal.timeout(patienceMs);
    const response = await fetch(url, { method: methods[kind], signal, ...content });
    const answer = await response.json();
    if (response.status === 200) return { kind: "ok", ...answer };
    return { kind: answer.retryable === true ? "failed" : "unknown", code: String(answer.code) };
  } catch (thrown) {
    const isLate = thrown instanceof Error && thrown.name === "TimeoutError";
    return { kind: "unknown", code: isLate ? "timed out" : "no connection" };
  }
}
