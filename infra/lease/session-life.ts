import type { CancelTimer, Clock } from "../lib/clock.ts";
import type { DirectoryPosition, SessionEnd } from "./directory.ts";
import type { Session } from "./leases.ts";

export type SessionOverReason = SessionEnd | "unconfirmed";

/** When something was sent, on both clocks of this machine. */
export interface SendTime {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export function sendTime(clock: Clock): SendTime {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}

/**
 * One life of this host in the directory, as the host itself may judge it (L3).
 *
 * The directory counts a session's time to live from when a renewal arrived. The host hears of that later, and cannot know
 * how much later, so it counts from before it sent the renewal: its own idea of the end is always the earlier one. `validMs`
 * is the time to live less a margin, for clocks that run at slightly different speeds.
 *
 * Two clocks are asked. The monotonic one cannot be set; but on a suspended machine it stands still, while the directory's
 * clock runs on, and the host would wake up believing in a session that ended long ago. The wall clock sees the gap. A
 * wall clock that is set forward ends a session that was fine; that costs a new session, and is the safe side.
 */
export class SessionLife implements Session {
  readonly id: string;
  readonly #clock: Clock;
  readonly #validMs: number;
  readonly #onOver: (life: SessionLife, reason: SessionOverReason) => void;
  readonly #over = new AbortController();
  #provenAt: SendTime;
  #seen: DirectoryPosition = { generation: "", counter: 0 };
  #cancelEnd: CancelTimer | undefined;
  #overReason: SessionOverReason | undefined;

  constructor(
    id: string,
    clock: Clock,
    validMs: number,
    onOver: (life: SessionLife, reason: SessionOverReason) => void,
  ) {
    this.id = id;
    this.#clock = clock;
    this.#validMs = validMs;
    this.#onOver = onOver;
    this.#provenAt = sendTime(clock);
  }

  isValid(): boolean {
    if (this.#overReason !== undefined) return false;
    if (this.remainingMs() > 0) return true;
    this.end("unconfirmed");
    return false;
  }

  /** Aborted once the session is over. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  get overReason(): SessionOverReason | undefined {
    return this.#overReason;
  }

  /** The latest position of the directory that was acknowledged to this session. */
  get seen(): DirectoryPosition {
    return this.#seen;
  }

  see(position: DirectoryPosition): void {
    const isNews = position.generation !== this.#seen.generation || position.counter > this.#seen.counter;
    if (isNews) this.#seen = position;
  }

  remainingMs(): number {
    const sinceMonotonic = this.#clock.monotonicMs() - this.#provenAt.monotonicMs;
    const sinceWall = this.#clock.wallMs() - this.#provenAt.wallMs;
    return this.#validMs - Math.max(sinceMonotonic, sinceWall);
  }

  /** An acknowledged renewal counts from when it was sent, and never revives what is over. */
  extend(sentAt: SendTime): boolean {
    if (!this.isValid()) return false;
    if (sentAt.monotonicMs > this.#provenAt.monotonicMs) this.#provenAt = sentAt;
    this.watch();
    return this.isValid();
  }

  /** Final, and told once: on a turn of its own, because it may be found out in the middle of anything. */
  end(reason: SessionOverReason): void {
    if (this.#overReason !== undefined) return;
    this.#overReason = reason;
    this.#cancelEnd?.();
    this.#over.abort();
    queueMicrotask(() => this.#onOver(this, reason));
  }

  /** Sets the timer that ends the session when it runs out, though nobody asks. */
  watch(): void {
    this.#cancelEnd?.();
    const remainingMs = Math.max(0, this.remainingMs());
    this.#cancelEnd = this.#clock.after(remainingMs, () => {
      // A timer may fire a moment early; then the rest is waited out.
      if (this.isValid()) this.watch();
    });
  }
}
