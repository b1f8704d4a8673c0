import { readFileSync } from "node:fs";
import { totalmem } from "node:os";

/** A file's text; undefined where there is none, or none that may be read. */
export type ReadText = (path: string) => string | undefined;

/**
 * Bytes that this process may use: what its container is allowed, where that is less than the machine has. Inside a container
 * the machine's memory is shown all the same, and who goes by it is killed for using what it was told was there.
 */
export function machineMemoryBytes(read: ReadText = readText, machineBytes: number = totalmem()): number {
  return Math.min(machineBytes, ...controlGroupLimits(read));
}

/**
 * The limits of this process's control groups (cgroups(7)), of its own and of those around it: each holds. Inside most
 * containers the own one is shown as the root, so that is looked at too.
 */
function controlGroupLimits(read: ReadText): number[] {
  const files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers = "", path = ""] = /^\d+:([^:]*):(\/.+)$/.exec(line) ?? [];
    for (const group of groupsAround(path)) {
      if (controllers === "") files.push(`/sys/fs/cgroup${group}/memory.max`);
      if (controllers.split(",").includes("memory"))
        files.push(`/sys/fs/cgroup/memory${group}/memory.limit_in_bytes`);
    }
  }
  // "max", and in version 1 a number beyond all memory, mean that there is none.
  return files.map((file) => Number(read(file)?.trim() || "max")).filter((bytes) => bytes > 0);
}

/** `/a/b`, `/a`. */
function groupsAround(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "" && name !== "..");
  return names.map((_, index) => `/${names.slice(0, index + 1).join("/")}`);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // Not every system has control groups, or shows them.
  }
}
