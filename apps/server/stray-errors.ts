import type { Log } from "../../infra/lib/log.ts";

/**
 * An error that nobody waits for, as a promise that an author's handler started and forgot, says nothing about the other
 * objects of the host. It is logged and the host goes on: ending the process would end them all, with their memory.
 */
export function surviveStrayErrors(log: Log): void {
  process.on("uncaughtException", (error) => log.error("error.uncaught", { error }));
  process.on("unhandledRejection", (error) => log.error("error.unhandled", { error }));
}
