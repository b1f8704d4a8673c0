/**
 * When to stop, whoever says so first: a signal, the terminal or pipe that we write to going away, or whoever started us
 * ending. One Ctrl-C may arrive several times: the terminal sends it to every process, and the script runner passes it on.
 */
export class StopRequest {
  readonly asked: Promise<void>;
  readonly #asked = Promise.withResolvers<void>();
  #askedAtMs: number | undefined;
  #again: () => void = () => undefined;

  constructor() {
    this.asked = this.#asked.promise;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => this.ask());
    process.on("disconnect", () => this.ask());
    process.stdout.on("error", () => this.ask());
    process.stderr.on("error", () => this.ask());
  }

  get wasAsked(): boolean {
    return this.#askedAtMs !== undefined;
  }

  /** Calls `again` when a person asks a second time, because the first takes too long. */
  onSecond(again: () => void): void {
    this.#again = again;
  }

  ask(): void {
    const nowMs = performance.now();
    if (this.#askedAtMs === undefined) {
      this.#askedAtMs = nowMs;
      this.#asked.resolve();
    } else if (nowMs - this.#askedAtMs > sameAskWithinMs) {
      this.#again();
    }
  }
}

const sameAskWithinMs = 500;
