import type { CancelTimer, Clock } from "../lib/clock.ts";

/** A client's WebSocket, as far as its life is concerned. */
export interface PulsingClient {
  ping(): unknown;
  /** Breaks it off; whoever held it is told as of any other end. */
  terminate(): unknown;
}

/** A client is given up at the fourth beat since it was heard; before the last it is asked. */
const beatsMax = 4;

/**
 * Finds clients that are gone without a word. A server notices by itself only where nothing moves either way: what it *sends* counts
 * as movement, so a client of a topic that goes on would stay until TCP gives up, a quarter of an hour later, and with it its
 * subscriptions and its place among those who are present. What counts here is what a client says, a pong if nothing else.
 *
 * Beats and not times: a host that stood still for long has heard nobody, and gives up nobody for it.
 */
export class ClientPulse {
  readonly #clock: Clock;
  readonly #beatMs: number;
  /** Beats since each client was heard. */
  readonly #beats = new Map<PulsingClient, number>();
  #cancel: CancelTimer;

  /** @param silenceMaxMs a client that says nothing, and answers no ping, is given up within this time */
  constructor(clock: Clock, silenceMaxMs: number) {
    this.#clock = clock;
    this.#beatMs = silenceMaxMs / beatsMax;
    this.#cancel = this.#beatLater();
  }

  opened(client: PulsingClient): void {
    this.#beats.set(client, 0);
  }
  heard(client: PulsingClient): void {
    const beats = this.#beats.get(client);
    if (beats !== undefined && beats > 0) this.#beats.set(client, 0);
  }
  closed(client: PulsingClient): void {
    this.#beats.delete(client);
  }

  stop(): void {
    this.#cancel();
    this.#beats.clear();
  }

  #beatLater(): CancelTimer {
    return this.#clock.after(this.#beatMs, () => {
      this.#cancel = this.#beatLater();
      for (const [client, before] of [...this.#beats]) this.#beat(client, before + 1);
    });
  }

  #beat(client: PulsingClient, beats: number): void {
    this.#beats.set(client, beats);
    if (beats >= beatsMax) {
      this.#beats.delete(client);
      client.terminate();
    } else if (beats === beatsMax - 1) client.ping();
  }
}
