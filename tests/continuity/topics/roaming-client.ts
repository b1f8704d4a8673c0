import type { HostProcess } from "../../support/host-process.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";

/** A connection to one edge, from the moment it is asked for. */
export interface Dialled {
  /** Resolves when it is over, or has not come about. */
  readonly ended: Promise<void>;
  /** Hangs up; `abruptly`: without a word. Nothing is noted from here on. */
  leave(abruptly: boolean): void;
}

export interface RoamingSetup {
  readonly hosts: readonly HostProcess[];
  readonly random: SeededRandom;
  /** How a client of its kind connects. */
  readonly dial: (host: HostProcess) => Dialled;
}

const stayMs = { min: 1_000, max: 15_000 } as const;
/** Longest that a client is away before it comes back. */
const awayMaxMs = 10_000;
/** After a connection that ended by itself: as `PROTOCOL.md` has it, a random delay that grows. */
const retryMs = { min: 20, max: 1_000 } as const;

/** Stays at an edge for a while, leaves, is away, and comes back at another; connects again where it was hung up on. */
export class RoamingClient {
  readonly #setup: RoamingSetup;
  readonly #settling = new AbortController();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(setup: RoamingSetup) {
    this.#setup = setup;
  }

  start(): void {
    this.#running = this.#roam();
  }

  /** Comes back if it is away, and leaves no more. */
  settle(): void {
    this.#settling.abort();
  }

  async stop(): Promise<void> {
    this.settle();
    this.#stop.abort();
    await this.#running;
  }

  async #roam(): Promise<void> {
    const { random, dial } = this.#setup;
    const { signal: stopping } = this.#stop;
    let last: HostProcess | undefined;
    let retryMaxMs: number = retryMs.min;
    while (!stopping.aborted) {
      const host: HostProcess = this.#nextAfter(last);
      last = host;
      const connection = dial(host);
      const dialledAtMs = performance.now();
      const stays = random.between(stayMs.min, stayMs.max);
      const left = await Promise.race([
        connection.ended.then(() => false),
        this.#isToLeave(stays).then(() => true),
      ]);
      if (left) connection.leave(random.isLucky(0.5));
      if (stopping.aborted) return;
      const held = performance.now() - dialledAtMs > retryMs.max;
      retryMaxMs = left || held ? retryMs.min : Math.min(retryMs.max, retryMaxMs * 2);
      // How long it is away is what the load consists of.
      if (left) await sleepUnless(this.#settling.signal, random.between(0, awayMaxMs));
      else await sleepUnless(stopping, random.between(retryMs.min / 2, retryMaxMs));
    }
  }

  /** Another edge than the last, if one is up. */
  #nextAfter(last: HostProcess | undefined): HostProcess {
    const { hosts, random } = this.#setup;
    const ready = hosts.filter((host) => host.isReady && host !== last);
    return random.pick(ready.length > 0 ? ready : hosts);
  }

  /** After `ms` it leaves, unless the run has settled: then when it stops. */
  async #isToLeave(ms: number): Promise<void> {
    if (!this.#settling.signal.aborted) await sleepUnless(this.#settling.signal, ms);
    if (this.#settling.signal.aborted) await aborted(this.#stop.signal);
  }
}

/** `abruptly`: the connection is torn down, and nothing is said. */
export function hangUp(socket: WebSocket, abruptly: boolean): void {
  const { terminate } = socket as unknown as { terminate(): void }; // Bun's has it, and the DOM's type does not know
  if (abruptly) terminate.call(socket);
  else socket.close();
}

/** Resolves after `ms`, or at once when it is aborted. */
export function sleepUnless(signal: AbortSignal, ms: number): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
