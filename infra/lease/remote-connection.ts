import type { Client } from "@libsql/client";
import { createClient as createHttpClient } from "@libsql/client/http";
import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import { plainRows, type SqlConnection, type SqlRows, type SqlStatement } from "./sql-connection.ts";

/**
 * A libSQL server over HTTP, without native code. Two traps of the client are handled here: it has no time
 * limit of its own, and once its socket or its first handshake has failed it stays that way. So each call is limited from
 * outside, the HTTP request also from inside (so that the connection is freed), and a client that failed is replaced.
 */
export interface RemoteConnectionOptions {
  readonly clock: Clock;
  /** `http:`, `https:`, `libsql:`; `ws:` or `wss:` for a `StreamConnection`. */
  readonly url: string;
  readonly authToken?: string | undefined;
  readonly timeLimitMs: number;
}

export class RemoteConnection implements SqlConnection {
  readonly #options: RemoteConnectionOptions;
  #client: Client | undefined;
  #isClosed = false;

  constructor(options: RemoteConnectionOptions) {
    this.#options = options;
  }

  async batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    // The client's type wants an array that can be written to; it does not write to it.
    const results = await this.#call((client) => client.batch(statements as SqlStatement[], "write"));
    return results.map(({ columns, rows }) => plainRows(columns, rows));
  }

  async query(statement: SqlStatement): Promise<SqlRows> {
    const { columns, rows } = await this.#call((client) => client.execute(statement));
    return plainRows(columns, rows);
  }

  reset(): void {
    this.#discard(this.#client);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.reset();
  }

  async #call<T>(work: (client: Client) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw closedConnection();
    const client = this.#open();
    const { clock, timeLimitMs, url } = this.#options;
    try {
      const late = () => noAnswer(url, timeLimitMs);
      return await withTimeLimit(clock, timeLimitMs, work(client), late);
    } catch (error) {
      if (isAnswer(error)) throw error;
      if (!isCrowded(error)) this.#discard(client);
      throw error instanceof StatefulError ? error : unreachable(url, error);
    }
  }

  #open(): Client {
    if (this.#client !== undefined) return this.#client;
    const { url, authToken, timeLimitMs } = this.#options;
    const config = { url, ...(authToken === undefined ? {} : { authToken }) };
    this.#client = createHttpClient({ ...config, fetch: limitedFetch(timeLimitMs) });
    return this.#client;
  }

  /** Calls that others still have open on this client end with it: none of them would be answered. */
  #discard(client: Client | undefined): void {
    if (client === undefined || this.#client !== client) return;
    this.#client = undefined;
    client.close();
  }
}

function limitedFetch(timeLimitMs: number): (request: Request) => Promise<Response> {
  return (request) => fetch(request, { signal: AbortSignal.timeout(timeLimitMs) });
}

/** The database executed or refused the statement, as opposed to "nobody knows" and "try again". */
export function isAnswer(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(SQLITE_|SQL_|ARGS_)/.test(code) && !/BUSY|LOCKED|IOERR|FULL/.test(code);
}

/** A server holds so many bytes of answers at once, of all its clients (`--max-total-response-size`): later it has room again. */
export function isCrowded(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "RESPONSE_TOO_LARGE";
}

/** The message is read by clients, and says what they may know (E10). Where the directory is stands in the cause, for the log. */
function unavailable(message: string, cause: Error): StatefulError {
  return new StatefulError("directory_unavailable", message, { cause });
}

export function closedConnection(): StatefulError {
  return new StatefulError("directory_unavailable", "The connection to the directory was closed.");
}

export function noAnswer(url: string, timeLimitMs: number): StatefulError {
  const message = `The directory did not answer within ${timeLimitMs} ms.`;
  return unavailable(message, new Error(`${hostOf(url)} did not answer.`));
}

export function unreachable(url: string, cause: unknown): StatefulError {
  return unavailable(
    "The directory cannot be reached.",
    new Error(`${hostOf(url)} cannot be reached.`, { cause }),
  );
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? "Its address";
}
