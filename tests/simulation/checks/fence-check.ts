import type { SqlStatement } from "../../../infra/lease/sql-connection.ts";
import type { Primary } from "../world/primary.ts";

/** What a commit writes of one object begins with these; more follows. */
type WrittenRow = readonly [className: string, id: string, epoch: number];

/**
 * Fencing (L4), seen from inside the database, and whatever clocks say: no more rows change than those whose lease was, at the beginning of
 * the transaction, the writing session's under the epoch that it names, and that only while the session lived by the primary's clock.
 */
export class FenceCheck {
  readonly #primary: Primary;
  /** Calls that have arrived before. */
  readonly #calls = new WeakSet<readonly SqlStatement[]>();
  readonly #wrong: (what: string) => void;

  constructor(primary: Primary, wrong: (what: string) => void) {
    this.#primary = primary;
    this.#wrong = wrong;
  }

  /** To be called before a transaction; the answer, after each of its statements. */
  begin(
    statements: readonly SqlStatement[],
  ): ((statement: SqlStatement, changes: number) => void) | undefined {
    const writes = statements.find(isWrite);
    const session = writes?.args.session;
    if (typeof session !== "string") return undefined;
    // A second copy of the very same call writes the very same values, which nobody has changed since if the lease is still that one.
    const mayWrite = this.#primary.isAlive(session) || this.#calls.has(statements);
    this.#calls.add(statements);
    const held = new Map(this.#primary.leases().map((row) => [row.key, row]));
    return (statement, changes) => {
      if (!isWrite(statement) || changes === 0) return;
      const rows = JSON.parse(String(statement.args.rows)) as WrittenRow[]; // as `packWrites` makes them
      const allowed = rows.filter(([className, id, epoch]) => {
        const row = held.get(`${className}/${id}`);
        return mayWrite && row?.session === session && row.epoch === epoch;
      });
      if (changes <= allowed.length) return;
      const objects = [...new Set(rows.map(([className, id]) => `${className}/${id}`))].join(", ");
      this.#wrong(
        `${session} changed ${changes} rows of ${objects}, of which ${allowed.length} were its own`,
      );
    };
  }
}

/** One that puts rows, each of which is one change. */
function isWrite({ sql, args }: SqlStatement): boolean {
  return "rows" in args && sql.trimStart().startsWith("INSERT INTO");
}
