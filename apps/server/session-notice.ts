/** What a host tells the process that started it, over the channel between the two: the session to end should it die. */
export interface SessionNotice {
  /** `""` when all were handed back. */
  readonly session: string;
  readonly ended: boolean;
  /** Whose session it is: the process that a parent sees end may be another, as a shell in between. */
  readonly pid: number;
}

/** Does nothing where the process has no such parent, or has lost it. */
export function tellSupervisor(session: string): void {
  if (!process.connected) return;
  const notice: SessionNotice = { session, ended: session === "", pid: process.pid };
  try {
    process.send?.(notice);
  } catch {
    // The channel closes a moment before `connected` says so. Without a supervisor the session expires by itself.
  }
}

/** Undefined for whatever else is sent over the channel: an author's code can reach it too. */
export function sessionNotice(message: unknown): SessionNotice | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const { session, ended, pid }: Partial<Record<string, unknown>> = { ...message };
  const isNotice = typeof session === "string" && typeof ended === "boolean" && typeof pid === "number";
  return isNotice ? { session, ended, pid } : undefined;
}
