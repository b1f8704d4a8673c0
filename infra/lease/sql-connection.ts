/**
 * What the libSQL directory needs of a database: one transaction, or one read. Whoever implements it bounds every call
 * in time and rejects with `directory_unavailable` when it does not know whether the call took effect. Any other error
 * is the database's own answer: nothing of the transaction happened.
 */
export interface SqlConnection {
  /** All statements in one write transaction, in one round trip; all or none. */
  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]>;
  /** One statement that only reads. */
  query(statement: SqlStatement): Promise<SqlRows>;
  /** The next call connects anew, and what is in flight fails: for when the way there is known to have been dead. */
  reset(): void;
  /** Ends what is in flight. Never waits for a database that does not answer. */
  close(): Promise<void>;
}

export interface SqlStatement {
  readonly sql: string;
  readonly args: SqlArgs;
}

/** Integers are bigint: the client sends a JS number as a float, and a float epoch no longer compares as one. */
export type SqlArgs = Readonly<Record<string, SqlArg>>;
export type SqlArg = string | bigint | null | Uint8Array;

export type SqlRows = readonly SqlRow[];
export type SqlRow = Readonly<Record<string, SqlValue>>;
/** Blobs come as `ArrayBuffer`. */
export type SqlValue = string | number | null | ArrayBuffer;

/** A client's rows, which are read by position, as plain objects: theirs carry accessors that do not travel between threads. */
export function plainRows(
  columns: readonly (string | undefined)[],
  rows: Iterable<Readonly<Record<number, unknown>>>,
): SqlRows {
  return Array.from(rows, (row) => {
    const plain: Record<string, SqlValue> = {};
    for (const [index, column] of columns.entries()) {
      // The directory stores text, integers and blobs only.
      if (column !== undefined) plain[column] = row[index] as SqlValue;
    }
    return plain;
  });
}

/** Binds the `:names` that appear in the text, and only those. */
export function statement(sql: string, values: SqlArgs): SqlStatement {
  const args: Record<string, SqlArg> = {};
  for (const name of namesIn(sql)) {
    const value = values[name];
    if (value === undefined) throw new TypeError(`The statement needs a value for :${name}.`);
    args[name] = value;
  }
  return { sql, args };
}

const namesBySql = new Map<string, readonly string[]>();

/** Every text is a constant of this folder, so the map is as large as the folder has statements. */
function namesIn(sql: string): readonly string[] {
  let names = namesBySql.get(sql);
  if (names === undefined) {
    names = [...new Set(Array.from(sql.matchAll(/:([a-z][A-Za-z]*)/g), (match) => match[1] ?? ""))];
    namesBySql.set(sql, names);
  }
  return names;
}

export function textOf(row: SqlRow | undefined, column: string): string {
  const value = row?.[column];
  if (typeof value !== "string")
    throw new TypeError(`The directory answered ${typeof value} as ${column}, not text.`);
  return value;
}

export function bytesOf(row: SqlRow | undefined, column: string): Uint8Array {
  const value = row?.[column];
  if (!(value instanceof ArrayBuffer))
    throw new TypeError(`The directory answered ${typeof value} as ${column}, not bytes.`);
  return new Uint8Array(value);
}

export function numberOf(row: SqlRow | undefined, column: string): number {
  const value = row?.[column];
  if (typeof value !== "number")
    throw new TypeError(`The directory answered ${typeof value} as ${column}, not a number.`);
  return value;
}
