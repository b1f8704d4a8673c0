import { join } from "node:path";
import type { ByteHostAnswer, ByteHostQuestion } from "./byte-host.ts";
import { until } from "./wait.ts";

/** One host in a process of its own, and the questions that it answers. */
export class ByteHostProcess {
  readonly #process: Bun.Subprocess;
  #answers: unknown[] = [];
  port = 0;

  private constructor(region: string, directoryUrl: string) {
    this.#process = Bun.spawn([process.execPath, join(import.meta.dir, "byte-host.ts")], {
      env: {
        ...process.env,
        PORT: "0",
        LIBSQL_URL: directoryUrl,
        CLUSTER_SECRET: "a-secret-that-only-tests-use",
        STATEFUL_REGION: region,
        STATEFUL_HOST_ID: `${region}-bytes`,
        STATEFUL_LEASE_TTL_MS: "3000",
      },
      stdout: "inherit",
      stderr: "inherit",
      ipc: (message) => void this.#answers.push(message),
    });
  }

  static async start(region: string, directoryUrl: string): Promise<ByteHostProcess> {
    const started = new ByteHostProcess(region, directoryUrl);
    try {
      started.port = Number(await started.#answer("the host starts", 15_000));
    } catch (error) {
      await started.stop();
      throw error;
    }
    return started;
  }

  async ask(question: ByteHostQuestion): Promise<ByteHostAnswer> {
    this.#process.send(question);
    return (await this.#answer(`the host answers ${question.ask}`)) as ByteHostAnswer; // byte-host.ts sends nothing else
  }

  async stop(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  async #answer(what: string, limitMs?: number): Promise<unknown> {
    await until(what, () => this.#answers.length > 0, limitMs);
    return this.#answers.shift();
  }
}
