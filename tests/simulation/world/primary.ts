import type { SqlRows, SqlStatement } from "../../../infra/lease/sql-connection.ts";
import type { FenceCheck } from "../checks/fence-check.ts";
import type { Scheduler } from "./scheduler.ts";
import { beginningMs } from "./simulated-process.ts";
import type { SqlDatabase } from "./sql-database.ts";

/** What the directory's row of one object says. */
export interface LeaseRow {
  readonly key: string;
  readonly session: string;
  readonly epoch: number;
}

interface LoggedWrite {
  readonly atMs: number;
  readonly clockMs: number;
  readonly statements: readonly SqlStatement[];
}

const leasesOfAll: SqlStatement = {
  sql: "SELECT class || '/' || id AS key, session, epoch FROM leases",
  args: {},
};

const expiryOfSession = "SELECT ended, expires_at FROM sessions WHERE session = :session";

/** The directory's server: the real statements on a real database, and a clock that may be wrong. */
export class Primary {
  readonly #scheduler: Scheduler;
  readonly #database: SqlDatabase;
  readonly #replica: SqlDatabase | undefined;
  /** What the replica has not applied yet. */
  #log: LoggedWrite[] = [];
  #stepMs = 0;
  readonly #rate: number;
  isDown = false;
  replicaLagMs = 30;
  transactions = 0;
  fence: FenceCheck | undefined;
  /** Told after each transaction that may have changed a lease. */
  onLeases: ((leases: readonly LeaseRow[]) => void) | undefined;

  constructor(
    scheduler: Scheduler,
    databases: { readonly primary: SqlDatabase; readonly replica: SqlDatabase | undefined },
    rate: number,
  ) {
    this.#scheduler = scheduler;
    this.#database = databases.primary;
    this.#replica = databases.replica;
    this.#rate = rate;
    for (const database of [databases.primary, databases.replica]) database?.empty("the-first-generation");
  }

  /** The machine's clock, which is all that the statements know of time. */
  clockMs(): number {
    return beginningMs + this.#scheduler.nowMs * this.#rate + this.#stepMs;
  }

  /** How often somebody has set its clock. */
  timesSet = 0;

  /** Somebody sets its clock. */
  step(byMs: number): void {
    this.timesSet += 1;
    this.#stepMs += byMs;
  }

  execute(statements: readonly SqlStatement[]): SqlRows[] {
    this.transactions += 1;
    const clockMs = this.clockMs();
    const ran = this.fence?.begin(statements);
    const results = this.#database.transaction(statements, () => clockMs, ran);
    if (this.#replica) this.#log.push({ atMs: this.#scheduler.nowMs, clockMs, statements });
    if (this.onLeases && statements.some(({ sql }) => changesLeases(sql))) this.onLeases(this.leases());
    return results;
  }

  query(statement: SqlStatement): SqlRows {
    return this.#database.run(statement, this.clockMs());
  }

  leases(): readonly LeaseRow[] {
    // The columns of the statement above.
    return this.#database.run(leasesOfAll, 0) as unknown as LeaseRow[];
  }

  /** Whether the directory itself takes the session for one that lives. */
  isAlive(session: string): boolean {
    const [row] = this.#database.run({ sql: expiryOfSession, args: { session } }, 0);
    return row !== undefined && row.ended === 0 && Number(row.expires_at) > this.clockMs();
  }

  get hasReplica(): boolean {
    return this.#replica !== undefined;
  }

  /** From a server that knows what the primary knew a while ago. */
  queryReplica(statement: SqlStatement): SqlRows {
    const replica = this.#replica;
    if (replica === undefined) throw new Error("There is no replica.");
    const untilMs = this.#scheduler.nowMs - this.replicaLagMs;
    const due = this.#log.filter(({ atMs }) => atMs <= untilMs);
    this.#log = this.#log.slice(due.length);
    for (const { statements, clockMs } of due) replica.transaction(statements, () => clockMs);
    return replica.run(statement, this.clockMs());
  }
}

function changesLeases(sql: string): boolean {
  return ["UPDATE leases", "INSERT INTO leases", "DELETE FROM leases"].some((change) => sql.includes(change));
}
