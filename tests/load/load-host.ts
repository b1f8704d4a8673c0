import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { adminToken } from "../support/admin-token.ts";
import { HostProcess } from "../support/host-process.ts";
import { until } from "../support/wait.ts";

const pageBytes = 4096;
const sampleEveryMs = 100;
const collections = 3;
const leaseTtlMs = 9000;

/** Bytes. */
export interface Memory {
  readonly heapBytes: number;
  readonly residentBytes: number;
}

/** A host as `bun start` runs it, alone with an embedded directory, and what can be seen of it from outside. */
export class LoadHost {
  readonly host: HostProcess;
  /** The most that it has had resident since `forgetPeak`. */
  peakBytes = 0;
  /** Descriptors that it had open at `forgetPeak`. */
  #descriptorsBefore = 0;
  readonly #folder: string;
  readonly #sampling: Timer;

  private constructor(host: HostProcess, folder: string) {
    this.host = host;
    this.#folder = folder;
    this.#sampling = setInterval(() => this.#sample(), sampleEveryMs);
  }

  /** @param runner put in front of the command, as `prlimit --nofile=300` */
  static async start(
    env: Readonly<Record<string, string>> = {},
    runner: readonly string[] = [],
  ): Promise<LoadHost> {
    const folder = await mkdtemp(join(tmpdir(), "stateful-load-"));
    const host = new HostProcess({
      region: "iad",
      directoryUrl: `file:${join(folder, "directory.db")}`,
      objectsFolder: "tests/load/objects",
      leaseTtlMs,
      env: { STATEFUL_ADMIN_TOKEN: adminToken, ...env },
      preload: join(import.meta.dir, "observe.ts"),
      runner,
    });
    try {
      await host.run();
    } catch (error) {
      await host.kill();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    return new LoadHost(host, folder);
  }

  get port(): number {
    return this.host.port;
  }

  get residentBytes(): number {
    return Number(readFileSync(`/proc/${this.host.pid}/statm`, "utf8").split(" ")[1]) * pageBytes;
  }

  forgetPeak(): void {
    this.peakBytes = this.residentBytes;
    this.#descriptorsBefore = this.#descriptors;
  }

  /** How many more connections it has open than at `forgetPeak`, as its kernel counts them. */
  get connections(): number {
    return this.#descriptors - this.#descriptorsBefore;
  }

  get #descriptors(): number {
    return readdirSync(`/proc/${this.host.pid}/fd`).length;
  }

  /** What it holds once its garbage is gone. Several times, because finalizers free more after each. */
  async collected(): Promise<Memory> {
    let heapBytes = 0;
    for (let count = 0; count < collections; count++) {
      const before = this.#collections.length;
      process.kill(this.host.pid, "SIGUSR2");
      const told = await until(
        "the host has collected its garbage",
        () =>
          this.#collections[before] ?? (this.#collections.length < before ? this.#collections.at(-1) : false),
        30_000,
      );
      heapBytes = Number(told.heapBytes);
    }
    return { heapBytes, residentBytes: this.residentBytes };
  }

  get #collections() {
    return this.host.entries.filter(({ event }) => event === "load.collected");
  }

  /** What it tells an operator of itself. */
  async metrics(): Promise<Readonly<Record<string, number>>> {
    const headers = { authorization: `Bearer ${adminToken}` };
    const answer = await fetch(this.host.url("/-/metrics"), { headers, signal: AbortSignal.timeout(20_000) });
    const lines = (await answer.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return Object.fromEntries(
      lines.map((line): [string, number] => {
        const [name = "", value] = line.split(" ");
        return [name, Number(value)];
      }),
    );
  }

  /** Events of the log that say that something went wrong. */
  get errors(): readonly string[] {
    return this.host.entries.filter(({ level }) => level === "error").map((entry) => JSON.stringify(entry));
  }

  async stop(): Promise<void> {
    clearInterval(this.#sampling);
    await this.host.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #sample(): void {
    try {
      this.peakBytes = Math.max(this.peakBytes, this.residentBytes);
    } catch {
      // It has ended, which whoever asks it next finds out.
    }
  }
}
