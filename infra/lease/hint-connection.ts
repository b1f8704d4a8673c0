import { StatefulError } from "../lib/errors.ts";
import type { SqlConnection, SqlRows, SqlStatement } from "./sql-connection.ts";

/** A replica that may not have been filled yet. */
export interface ReplicaConnection extends SqlConnection {
  /** Absent where the replica is a server, which fills itself. */
  readonly isReady?: boolean;
}

/**
 * Reads hints from the replica, and from the primary where the replica has nothing to offer: while it is being filled,
 * when it does not answer, when it has no tables yet. Stale is fine (L5); slow is not.
 */
export class HintConnection implements SqlConnection {
  readonly #replica: ReplicaConnection;
  readonly #primary: SqlConnection;

  constructor(replica: ReplicaConnection, primary: SqlConnection) {
    this.#replica = replica;
    this.#primary = primary;
  }

  async query(statement: SqlStatement): Promise<SqlRows> {
    if (this.#replica.isReady === false) return this.#primary.query(statement);
    try {
      return await this.#replica.query(statement);
    } catch {
      // Whatever is wrong with the replica, the primary knows better.
      return this.#primary.query(statement);
    }
  }

  batch(): Promise<never> {
    return Promise.reject(
      new StatefulError("internal", "A replica is for reading: nothing writes through it."),
    );
  }

  reset(): void {
    this.#replica.reset();
  }

  async close(): Promise<void> {
    await this.#replica.close();
  }
}
