import type { HostProcess } from "../../support/host-process.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { Publishing } from "./listening.ts";
import { sleepUnless } from "./roaming-client.ts";

/** A publish that is not answered by then has an outcome that nobody knows. */
const patienceMs = 8_000;

export interface PublisherSetup {
  readonly name: string;
  readonly hosts: readonly HostProcess[];
  readonly addresses: readonly string[];
  readonly random: SeededRandom;
  /** Between two messages, on the average. */
  readonly everyMs: number;
}

/** Publishes by HTTP, one message after the other, each on any topic through any edge, and none a second time. */
export class Publisher {
  readonly publishings: Publishing[] = [];
  readonly #setup: PublisherSetup;
  readonly #stop = new AbortController();
  #count = 0;
  #running: Promise<void> | undefined;

  constructor(setup: PublisherSetup) {
    this.#setup = setup;
  }

  get hosts(): readonly HostProcess[] {
    return this.#setup.hosts;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves when the last publish has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Says one thing, through `host`. */
  async say(address: string, host: HostProcess): Promise<Publishing> {
    const { name, random } = this.#setup;
    this.#count += 1;
    const message = `${name}:${this.#count}`;
    const sentAtMs = performance.now();
    const isTaken = await isAcknowledged(requestFor(host, address, message, random));
    const publishing = {
      ...{ message, address, line: undefined, sentAtMs },
      answeredAtMs: isTaken ? performance.now() : undefined,
    };
    this.publishings.push(publishing);
    return publishing;
  }

  async #run(): Promise<void> {
    const { random, everyMs, hosts, addresses } = this.#setup;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleepUnless(signal, random.between(everyMs / 2, everyMs * 1.5)); // its pace, which is what the load consists of
      // A load balancer sends nobody to a host that says it is not well.
      const ready = hosts.filter(({ isReady }) => isReady);
      if (ready.length > 0) await this.say(random.pick(addresses), random.pick(ready));
    }
  }
}

/** News are for a handler to publish; on a wall clients do, in a form of their choice. */
function requestFor(host: HostProcess, address: string, message: string, random: SeededRandom): Request {
  const [object, topic] = address.split("/-/topics/");
  if (topic === "news") return new Request(host.url(`/${object}/news/${message}`), { method: "POST" });
  const type = random.pick(["application/json", "text/plain", "application/octet-stream"]);
  const body = type === "application/json" ? JSON.stringify({ message }) : message;
  return new Request(host.url(`/${address}`), { method: "POST", headers: { "content-type": type }, body });
}

async function isAcknowledged(request: Request): Promise<boolean> {
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(patienceMs) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
