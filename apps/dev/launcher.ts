import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * Who started us, as far as they only wait for us to end: the script runner, and npx with its shell. A signal to one of
 * them is not passed on by all (a shell in between never does), and nothing may be left running when they are gone. The
 * person's own shell is not among them: `bun apps/dev/main.ts &` may outlive it.
 */
export interface Launcher {
  /** True once one of them has ended: the chain from us to the first of them is broken. */
  isGone(): boolean;
}

const ancestorsMax = 8;
const looksEveryMs = 500;

/** Calls `gone` once. The returned function ends the watch. */
export function watchLauncher(launcher: Launcher, gone: () => void): () => void {
  const timer = setInterval(() => {
    if (!launcher.isGone()) return;
    clearInterval(timer);
    gone();
  }, looksEveryMs);
  return () => clearInterval(timer);
}

/** @param isScript whether a script runner started us, which says so in the environment */
export function launcherOf(isScript: boolean): Launcher {
  const chain = isScript ? launchChain() : [];
  return { isGone: () => chain.some(({ pid, parent }) => parentOf(pid) !== parent) };
}

interface Kinship {
  readonly pid: number;
  readonly parent: number;
}

/** From us upwards, to the outermost npm or npx; at least to our parent. */
function launchChain(): Kinship[] {
  const chain: Kinship[] = [];
  let outermost = 1;
  for (let pid = process.pid; chain.length < ancestorsMax; ) {
    const parent = parentOf(pid);
    if (parent === undefined || parent <= 1) break;
    chain.push({ pid, parent });
    if (isPackageRunner(commandOf(parent))) outermost = chain.length;
    pid = parent;
  }
  return chain.slice(0, outermost);
}

/** npm names its process "npm exec …"; before it has, it is "node …/npx …". */
function isPackageRunner(command: string): boolean {
  return /^(?:npm|npx|pnpm|yarn)\b|^\S*node\S*\s+\S*(?:npm|npx|pnpm|yarn)/.test(command);
}

/** Undefined where the process is gone. */
function parentOf(pid: number): number | undefined {
  if (pid === process.pid) return process.ppid;
  // The name of the program stands in parentheses and may contain anything, a closing one too.
  const text = procFile(pid, "stat")?.replace(/^.*\) \S /s, "") ?? ps(pid, "ppid=");
  const parent = Number.parseInt(text, 10);
  return Number.isNaN(parent) ? undefined : parent;
}

function commandOf(pid: number): string {
  return procFile(pid, "cmdline")?.replaceAll("\0", " ") ?? ps(pid, "args=");
}

/** Undefined on systems without such files; empty where the process is gone. */
function procFile(pid: number, name: string): string | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}

function ps(pid: number, column: string): string {
  const { stdout } = spawnSync("ps", ["-o", column, "-p", String(pid)], { encoding: "utf8" });
  return stdout?.trim() ?? "";
}
