import type { CancelTimer, Clock } from "../lib/clock.ts";

/**
 * Whether the peer still lives, and how far away it is.
 *
 * Every `heartbeatMs` a ping goes out, whatever else does, and the peer answers it. Anything that arrives counts as a sign
 * of life, not only answers. A beat at which nothing arrived since the one before is silent, and `silentBeatsMax` silent
 * ones in a row are a death. Counting beats instead of comparing clock readings makes a process that was frozen safe: it
 * wakes to one late beat, reads what had piled up in its sockets, and goes on.
 *
 * The first beat runs at once, so the round trip is known one round trip after the link opened.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #cancel: CancelTimer | undefined;
  #wasHeard = true;
  #silentBeats = 0;
  #pingId = 0;
  /** When the unanswered ping was first sent. */
  #pingAtMs: number | undefined;
  #roundTripMs: number | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Smoothed as TCP does it (RFC 6298): seven parts of the past, one part of the latest. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  start(): void {
    this.#beat();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  heard(): void {
    this.#wasHeard = true;
  }

  answered(pingId: number): void {
    if (pingId !== this.#pingId || this.#pingAtMs === undefined) return;
    const sample = this.#options.clock.monotonicMs() - this.#pingAtMs;
    this.#pingAtMs = undefined;
    this.#roundTripMs = this.#roundTripMs === undefined ? sample : (7 * this.#roundTripMs + sample) / 8;
  }

  #beat(): void {
    const { clock, heartbeatMs, silentBeatsMax, ping, silent } = this.#options;
    this.#silentBeats = this.#wasHeard ? 0 : this.#silentBeats + 1;
    this.#wasHeard = false;
    if (this.#silentBeats >= silentBeatsMax) {
      silent();
      return;
    }
    this.#cancel = clock.after(heartbeatMs, () => this.#beat());
    // An unanswered ping is sent again as itself: on a path slower than the beat its answer still tells the round trip.
    if (this.#pingAtMs === undefined) {
      this.#pingId = (this.#pingId + 1) >>> 0;
      this.#pingAtMs = clock.monotonicMs();
    }
    ping(this.#pingId);
  }
}

interface HeartbeatOptions {
  readonly clock: Clock;
  readonly heartbeatMs: number;
  readonly silentBeatsMax: number;
  ping(id: number): void;
  silent(): void;
}
