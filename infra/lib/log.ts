/** Structured logging behind a port of three verbs. What a process does with an entry is decided in `apps/`. */
export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, unknown>>;

const drop = (): void => undefined;

/** Drops everything. The default for tests and for embedding. */
export const silentLog: Log = { info: drop, warn: drop, error: drop };
