import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** The folder is in use. The message says by whom and what to do. */
export class DataFolderError extends Error {
  override readonly name = "DataFolderError";
}

/**
 * What a dev cluster keeps between runs: the directory, which will hold the storage of the objects. Two clusters on one
 * directory would place objects on each other's hosts, so the folder is locked for as long as this process lives. The lock
 * is one of SQLite's, which the system takes back from a process that dies; a file with a process id would stay.
 */
export class DataFolder {
  readonly directoryFile: string;
  readonly #lock: Database;

  private constructor(folder: string, lock: Database) {
    this.directoryFile = join(folder, "directory.db");
    this.#lock = lock;
  }

  /** @throws DataFolderError where another cluster has it */
  static open(folder: string, isFresh: boolean): DataFolder {
    mkdirSync(folder, { recursive: true });
    const opened = new DataFolder(folder, lockOf(folder));
    if (isFresh) opened.#removeDirectory();
    else opened.#endSessionsOfLastRun();
    return opened;
  }

  get directoryUrl(): string {
    return pathToFileURL(this.directoryFile).href;
  }

  close(): void {
    this.#lock.close();
  }

  #removeDirectory(): void {
    for (const suffix of ["", "-wal", "-shm", "-journal"])
      rmSync(this.directoryFile + suffix, { force: true });
  }

  /**
   * A run that was killed could not hand its sessions back, and its objects would be owned until those expire (L1). The lock
   * proves that nobody of that run has a say any more; a process of it that still lives finds its session ended, and
   * serves nothing.
   */
  #endSessionsOfLastRun(): void {
    if (!existsSync(this.directoryFile)) return;
    const directory = new Database(this.directoryFile);
    try {
      directory.run("PRAGMA busy_timeout = 5000");
      const hasSessions = directory.query("SELECT 1 FROM sqlite_schema WHERE name = 'sessions'").get();
      if (hasSessions) directory.run("UPDATE sessions SET ended = 1 WHERE ended = 0");
    } catch (cause) {
      const message = `${this.directoryFile} cannot be used: ${String(cause)}. Begin with an empty one: --fresh`;
      throw new DataFolderError(message, { cause });
    } finally {
      directory.close();
    }
  }
}

function lockOf(folder: string): Database {
  const owner = join(folder, "running.txt");
  const lock = new Database(join(folder, "running.lock"), { create: true });
  try {
    lock.run("PRAGMA busy_timeout = 0");
    lock.run("BEGIN EXCLUSIVE");
  } catch (cause) {
    lock.close();
    throw new DataFolderError(inUse(folder, owner), { cause });
  }
  writeFileSync(owner, `process ${process.pid}`);
  return lock;
}

function inUse(folder: string, owner: string): string {
  const who = existsSync(owner) ? ` (${readFileSync(owner, "utf8").slice(0, 40)})` : "";
  return `Another dev cluster${who} runs on ${folder}. Stop it, or give this one a folder of its own: --data data/other`;
}
