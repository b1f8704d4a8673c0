import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { classFiles } from "../../infra/host/class-folder.ts";

/** What is different in a folder of classes. Names are relative to it, sorted. */
export interface FolderChange {
  /** Class files that are new or have other contents. */
  readonly changed: readonly string[];
  /** Class files that are gone. */
  readonly removed: readonly string[];
  /** Files that classes may import: those that begin with `_`, and whatever is in folders. */
  readonly shared: readonly string[];
}

export interface ObjectsWatchSetup {
  readonly folder: string;
  /** Called with one change at a time; the next waits until this one is settled. */
  readonly changed: (change: FolderChange) => Promise<void> | void;
  /** The folder cannot be read. Said once, until it can be read again. */
  readonly unreadable: (error: unknown) => void;
  /**
   * How long a file must have been empty or gone to count: many editors empty, delete or rename a file before they write
   * it. Longer is slower to notice a deleted class; shorter takes more half-saved files for deleted ones.
   */
  readonly quietWhenGoneMs?: number;
}

/** A difference counts once it has stood this long: an editor may still be writing. */
const quietMs = 80;
const quietWhenGoneMsDefault = 400;
/** Notifications are a hint to look at once. Where they get lost (network drives, containers), this finds the change. */
const lookEveryMs = 1_000;
const filesMax = 2_000;
const importable = /\.(?:[cm]?[jt]sx?|json|toml|txt|sql|html)$/;

/** Follows a folder of classes. It compares contents, so that neither a touched file nor a missed notification matters. */
export class ObjectsWatch {
  readonly #setup: ObjectsWatchSetup;
  /** Files as they were reported last. */
  #known: FolderContents;
  /** Differences that are not old enough to count. */
  readonly #pending = new Map<string, Pending>();
  #notifications: FSWatcher | undefined;
  #timer: Timer | undefined;
  #isLooking = false;
  #isClosed = false;
  #isUnreadable = false;

  private constructor(setup: ObjectsWatchSetup, known: FolderContents) {
    this.#setup = setup;
    this.#known = known;
  }

  /** What is there now is known; changes from here on are kept, and told once `follow` is called. */
  static async begin(setup: ObjectsWatchSetup): Promise<ObjectsWatch> {
    return new ObjectsWatch(setup, await folderContents(setup.folder, new Map()));
  }

  follow(): void {
    try {
      this.#notifications = watch(this.#setup.folder, { recursive: true }, () => this.#lookIn(quietMs));
      this.#notifications.on("error", () => this.#notifications?.close());
    } catch {
      // No notifications on this system: looking now and then is enough.
    }
    this.#lookIn(0);
  }

  close(): void {
    this.#isClosed = true;
    this.#notifications?.close();
    clearTimeout(this.#timer);
  }

  #lookIn(delayMs: number): void {
    if (this.#isLooking || this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), delayMs);
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    try {
      const now = await folderContents(this.#setup.folder, this.#known);
      this.#isUnreadable = false;
      const settled = this.#settled(now);
      if (settled.length > 0 && !this.#isClosed) await this.#setup.changed(await this.#take(settled, now));
    } catch (error) {
      if (!this.#isUnreadable && !this.#isClosed) this.#setup.unreadable(error);
      this.#isUnreadable = true;
    }
    this.#isLooking = false;
    this.#lookIn(this.#pending.size > 0 ? quietMs : lookEveryMs);
  }

  /** Names of the files whose difference has stood long enough. */
  #settled(now: FolderContents): string[] {
    const settled: string[] = [];
    for (const name of new Set([...now.keys(), ...this.#known.keys()])) {
      const hash = now.get(name)?.hash;
      if (hash === this.#known.get(name)?.hash) this.#pending.delete(name);
      else if (this.#hasStood(name, hash, now.get(name)?.size)) settled.push(name);
    }
    return settled.sort();
  }

  #hasStood(name: string, hash: string | undefined, size = 0): boolean {
    const pending = this.#pending.get(name);
    if (pending === undefined || pending.hash !== hash) {
      this.#pending.set(name, { hash, sinceMs: performance.now() });
      return false;
    }
    const { quietWhenGoneMs = quietWhenGoneMsDefault } = this.#setup;
    return performance.now() - pending.sinceMs >= (size === 0 ? quietWhenGoneMs : quietMs);
  }

  async #take(names: readonly string[], now: FolderContents): Promise<FolderChange> {
    const classes = new Set(await classFiles(this.#setup.folder));
    for (const name of names) {
      this.#pending.delete(name);
      const file = now.get(name);
      if (file) this.#known.set(name, file);
      else this.#known.delete(name);
    }
    const isTopLevel = (name: string) => !/[\\/]|^_/.test(name);
    return {
      changed: names.filter((name) => classes.has(name) && now.has(name)),
      removed: names.filter((name) => isTopLevel(name) && !now.has(name)),
      shared: names.filter((name) => !classes.has(name) && !(isTopLevel(name) && !now.has(name))),
    };
  }
}

interface Pending {
  readonly hash: string | undefined;
  readonly sinceMs: number;
}

type FolderContents = Map<string, FileContents>;

interface FileContents {
  readonly size: number;
  readonly mtimeMs: number;
  readonly inode: number;
  readonly hash: string;
}

/** Reads only the files that are not as in `before`. Rejects where the folder itself cannot be read. */
async function folderContents(folder: string, before: FolderContents): Promise<FolderContents> {
  const found: FolderContents = new Map();
  for (const name of await importableFiles(folder, "")) {
    const contents = await fileContents(join(folder, name), before.get(name));
    if (contents) found.set(name, contents);
  }
  return found;
}

async function importableFiles(folder: string, inside: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(join(folder, inside), { withFileTypes: true })) {
    if (entry.name.startsWith(".") || entry.name === "node_modules" || names.length >= filesMax) continue;
    const name = join(inside, entry.name);
    if (entry.isDirectory()) names.push(...(await importableFiles(folder, name).catch(() => [])));
    else if (importable.test(entry.name)) names.push(name);
  }
  return names;
}

/** Undefined where it went away meanwhile. */
async function fileContents(
  path: string,
  before: FileContents | undefined,
): Promise<FileContents | undefined> {
  try {
    const { size, mtimeMs, ino: inode } = await stat(path);
    const isSame = before?.size === size && before.mtimeMs === mtimeMs && before.inode === inode;
    if (isSame) return before;
    return { size, mtimeMs, inode, hash: String(Bun.hash(await readFile(path))) };
  } catch {
    return undefined;
  }
}
