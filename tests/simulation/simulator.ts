import { migrate } from "../../infra/lease/directory-schema.ts";
import { Run, type RunOptions, type RunResult } from "./run.ts";
import { beginRun, replaceGlobals } from "./world/deterministic-globals.ts";
import { beginningMs } from "./world/simulated-process.ts";
import { SqlDatabase } from "./world/sql-database.ts";

/** Runs seeds in this process, one after the other. */
export class Simulator {
  readonly #databases: { readonly primary: SqlDatabase; readonly replica: SqlDatabase };

  private constructor(databases: { readonly primary: SqlDatabase; readonly replica: SqlDatabase }) {
    this.#databases = databases;
  }

  /** Replaces the globals of this process for good. */
  static async start(): Promise<Simulator> {
    const primary = await emptyDirectory();
    const replica = await emptyDirectory();
    replaceGlobals();
    return new Simulator({ primary, replica });
  }

  run(options: RunOptions): RunResult {
    return new Run(options, beginRun(options.seed), this.#databases).run();
  }
}

/** With the tables that the product itself makes. */
async function emptyDirectory(): Promise<SqlDatabase> {
  const database = new SqlDatabase();
  await migrate({
    batch: async (statements) => database.transaction(statements, () => beginningMs),
    query: async (statement) => database.run(statement, beginningMs),
    reset: () => undefined,
    close: async () => undefined,
  });
  return database;
}
