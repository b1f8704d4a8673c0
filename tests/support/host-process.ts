import { join } from "node:path";
import { freePort } from "./sqld.ts";
import { linesIn } from "./text-lines.ts";
import { until } from "./wait.ts";

const root = join(import.meta.dir, "../..");
const startLimitMs = 60_000;
const stopLimitMs = 60_000;
/** Of its log, what is kept: the last of it. */
export const entriesMax = 5_000;
const startAttemptsMax = 3;
/** All that run: they end with the process that started them. */
const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface HostProcessOptions {
  readonly region: string;
  readonly directoryUrl: string;
  /** From the root of the project, or of `tree`. */
  readonly objectsFolder: string;
  /** The root of another tree to run the host of. Default: this project's. */
  readonly tree?: string;
  readonly leaseTtlMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Where it listens, for clients and for other hosts. Default `127.0.0.1`. */
  readonly address?: string;
  /** Put in front of the command: what gives the process a network of its own. */
  readonly runner?: readonly string[];
  /** A file that Bun loads before the host's own. */
  readonly preload?: string;
}

/** What a host has logged. */
export interface HostLogEntry {
  readonly event: string;
  readonly level: string;
  /** By `performance.now()` here, whatever its own clock says. */
  readonly heardAtMs: number;
  readonly [field: string]: unknown;
}

/** A host as `bun start` runs it, in a process of its own that a test may kill, freeze and run again. */
export class HostProcess {
  /** What its processes have logged, the last of it. */
  readonly entries: HostLogEntry[] = [];
  #options: HostProcessOptions;
  #process: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;
  #port = 0;
  #starts = 0;
  /** Whether the process that runs now has said so. */
  #hasStarted = false;
  #isReady = false;
  #complaints = "";

  constructor(options: HostProcessOptions) {
    this.#options = options;
  }

  get options(): HostProcessOptions {
    return this.#options;
  }

  /** What the next process of this host is to be. */
  become(changes: Partial<HostProcessOptions>): void {
    this.#options = { ...this.#options, ...changes };
  }

  /** Resolves when it may own objects. */
  static async start(options: HostProcessOptions): Promise<HostProcess> {
    const host = new HostProcess(options);
    await host.run();
    return host;
  }

  get region(): string {
    return this.options.region;
  }
  /** Of the process that runs now, or ran last: each has one of its own. */
  get id(): string {
    return `${this.region}-${this.#starts}`;
  }
  /** What its processes have written to the standard error, the last of it. */
  get complaints(): string {
    return this.#complaints;
  }
  get pid(): number {
    return this.#process?.pid ?? 0;
  }
  /** Whether it has served since it was started, and has not been ended. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** With what it ended by itself, while it was to serve; undefined while it does. */
  get end(): string | undefined {
    const { exitCode = null, signalCode = null } = this.#process ?? {};
    if (!this.#isReady || (exitCode === null && signalCode === null)) return undefined;
    return `${exitCode ?? signalCode}: ${this.#complaints}`;
  }

  get port(): number {
    return this.#port;
  }
  get address(): string {
    return this.options.address ?? "127.0.0.1";
  }

  url(path: string): string {
    return `http://${this.address}:${this.#port}${path}`;
  }
  socketUrl(path: string): string {
    return `ws://${this.address}:${this.#port}${path}`;
  }

  /** Starts a process, on a port of its own unless one is given. Resolves when it may own objects. */
  async run(port?: number): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      this.#starts += 1;
      this.#port = port ?? (await freePort());
      const child = this.#spawn();
      const isServing = await until(
        `${this.id} serves`,
        async () => (child.exitCode === null && child.signalCode === null ? await this.#serves() : "ended"),
        startLimitMs,
      );
      if (isServing === true) break;
      // Somebody else may have been given the port meanwhile.
      if (attempt === startAttemptsMax)
        throw new Error(`${this.id} ended with ${child.exitCode}: ${this.#complaints}`);
    }
    this.#isReady = true;
  }

  /** `kill -9`. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#isReady = false;
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
  }

  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Resolves with its exit code when it has ended by itself. */
  async exited(): Promise<number | null> {
    const child = this.#process;
    if (child === undefined) return null;
    await until(`${this.id} ends`, () => child.exitCode !== null || child.signalCode !== null, stopLimitMs);
    this.#isReady = false;
    return child.exitCode;
  }

  /** Resolves with the exit code. */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGHUP" = "SIGTERM"): Promise<number> {
    this.#isReady = false;
    const child = this.#process;
    if (child === undefined) return 0;
    child.kill(signal);
    return until(`${this.id} stops`, () => child.exitCode ?? undefined, stopLimitMs).catch((error) => {
      child.kill("SIGKILL");
      throw error;
    });
  }

  async #serves(): Promise<true | undefined> {
    // Asked before it says so it would not answer, and every question takes time from its start.
    if (!this.#hasStarted) return undefined;
    const signal = AbortSignal.timeout(1_000);
    const answer = await fetch(this.url("/-/health"), { signal }).catch(() => undefined);
    return answer?.status === 200 ? true : undefined;
  }

  #spawn(): Bun.Subprocess<"ignore", "pipe", "pipe"> {
    const { region, directoryUrl, objectsFolder, leaseTtlMs, env, runner = [], preload } = this.options;
    this.#hasStarted = false;
    const before = preload === undefined ? [] : ["--preload", preload];
    const child = Bun.spawn([...runner, process.execPath, ...before, "apps/server/main.ts"], {
      cwd: this.options.tree ?? root,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        PORT: String(this.#port),
        STATEFUL_BIND: this.address,
        STATEFUL_PRIVATE_URL: this.url(""),
        STATEFUL_REGION: region,
        STATEFUL_HOST_ID: this.id,
        STATEFUL_OBJECTS: objectsFolder,
        STATEFUL_LEASE_TTL_MS: String(leaseTtlMs),
        LIBSQL_URL: directoryUrl,
        CLUSTER_SECRET: "a-secret-that-only-tests-use",
        ...env,
      },
    });
    this.#process = child;
    running.add(child);
    void child.exited.then(() => running.delete(child));
    void this.#readEntries(child.stdout);
    void this.#readComplaints(child.stderr);
    return child;
  }

  async #readEntries(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const line of linesIn(stream)) {
      this.#hear({ ...JSON.parse(line), heardAtMs: performance.now() }); // written by jsonLog
      if (this.entries.length > entriesMax) this.entries.splice(0, this.entries.length - entriesMax);
    }
  }

  #hear(entry: HostLogEntry): void {
    this.entries.push(entry);
    if (entry.event === "host.started" && entry.hostId === this.id) this.#hasStarted = true;
  }

  async #readComplaints(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream)
      this.#complaints = (this.#complaints + decoder.decode(chunk, { stream: true })).slice(-10_000);
  }
}
