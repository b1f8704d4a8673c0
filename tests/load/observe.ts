/**
 * Loaded into a host before its own code. What a process has resident says little of what it holds: garbage waits until it is
 * collected. On SIGUSR2 the host collects it, and says in its log what is left.
 */
import { heapStats } from "bun:jsc";

process.on("SIGUSR2", () => {
  Bun.gc(true);
  process.stdout.write(
    `${JSON.stringify({ event: "load.collected", level: "info", heapBytes: heapStats().heapSize })}\n`,
  );
});
