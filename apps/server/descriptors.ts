import { readFileSync } from "node:fs";

/** What a host has open beside its clients: its files, links, the directory, and requests. */
export const descriptorsKept = 1000;

/**
 * How many files and connections this process may have open; infinite where the system does not tell. Past it no client gets in, and
 * nothing in a process can refuse them in words: the kernel holds connections that nobody takes.
 */
export function descriptorsMax(limits: string = readLimits()): number {
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}

/** What to do where clients' connections may run into that; undefined where they are refused before, by `socketsMax`. */
export function descriptorsAdvice(socketsMax: number, descriptors = descriptorsMax()): string | undefined {
  const wanted = socketsMax + descriptorsKept;
  if (descriptors >= wanted) return undefined;
  return `This process may open ${descriptors} files and connections. Allow it ${wanted} (ulimit -n), or set STATEFUL_SOCKETS_MAX to ${Math.max(1, descriptors - descriptorsKept)}.`;
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return ""; // Not every system shows them.
  }
}
