import { readdirSync, readFileSync } from "node:fs";

/** Servers share one core, load and database the other: neither can take processor time from what is measured. */
export type Core = "server" | "load";

const allowed = allowedCores();

/** False where processes cannot be pinned, or there is one core only: then ratios still hold, rates do not. */
export const isPinned = Bun.which("taskset") !== null && allowed.length >= 2;

export function pinned(core: Core, command: readonly string[]): string[] {
  if (!isPinned) return [...command];
  return ["taskset", "-c", String(allowed[core === "server" ? 0 : 1]), ...command];
}

/** What Linux counts `/proc/<pid>/stat` in, on every architecture that Bun runs on. */
const ticksPerSecond = 100;

/** Processor time of a process and its children so far; undefined where the system does not tell. */
export function cpuMicrosOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the program, in parentheses, may hold anything; counting begins behind it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [userTicks, systemTicks] = [Number(fields[11]), Number(fields[12])];
    const own = ((userTicks + systemTicks) * 1_000_000) / ticksPerSecond;
    return childrenOf(pid).reduce((sum, child) => sum + (cpuMicrosOf(child) ?? 0), own);
  } catch {
    return undefined; // Not Linux, or the process has ended.
  }
}

function childrenOf(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8"));
  return lists.flatMap((list) => list.split(" ").filter(Boolean).map(Number));
}

/** Cores that this process may use: a container's are not always the first ones. */
function allowedCores(): number[] {
  try {
    const [, list = ""] = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return list.split(",").flatMap((range) => {
      const [first = 0, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  } catch {
    return []; // Not Linux.
  }
}
