import type { Answer, RawConnection } from "./raw-connection.ts";

/** What a load has met so far. */
export interface AttackReport {
  /** Whether all that it was to do is done. One that is to last until it is stopped is never done. */
  readonly isDone: boolean;
  /** How often each answer and each close came; `Tally` says how they are written. */
  readonly tally: Readonly<Record<string, number>>;
  readonly figures: Readonly<Record<string, number>>;
}

/** A load, as it runs in a process of its own. */
export interface Attack {
  /** Begins, and resolves soon: how far it has come is in the report. */
  begin(): Promise<void>;
  report(): AttackReport;
  /** Does what is asked for meanwhile, where it can do more than one thing. */
  step?(name: string): Promise<void>;
}

/** Counts answers and closes. `200`, `101`, `429 queue_full`, `close 4408`, `lost` where a connection ended without a word. */
export class Tally {
  readonly counts: Record<string, number> = {};

  note(key: string): void {
    this.counts[key] = (this.counts[key] ?? 0) + 1;
  }

  answer(answer: Answer): void {
    this.note(answerKey(answer));
  }

  /** How a WebSocket, or a connection that was waiting, has ended. */
  end(connection: RawConnection): void {
    this.note(connection.closeCode === undefined ? "lost" : `close ${connection.closeCode}`);
  }
}

export const withoutRetryAfter = "without Retry-After";

export function answerKey({ status, code, retryAfter }: Answer): string {
  if (status === 0) return "lost";
  if (status < 400) return String(status);
  const wait = retryAfter === undefined ? ` ${withoutRetryAfter}` : "";
  return `${status} ${code ?? "without a code"}${wait}`;
}

/** Runs `work` for 0 … count - 1, so many at once. */
export async function inTurns(
  count: number,
  atOnce: number,
  work: (n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}
