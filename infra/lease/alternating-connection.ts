import type { Clock } from "../lib/clock.ts";
import { asStatefulError } from "../lib/errors.ts";
import type { SqlConnection, SqlRows, SqlStatement } from "./sql-connection.ts";

const retryFirstMinMs = 30_000;
const retryFirstMaxMs = 60 * 60_000;

/**
 * Two ways to one database: calls take the first until it fails to answer, then the second until that does, and so on.
 *
 * Renewals need it (L1). Bun sends at most 256 requests at once per process, so authors' own calls to a slow service could
 * hold up a renewal over HTTP until the lease is lost. A WebSocket is a connection of its own and waits for nobody; but not
 * every proxy lets one through, so HTTP stands behind it.
 *
 * The first is the better way, and may have failed because the database was away. So it is tried again after a while, and
 * where it alone fails, after twice as long: for a way that is never open that is a late call an hour.
 */
export class AlternatingConnection implements SqlConnection {
  readonly #first: SqlConnection;
  readonly #clock: Clock;
  #current: SqlConnection;
  #other: SqlConnection;
  #retryFirstAtMs = 0;
  #retryFirstMs = retryFirstMinMs;

  constructor(first: SqlConnection, second: SqlConnection, clock: Clock) {
    this.#first = first;
    this.#clock = clock;
    this.#current = first;
    this.#other = second;
  }

  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    return this.#call((connection) => connection.batch(statements));
  }

  query(statement: SqlStatement): Promise<SqlRows> {
    return this.#call((connection) => connection.query(statement));
  }

  reset(): void {
    this.#current.reset();
    this.#other.reset();
  }

  async close(): Promise<void> {
    await Promise.all([this.#current.close(), this.#other.close()]);
  }

  /** A failed call is not repeated here: whether it took effect is not known, and the caller decides. */
  async #call<T>(work: (connection: SqlConnection) => Promise<T>): Promise<T> {
    if (this.#current !== this.#first && this.#clock.monotonicMs() >= this.#retryFirstAtMs) {
      this.#retryFirstMs = Math.min(retryFirstMaxMs, this.#retryFirstMs * 2);
      this.#turn();
    }
    const used = this.#current;
    try {
      const answer = await work(used);
      if (used === this.#first) this.#retryFirstMs = retryFirstMinMs;
      return answer;
    } catch (error) {
      // Of several calls that fail together only the first turns the order around.
      const isSilent = asStatefulError(error).code === "directory_unavailable";
      // Where the second fails as well, the database is away, and says nothing about the first.
      if (isSilent && used !== this.#first) this.#retryFirstMs = retryFirstMinMs;
      if (isSilent && this.#current === used) this.#turn();
      throw error;
    }
  }

  #turn(): void {
    [this.#current, this.#other] = [this.#other, this.#current];
    if (this.#current !== this.#first) this.#retryFirstAtMs = this.#clock.monotonicMs() + this.#retryFirstMs;
  }
}
