import { asStatefulError } from "../lib/errors.ts";
import type { SqlConnection, SqlRows, SqlStatement } from "./sql-connection.ts";

/**
 * Two ways to one database: calls take the first until it fails to answer, then the second until that does, and so on.
 *
 * Renewals need it (L1). Bun sends at most 256 requests at once per process, so authors' own calls to a slow service could
 * hold up a renewal over HTTP until the lease is lost. A WebSocket is a connection of its own and waits for nobody; but not
 * every proxy lets one through, so HTTP stands behind it.
 */
export class AlternatingConnection implements SqlConnection {
  #current: SqlConnection;
  #other: SqlConnection;

  constructor(first: SqlConnection, second: SqlConnection) {
    this.#current = first;
    this.#other = second;
  }

  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    return this.#call((connection) => connection.batch(statements));
  }

  query(statement: SqlStatement): Promise<SqlRows> {
    return this.#call((connection) => connection.query(statement));
  }

  async close(): Promise<void> {
    await Promise.all([this.#current.close(), this.#other.close()]);
  }

  /** A failed call is not repeated here: whether it took effect is not known, and the caller decides. */
  async #call<T>(work: (connection: SqlConnection) => Promise<T>): Promise<T> {
    const used = this.#current;
    try {
      return await work(used);
    } catch (error) {
      // Of several calls that fail together only the first turns the order around.
      const isSilent = asStatefulError(error).code === "directory_unavailable";
      if (isSilent && this.#current === used) [this.#current, this.#other] = [this.#other, this.#current];
      throw error;
    }
  }
}
