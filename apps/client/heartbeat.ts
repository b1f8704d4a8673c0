import type { Cancel, Surroundings } from "./surroundings.ts";

/** A client that has heard nothing for so long asks whether anybody is there … */
const silenceMaxMs = 15_000;
/** … and takes the connection for dead where nothing at all has come so much later. */
const answerMaxMs = 10_000;

export interface HeartbeatPort {
  /** Sends what the other side answers at once. */
  ask(): void;
  /** Called once. */
  dead(): void;
}

/**
 * Notices a connection that is gone without a word, as after a sleep of the machine or behind a router that forgot it. One
 * that is merely quiet is never given up: it has been asked first, and had its time.
 */
export class Heartbeat {
  readonly #around: Surroundings;
  readonly #port: HeartbeatPort;
  #heardAtMs: number;
  #isAsked = false;
  #cancel: Cancel | undefined;

  constructor(around: Surroundings, port: HeartbeatPort) {
    this.#around = around;
    this.#port = port;
    this.#heardAtMs = around.monotonicMs();
    this.#wait(silenceMaxMs);
  }

  heard(): void {
    this.#heardAtMs = this.#around.monotonicMs();
    this.#isAsked = false;
  }

  /** Asks at once: there is reason to doubt. */
  ask(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#wait(answerMaxMs);
    this.#port.ask();
  }

  stop(): void {
    this.#cancel?.();
  }

  #check(): void {
    if (this.#isAsked) return this.#port.dead();
    const restMs = this.#heardAtMs + silenceMaxMs - this.#around.monotonicMs();
    if (restMs > 0) this.#wait(restMs);
    else this.ask();
  }

  #wait(delayMs: number): void {
    this.#cancel?.();
    this.#cancel = this.#around.after(delayMs, () => this.#check());
  }
}
