import { existsSync, readdirSync, rmSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";

const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
/** The library looks at its file once in that time. */
const noticedWithinMs = 1_000;

/** The wall clock of one process, which may be set; its monotonic clock goes on as before. By libfaketime, which the process preloads. */
export class WrongClock {
  readonly #file: string;
  readonly #library: string;
  #aheadMs = 0;

  private constructor(file: string, library: string) {
    this.#file = file;
    this.#library = library;
  }

  static isPossible(): boolean {
    return libraryFile() !== undefined;
  }

  /** @param file where it is written how far it is ahead; whoever asks for the clock removes it */
  static async open(file: string): Promise<WrongClock> {
    const library = libraryFile();
    if (library === undefined) throw new Error("libfaketime is not installed (apt-get install libfaketime).");
    const clock = new WrongClock(file, library);
    await clock.#write(0);
    return clock;
  }

  /** What the process is started with. */
  get env(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_CACHE_DURATION: String(noticedWithinMs / 1_000),
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
  }

  /** How far it is ahead of the machine's, unless it runs at a pace of its own. */
  get aheadMs(): number {
    return this.#aheadMs;
  }

  /** Sets it that far ahead of the machine's. Resolves when the process must have noticed. */
  async shift(aheadMs: number): Promise<void> {
    this.#aheadMs = aheadMs;
    await this.#write(aheadMs);
    await Bun.sleep(noticedWithinMs); // the library does not say when it has looked
  }

  /**
   * From when the process must have noticed, it runs `pace` times as fast as the machine's, and does not jump ahead for it. The
   * result has it go on as usual from where it is then.
   *
   * @param startedAtMs since the Unix epoch: when the process was started, which is from when the library counts
   */
  async run(pace: number, startedAtMs: number): Promise<() => Promise<void>> {
    const fromMs = Date.now() + noticedWithinMs;
    await this.#write(this.#aheadMs - (fromMs - startedAtMs) * (pace - 1), pace);
    await Bun.sleep(noticedWithinMs);
    return () => this.shift(this.#aheadMs + (Date.now() - fromMs) * (pace - 1));
  }

  /** In one step: it must never be read half. */
  async #write(aheadMs: number, pace = 1): Promise<void> {
    const offset = `${aheadMs < 0 ? "-" : "+"}${Math.abs(aheadMs) / 1_000}`;
    await Bun.write(`${this.#file}.new`, `${offset} x${pace}\n`);
    await rename(`${this.#file}.new`, this.#file);
  }
}

/** What the library leaves behind of a process that was killed. */
export function removeClockRemains(pid: number): void {
  for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`])
    rmSync(join("/dev/shm", name), { force: true });
}

function libraryFile(): string | undefined {
  if (process.platform !== "linux") return undefined;
  // Debian keeps one folder per architecture.
  const places = folders.flatMap((folder) => [folder, ...foldersIn(folder)]);
  return places
    .map((folder) => join(folder, "faketime", "libfaketimeMT.so.1"))
    .find((file) => existsSync(file));
}

function foldersIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
}
