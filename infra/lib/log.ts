/** Structured logging behind a port of four verbs. What a process does with an entry is decided in `apps/`. */
export interface Log {
  /** What happens to single objects and requests: too much to read where there are many. */
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, unknown>>;

const drop = (): void => undefined;

/** Drops everything. The default for tests and for embedding. */
export const silentLog: Log = { debug: drop, info: drop, warn: drop, error: drop };
