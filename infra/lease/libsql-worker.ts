import { parentPort } from "node:worker_threads";
import { type Client, createClient } from "@libsql/client/sqlite3";
import { plainRows, type SqlRows, type SqlStatement } from "./sql-connection.ts";
import type { FromWorker, ToWorker, WorkerConfig } from "./worker-connection.ts";

/**
 * The thread that owns one native libSQL connection (L10): a file, or an embedded replica of a server. Native calls block
 * the thread they are made on, for as long as a disk or a primary that accepts and never answers likes; here that costs
 * nobody anything but the caller's time limit, which runs on the other side.
 *
 * A replica announces `ready` once it has been filled; until then the other side asks the primary.
 */
const walAttemptsMax = 20;
const walRetryMs = 25;
const syncRetryMinMs = 2_500;
const syncRetryMaxMs = 60_000;

let client: Client | undefined;
let isClosed = false;
let syncing: Timer | undefined;

parentPort?.on("message", (message: ToWorker) => {
  if ("config" in message) void start(message.config);
  else if ("close" in message) close();
  else void answer(message.id, message.mode, message.statements);
});

async function start(config: WorkerConfig): Promise<void> {
  try {
    if (config.replica === undefined) await openFile(config);
    else await fillReplica(config, config.replica);
    post({ ready: true });
  } catch (error) {
    post({ failed: describe(error).message });
  }
}

async function openFile(config: WorkerConfig): Promise<void> {
  // One connection, so that what is set here holds for every statement after it.
  client = createClient({ url: config.url, concurrency: 1 });
  await client.execute(`PRAGMA busy_timeout = ${Math.round(config.busyTimeoutMs)}`);
  await enterWal(client);
  await client.execute("PRAGMA synchronous = FULL");
}

/** Of several hosts that open a new file at once, one switches it; the others are told "busy" without any waiting. */
async function enterWal(open: Client): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await open.execute("PRAGMA journal_mode = WAL");
      return;
    } catch (error) {
      if (attempt === walAttemptsMax) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, walRetryMs);
    }
  }
}

async function fillReplica(
  config: WorkerConfig,
  replica: NonNullable<WorkerConfig["replica"]>,
): Promise<void> {
  const { syncUrl, authToken, syncIntervalMs } = replica;
  client = createClient({ url: config.url, syncUrl, ...(authToken === undefined ? {} : { authToken }) });
  await client.sync();
  syncAfter(syncIntervalMs, syncIntervalMs);
}

/**
 * A sync that fails has kept this thread busy for seconds, so after each failure the next one comes later: in between, reads
 * are answered from what the replica has.
 */
function syncAfter(delayMs: number, intervalMs: number): void {
  if (isClosed) return;
  syncing = setTimeout(async () => {
    try {
      await client?.sync();
      syncAfter(intervalMs, intervalMs);
    } catch (error) {
      post({ failed: describe(error).message });
      syncAfter(Math.min(syncRetryMaxMs, Math.max(delayMs, syncRetryMinMs) * 2), intervalMs);
    }
  }, delayMs);
}

/** The thread ends by itself: nothing is left that could wake it. */
function close(): void {
  clearTimeout(syncing);
  client?.close();
  isClosed = true;
  client = undefined;
  parentPort?.close();
}

async function answer(
  id: number,
  mode: "read" | "write",
  statements: readonly SqlStatement[],
): Promise<void> {
  try {
    if (client === undefined) throw new Error("the database is not open");
    post({ id, results: await run(client, mode, statements) });
  } catch (error) {
    post({ id, error: describe(error) });
  }
}

async function run(
  open: Client,
  mode: "read" | "write",
  statements: readonly SqlStatement[],
): Promise<SqlRows[]> {
  // The client's type wants arrays that can be written to; it does not write to them.
  const list = statements as SqlStatement[];
  const results = mode === "write" ? await open.batch(list, "write") : [];
  if (mode === "read") for (const one of list) results.push(await open.execute(one));
  return results.map(({ columns, rows }) => plainRows(columns, rows));
}

function describe(error: unknown): { readonly message: string; readonly code: string } {
  const code = error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
  return { message: error instanceof Error ? error.message : String(error), code };
}

function post(message: FromWorker): void {
  parentPort?.postMessage(message);
}
