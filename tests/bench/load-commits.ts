import { createClient } from "@libsql/client";
import { converse, setupOf } from "./conversation.ts";
import type { LoadAnswer } from "./load-http.ts";

/**
 * What a libSQL server does with the same rows when nobody guards, numbers or gathers them: the ceiling of durable writes,
 * and what somebody gets who writes row by row.
 */
export interface CommitQuestion {
  readonly forMs: number;
  /** `set`: one statement with all rows of a batch. `single`: a commit for each row, one after the other. */
  readonly kind: "set" | "single";
  /** Rows in a batch. */
  readonly rows: number;
}

/** Bytes of the state of a counter, as it is stored. */
const valueBytes = 24;

const { url } = setupOf<{ readonly url: string }>();
const client = createClient({ url });
await client.execute(
  "CREATE TABLE IF NOT EXISTS plain (id TEXT, key TEXT, value BLOB, PRIMARY KEY (id, key))",
);

const upsert = "ON CONFLICT (id, key) DO UPDATE SET value = excluded.value";
const putSet = `INSERT INTO plain SELECT r.value ->> 0, '', substr(:bytes, r.value ->> 1, ${valueBytes})
  FROM json_each(:rows) r WHERE true ${upsert}`;
const putOne = `INSERT INTO plain VALUES (:id, '', :bytes) ${upsert}`;
let next = 0;

async function commitSet(count: number): Promise<number> {
  const bytes = crypto.getRandomValues(new Uint8Array(count * valueBytes));
  const rows = Array.from({ length: count }, (_, index) => [`object-${index}`, 1 + index * valueBytes]);
  await client.execute({ sql: putSet, args: { bytes, rows: JSON.stringify(rows) } });
  return count;
}

async function commitOne(count: number): Promise<number> {
  const bytes = crypto.getRandomValues(new Uint8Array(valueBytes));
  await client.execute({ sql: putOne, args: { id: `object-${next++ % count}`, bytes } });
  return 1;
}

async function run({ forMs, kind, rows }: CommitQuestion): Promise<LoadAnswer> {
  const startMs = performance.now();
  let operations = 0;
  while (performance.now() - startMs < forMs)
    operations += await (kind === "set" ? commitSet(rows) : commitOne(rows));
  return { operations, elapsedMs: performance.now() - startMs };
}

converse<CommitQuestion>({ url }, run);
