import { StatefulError } from "../../infra/lib/errors.ts";

/** How much of a dump is read at once. A statement longer than that is put together from several. */
const readBytes = 4 * 1024 * 1024;

export interface DumpPiece {
  /** Whole statements, one after the other, each with its semicolon. */
  readonly sql: string;
  /** How much of the dump has been read, in bytes. */
  readonly readBytes: number;
}

/**
 * What a dump of SQLite or libSQL (`.dump`, `GET /dump`) does, in pieces of some `pieceLength` characters and one statement at least,
 * without its transaction: whoever executes it has one of his own.
 *
 * @throws StatefulError `bad_request` where the dump does not end with its COMMIT: then it was cut off, or whoever made it failed.
 */
export async function* dumpPieces(dump: Blob, pieceLength: number): AsyncGenerator<DumpPiece> {
  let sql = "";
  let isWhole = false;
  for await (const { statement, readBytes: read } of statementsOf(dump)) {
    const word = firstWord(statement);
    isWhole = word === "COMMIT";
    if (framing.has(word)) continue;
    sql += statement;
    if (sql.length < pieceLength) continue;
    yield { sql, readBytes: read };
    sql = "";
  }
  if (!isWhole)
    throw new StatefulError(
      "bad_request",
      "The dump does not end with COMMIT: it is not whole, or no dump. Use another, or take it again with `curl -f`.",
    );
  yield { sql, readBytes: dump.size };
}

/** Of the dump's own transaction. SQLite lets nobody set a PRAGMA within one. */
const framing: ReadonlySet<string> = new Set(["PRAGMA", "BEGIN", "COMMIT"]);

function firstWord(statement: string): string {
  return /^\s*([a-z]+)/i.exec(statement)?.[1]?.toUpperCase() ?? "";
}

async function* statementsOf(dump: Blob): AsyncGenerator<{ statement: string; readBytes: number }> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const splitter = new StatementSplitter();
  for (let read = 0; read < dump.size; ) {
    const part = await dump.slice(read, read + readBytes).bytes();
    read += part.length;
    splitter.add(decoder.decode(part, { stream: read < dump.size }));
    for (let next = splitter.next(); next !== undefined; next = splitter.next())
      yield { statement: next, readBytes: read };
  }
}

/** Finds the semicolons that end a statement: those that are in no quotes. A quote in quotes is doubled, and so begins them anew. */
class StatementSplitter {
  #text = "";
  /** Where the next statement begins. */
  #from = 0;
  /** Up to here nothing ends it. */
  #at = 0;
  #quote = "";

  add(text: string): void {
    this.#text = this.#text.slice(this.#from) + text;
    this.#at -= this.#from;
    this.#from = 0;
  }

  /** The next statement that is there as a whole. */
  next(): string | undefined {
    for (;;) {
      const end = this.#quote === "" ? this.#nextMark() : this.#text.indexOf(this.#quote, this.#at);
      if (end < 0) {
        this.#at = this.#text.length;
        return undefined;
      }
      this.#at = end + 1;
      const mark = this.#text.charAt(end);
      if (mark === ";") break;
      this.#quote = this.#quote === "" ? mark : "";
    }
    const statement = this.#text.slice(this.#from, this.#at);
    this.#from = this.#at;
    return statement;
  }

  #nextMark(): number {
    marks.lastIndex = this.#at;
    return marks.exec(this.#text)?.index ?? -1;
  }
}

const marks = /['";]/g;
