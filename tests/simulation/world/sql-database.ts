import Database from "libsql";
import type { SqlRow, SqlRows, SqlStatement, SqlValue } from "../../../infra/lease/sql-connection.ts";

/** The directory's own word for its time, in every statement that needs it. */
const timeInSql = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
/** Migrations are done before a run, which has a generation of its own. */
const generationInMigrations = "generation = lower(hex(randomblob(16)))";

interface Prepared {
  readonly statement: Database.Statement;
  readonly needsTime: boolean;
  readonly reads: boolean;
}

/**
 * A libSQL database in memory, on the caller's own thread, which is told what time it is: the statements are the product's own, but
 * for the words that read the clock. One per process, emptied between runs, because its prepared statements are what is slow to make.
 */
export class SqlDatabase {
  readonly #database = new Database(":memory:");
  readonly #prepared = new Map<string, Prepared>();
  readonly #begin = this.#database.prepare("BEGIN IMMEDIATE");
  /** Rows that the last statement changed. */
  #changes = 0;
  readonly #commit = this.#database.prepare("COMMIT");

  /** All or none. Throws what the database says. */
  transaction(
    statements: readonly SqlStatement[],
    nowMs: () => number,
    ran?: (statement: SqlStatement, changes: number) => void,
  ): SqlRows[] {
    this.#begin.run();
    try {
      const results = statements.map((statement) => {
        const rows = this.run(statement, nowMs());
        ran?.(statement, this.#changes);
        return rows;
      });
      this.#commit.run();
      return results;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  run({ sql, args }: SqlStatement, nowMs: number): SqlRows {
    const { statement, needsTime, reads } = this.#prepare(sql);
    const values: Record<string, unknown> = needsTime
      ? { ...args, simulatedMs: BigInt(Math.floor(nowMs)) }
      : args;
    const bound = Object.keys(values).length === 0 ? [] : [values];
    this.#changes = 0;
    if (reads) return statement.all(...bound).map(plainRow);
    this.#changes = statement.run(...bound).changes;
    return [];
  }

  /** As if it had just been made, by a directory that has its tables. */
  empty(generation: string): void {
    const tables = this.#database.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'directory' AND name NOT LIKE 'schema_%'",
    );
    // The binding's rows are of no type; the column is text.
    for (const { name } of tables.all() as { readonly name: string }[])
      this.#database.exec(`DELETE FROM ${name}`);
    const reset =
      "UPDATE directory SET generation = ?, former = '', counter = 0, now = 0, ahead = NULL, quarantine_until = 0";
    this.#database.prepare(reset).run(generation);
  }

  #prepare(sql: string): Prepared {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql.replaceAll(timeInSql, ":simulatedMs"));
    const prepared = { statement, needsTime: sql.includes(timeInSql), reads: statement.reader };
    const rest = sql.replaceAll(timeInSql, "").replaceAll(generationInMigrations, "");
    if (/unixepoch|julianday|random/.test(rest) && !/^\s*(CREATE|INSERT INTO directory)/i.test(sql))
      throw new Error(`A statement knows the time, or chance, in a way that the simulation does not: ${sql}`);
    this.#prepared.set(sql, prepared);
    return prepared;
  }
}

/** As the product's own connections answer: blobs as `ArrayBuffer`. */
function plainRow(row: unknown): SqlRow {
  const plain: Record<string, SqlValue> = {};
  // The binding makes an object of columns; the directory has text, integers and blobs only.
  for (const [column, value] of Object.entries(row as Record<string, SqlValue | Uint8Array>)) {
    plain[column] = value instanceof Uint8Array ? new Uint8Array(value).buffer : value;
  }
  return plain;
}
