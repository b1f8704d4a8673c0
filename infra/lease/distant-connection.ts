import { type Clock, sleep } from "../lib/clock.ts";
import type { SqlConnection, SqlRows, SqlStatement } from "./sql-connection.ts";

/** A connection as it would be from further away: half of the round trip before the call, half before its answer. */
export class DistantConnection implements SqlConnection {
  readonly #near: SqlConnection;
  readonly #clock: Clock;
  readonly #roundTripMs: () => number;

  constructor(near: SqlConnection, clock: Clock, roundTripMs: () => number) {
    this.#near = near;
    this.#clock = clock;
    this.#roundTripMs = roundTripMs;
  }

  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    return this.#travel(() => this.#near.batch(statements));
  }

  query(statement: SqlStatement): Promise<SqlRows> {
    return this.#travel(() => this.#near.query(statement));
  }

  reset(): void {
    this.#near.reset();
  }

  close(): Promise<void> {
    return this.#near.close();
  }

  async #travel<T>(call: () => Promise<T>): Promise<T> {
    const oneWayMs = this.#roundTripMs() / 2;
    await sleep(this.#clock, oneWayMs);
    try {
      return await call();
    } finally {
      await sleep(this.#clock, oneWayMs);
    }
  }
}
