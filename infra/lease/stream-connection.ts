import {
  BatchCond,
  type BatchStep,
  openWs,
  type RowsResult,
  type Sql,
  Stmt,
  type WsClient,
  type WsStream,
} from "@libsql/hrana-client";
import { withTimeLimit } from "../lib/clock.ts";
import {
  closedConnection,
  isAnswer,
  isCrowded,
  noAnswer,
  type RemoteConnectionOptions,
  unreachable,
} from "./remote-connection.ts";
import { plainRows, type SqlConnection, type SqlRows, type SqlStatement } from "./sql-connection.ts";

/**
 * A libSQL server over a WebSocket that stays open.
 *
 * `@libsql/client` opens and closes a stream for every call, and asks for results through a cursor; that is six messages, and
 * takes twice as long. Here one message goes each way, the server keeps the text of each statement (they are constants of
 * this folder, some thirty), and a connection that `keepsStream` keeps a stream for its writes. A server has a database
 * connection for each open stream and 128 of those by default, so everything else opens one for the length of the call.
 *
 * A call whose answer does not come in time closes the connection, with all that is open on it: whether any of it happened is
 * not known, and the next call opens another.
 */
export class StreamConnection implements SqlConnection {
  readonly #options: RemoteConnectionOptions;
  #open: OpenSocket | undefined;
  #isClosed = false;

  readonly #keepsStream: boolean;

  constructor(options: RemoteConnectionOptions, keepsStream: boolean) {
    this.#options = options;
    this.#keepsStream = keepsStream;
  }

  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    return this.#call((open) => open.transaction(statements));
  }

  query(statement: SqlStatement): Promise<SqlRows> {
    return this.#call((open) => open.query(statement));
  }

  reset(): void {
    this.#discard(this.#open);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.reset();
  }

  async #call<T>(work: (open: OpenSocket) => Promise<T>): Promise<T> {
    const { clock, timeLimitMs, url, authToken } = this.#options;
    if (this.#isClosed) throw closedConnection();
    // The server may have closed it since the last call, which is no reason to fail this one.
    const open = this.#open?.isUsable ? this.#open : new OpenSocket(url, authToken, this.#keepsStream);
    this.#open = open;
    try {
      const late = () => noAnswer(url, timeLimitMs);
      return await withTimeLimit(clock, timeLimitMs, work(open), late);
    } catch (error) {
      if (isAnswer(error)) throw error;
      if (!isCrowded(error)) this.#discard(open);
      throw unreachable(url, error);
    }
  }

  #discard(open: OpenSocket | undefined): void {
    if (open === undefined) return;
    if (this.#open === open) this.#open = undefined;
    open.close();
  }
}

/** One WebSocket, maybe with a stream that is kept. */
class OpenSocket {
  readonly #client: WsClient;
  readonly #ready: Promise<void>;
  #isReady = false;
  readonly #texts = new Map<string, Sql>();
  readonly #keepsStream: boolean;
  #kept: WsStream | undefined;

  constructor(url: string, authToken: string | undefined, keepsStream: boolean) {
    this.#keepsStream = keepsStream;
    this.#client = openWs(url, authToken);
    // Texts can be kept once it is known that the server knows how.
    this.#ready = this.#client.getVersion().then(() => {
      this.#isReady = true;
    });
    this.#ready.catch(ignore);
  }

  get isUsable(): boolean {
    return !this.#client.closed && this.#kept?.closed !== true;
  }

  async query({ sql, args }: SqlStatement): Promise<SqlRows> {
    if (!this.#isReady) await this.#ready;
    const stream = this.#client.openStream();
    const answer = stream.query(this.#bound(sql, args));
    stream.closeGracefully();
    return rowsOf(await answer);
  }

  /** Each step runs where the one before it went well; the last undoes it all where the commit did not. */
  async transaction(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    if (!this.#isReady) await this.#ready;
    const stream = this.#kept ?? this.#client.openStream();
    if (this.#keepsStream) this.#kept = stream;
    const batch = stream.batch(false);
    const begin = batch.step();
    const outcomes: Promise<unknown>[] = [begin.run(this.#text("BEGIN IMMEDIATE"))];
    const answers: Promise<RowsResult | undefined>[] = [];
    let last: BatchStep = begin;
    for (const { sql, args } of statements) {
      const step = batch.step().condition(BatchCond.ok(last));
      const answer = step.query(this.#bound(sql, args));
      answers.push(answer);
      outcomes.push(answer);
      last = step;
    }
    const commit = batch.step().condition(BatchCond.ok(last));
    const committed = commit.run(this.#text("COMMIT"));
    outcomes.push(committed);
    batch
      .step()
      .condition(BatchCond.not(BatchCond.ok(commit)))
      .run(this.#text("ROLLBACK"))
      .catch(ignore);
    for (const outcome of outcomes) outcome.catch(ignore);
    const executed = batch.execute();
    if (!this.#keepsStream) stream.closeGracefully();
    await executed.catch((error: unknown) => this.#dropStream(stream, error));
    // The first that failed says why; those behind it were not run.
    for (const outcome of outcomes) await outcome;
    if ((await committed) === undefined) throw new Error("The transaction was not committed.");
    return Promise.all(answers.map(async (answer) => rowsOf(await answer)));
  }

  close(): void {
    this.#client.close();
  }

  /** The server gave up in the middle, its ROLLBACK included: with the stream it ends the transaction, and lets others write. */
  #dropStream(stream: WsStream, error: unknown): never {
    if (this.#kept === stream) this.#kept = undefined;
    stream.close();
    throw error;
  }

  #bound(sql: string, args: SqlStatement["args"]): Stmt {
    const stmt = new Stmt(this.#text(sql));
    for (const [name, value] of Object.entries(args)) stmt.bindName(name, value);
    return stmt;
  }

  #text(sql: string): Sql {
    const known = this.#texts.get(sql) ?? this.#client.storeSql(sql);
    this.#texts.set(sql, known);
    return known;
  }
}

function rowsOf(result: RowsResult | undefined): SqlRows {
  if (result === undefined) throw new Error("A statement of the transaction was not run.");
  return plainRows(result.columnNames, result.rows);
}

function ignore(): void {
  // Whoever waits for it is told by another way.
}
