import { join } from "node:path";
import { linesIn } from "../support/text-lines.ts";
import { type Core, cpuMicrosOf, pinned } from "./cores.ts";

const answerLimitMs = 60_000;
const stopLimitMs = 5000;

/**
 * A process of the benchmark. It gets its setup as JSON on the command line and speaks JSON lines: first one that says
 * that it is ready, then one answer for each question. It ends when its standard input does, so that nothing is left
 * running even where the benchmark itself is killed (`conversation.ts` is the other end).
 */
export class Child<Ready> {
  readonly ready: Ready;
  readonly #process: Process;
  readonly #lines: AsyncIterator<string>;

  private constructor(ready: Ready, process: Process, lines: AsyncIterator<string>) {
    this.ready = ready;
    this.#process = process;
    this.#lines = lines;
  }

  /** @param entry file in this folder */
  static async start<Ready>(entry: string, setup: object, core: Core): Promise<Child<Ready>> {
    const command = pinned(core, [process.execPath, join(import.meta.dir, entry), JSON.stringify(setup)]);
    const started = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    const lines = linesIn(started.stdout);
    try {
      return new Child(await nextAnswer<Ready>(entry, lines), started, lines);
    } catch (error) {
      started.kill("SIGKILL");
      throw error;
    }
  }

  async ask<Answer>(question: object): Promise<Answer> {
    this.#process.stdin.write(`${JSON.stringify(question)}\n`);
    this.#process.stdin.flush();
    return nextAnswer<Answer>(JSON.stringify(question), this.#lines);
  }

  get cpuMicros(): number | undefined {
    return cpuMicrosOf(this.#process.pid);
  }

  async stop(): Promise<void> {
    await this.#process.stdin.end();
    const limit = setTimeout(() => this.#process.kill("SIGKILL"), stopLimitMs);
    await this.#process.exited;
    clearTimeout(limit);
  }
}

type Process = Bun.Subprocess<"pipe", "pipe", "inherit">;

async function nextAnswer<Answer>(what: string, lines: AsyncIterator<string>): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const fail = () => late.reject(new Error(`No answer within ${answerLimitMs / 1000} s: ${what}`));
  const limit = setTimeout(fail, answerLimitMs);
  try {
    const line = await Promise.race([lines.next(), late.promise]);
    if (line.done) throw new Error(`The process ended before it answered: ${what}`);
    return JSON.parse(line.value) as Answer; // both ends of the line are in this folder
  } finally {
    clearTimeout(limit);
  }
}
