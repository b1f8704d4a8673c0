import { type Client, createClient, type Transaction } from "@libsql/client";
import { existingFile } from "../../infra/lease/connect-directory.ts";
import { plainRows, type SqlConnection, type SqlStatement } from "../../infra/lease/sql-connection.ts";
import { systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { dumpPieces } from "./dump-statements.ts";

export interface LoadOptions {
  /** Of the database, which must be empty. */
  readonly url: string;
  readonly authToken?: string | undefined;
  readonly dump: Blob;
  /** Told of every piece that the database has taken: how much of the dump, in bytes, is read. */
  readonly progress?: (readBytes: number) => void;
}

/** Of one piece, which takes the database some 10 ms. */
const pieceLimitMs = 60_000;
/** In characters. The native client looks at the rest of a text for each statement of it: of longer ones a load takes minutes. */
const pieceLength = 64 * 1024;

/**
 * Fills an empty database with a dump, and does what `finish` does, in one transaction: a load that is broken off leaves it empty,
 * and no host ever sees a part of it, or all of it before it is marked as restored.
 */
export async function loadDump<T>(
  { url, authToken, dump, progress }: LoadOptions,
  finish: (connection: SqlConnection) => Promise<T>,
): Promise<T> {
  const place = url.startsWith("file:") ? existingFile(url) : url;
  const client = createClient({ url: place, ...(authToken === undefined ? {} : { authToken }) });
  try {
    await refuseUnlessEmpty(client);
    const transaction = await limited(client.transaction("write"));
    try {
      for await (const { sql, readBytes } of dumpPieces(dump, pieceLength)) {
        await limited(transaction.executeMultiple(sql));
        progress?.(readBytes);
      }
      const result = await finish(new TransactionConnection(transaction));
      await limited(transaction.commit());
      return result;
    } finally {
      transaction.close(); // Undoes what was not committed.
    }
  } catch (error) {
    throw error instanceof StatefulError ? error : nothingLoaded(error);
  } finally {
    client.close();
  }
}

async function refuseUnlessEmpty(client: Client): Promise<void> {
  const tables = await limited(
    client.execute("SELECT count(*) AS n FROM sqlite_master WHERE type = 'table'"),
  );
  if (Number(tables.rows[0]?.n) === 0) return;
  throw new StatefulError(
    "bad_request",
    "The database is not empty. Load into a new one, and then point the hosts there.",
  );
}

/** A transaction as what the directory's own statements are run on. */
class TransactionConnection implements SqlConnection {
  readonly #transaction: Transaction;

  constructor(transaction: Transaction) {
    this.#transaction = transaction;
  }

  async batch(statements: readonly SqlStatement[]) {
    // The client's type wants an array that can be written to; it does not write to it.
    const results = await limited(this.#transaction.batch(statements as SqlStatement[]));
    return results.map(({ columns, rows }) => plainRows(columns, rows));
  }

  async query(statement: SqlStatement) {
    const { columns, rows } = await limited(this.#transaction.execute(statement));
    return plainRows(columns, rows);
  }

  reset(): void {
    // The transaction would be over.
  }

  async close(): Promise<void> {
    // Its owner closes it.
  }
}

function limited<T>(work: Promise<T>): Promise<T> {
  const late = () =>
    new StatefulError(
      "directory_unavailable",
      `The database did not answer within ${pieceLimitMs / 1000} s.`,
    );
  return withTimeLimit(systemClock, pieceLimitMs, work, late);
}

/** A server takes a transaction that is older than 5 s from whoever has it, once somebody else wants to write. */
function nothingLoaded(cause: unknown): StatefulError {
  const said = cause instanceof Error ? cause.message : String(cause);
  const advice = /TRANSACTION_TIMEOUT/.test(said)
    ? " Something else writes to it: keep hosts away until the dump is loaded."
    : "";
  return new StatefulError("bad_request", `Nothing was loaded. The database said: ${said}.${advice}`, {
    cause,
  });
}
