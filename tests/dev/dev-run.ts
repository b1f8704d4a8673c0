import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../support/wait.ts";

const root = join(import.meta.dir, "../..");
const startLimitMs = 30_000;

/** Folders for one run, inside the project so that its classes find the packages, and outside of git. */
export interface DevFolders extends AsyncDisposable {
  readonly objects: string;
  readonly data: string;
}

export async function devFolders(): Promise<DevFolders> {
  await mkdir(join(root, "data"), { recursive: true });
  const base = await mkdtemp(join(root, "data/test-dev-"));
  const remove = () => rm(base, { recursive: true, force: true });
  const folders = { objects: join(base, "objects"), data: join(base, "data"), [Symbol.asyncDispose]: remove };
  await mkdir(folders.objects);
  return folders;
}

/** A class whose objects count, by `step`. */
export function counterClass(name: string, step = 1): string {
  return `import { object } from "stateful-objects";

export default object("${name}", { state: () => ({ count: 0 }) })
  .post("/increment", ({ state }) => ({ count: (state.count += ${step}) }))
  .get("/fail", () => {
    throw new RangeError("on purpose");
  })
  .get("/block", () => {
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // as a loop would, and leaves the core to others
  });
`;
}

/** A running `bun apps/dev/main.ts`, with all that it has printed. */
export class DevRun {
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  #output = "";
  #from = 0;

  private constructor(args: readonly string[]) {
    this.process = Bun.spawn([process.execPath, "apps/dev/main.ts", ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      // The cluster stops when this channel closes: also when the tests themselves are killed.
      ipc: () => undefined,
    });
    void this.#read(this.process.stdout);
    void this.#read(this.process.stderr);
  }

  static start({ objects, data }: DevFolders, ...args: string[]): DevRun {
    return new DevRun(["--port", "0", "--no-distance", "--objects", objects, "--data", data, ...args]);
  }

  /** Resolves with the URL of each region once the banner is there. */
  async urls(): Promise<string[]> {
    await this.says("Ctrl-C stops everything", startLimitMs);
    return [...this.#output.matchAll(/✓ \w+ +(http:\S+)/g)].map(([, url = ""]) => url).sort();
  }

  /** What was printed up to here is no answer to the next `says`. */
  mark(): void {
    this.#from = this.#output.length;
  }

  /** Resolves with everything that was printed since the last mark, once `text` is in it. */
  async says(text: string, limitMs = 10_000): Promise<string> {
    const said = until(
      `"${text}" is printed`,
      () => {
        const since = this.#output.slice(this.#from);
        return since.includes(text) && since;
      },
      limitMs,
    );
    return said.catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#output}`);
    });
  }

  /** Process ids of its hosts. */
  hostPids(): number[] {
    return parentsOfProcesses().flatMap(([pid, parent]) => (parent === this.process.pid ? [pid] : []));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const hosts = this.process.exitCode === null ? this.hostPids() : [];
    this.process.kill("SIGKILL");
    await this.process.exited;
    for (const pid of hosts.filter(isRunning)) process.kill(pid, "SIGKILL");
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#output += decoder.decode(chunk, { stream: true });
  }
}

/** Every process of the machine with its parent. Bare Linux machines have no `ps`, others no /proc. */
function parentsOfProcesses(): [number, number][] {
  if (process.platform !== "linux") {
    const { stdout } = Bun.spawnSync(["ps", "-A", "-o", "pid=,ppid="]);
    const rows = stdout.toString().trim().split("\n");
    return rows
      .map((row) => row.trim().split(/\s+/).map(Number))
      .map(([pid = 0, parent = 0]) => [pid, parent]);
  }
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => [Number(pid), Number(/^PPid:\s*(\d+)/m.exec(statusOf(pid))?.[1] ?? 0)]);
}

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return ""; // It has ended meanwhile.
  }
}

export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Resolves once none of these processes is left. */
export async function allGone(pids: readonly number[], limitMs = 10_000): Promise<void> {
  await until(`processes ${pids.join(", ")} are gone`, () => !pids.some(isRunning), limitMs);
}

export async function writeClass({ objects }: DevFolders, file: string, code: string): Promise<void> {
  await writeFile(join(objects, file), code);
}
