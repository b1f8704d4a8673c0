import { afterAll } from "bun:test";
import { Worker } from "node:worker_threads";
import type { ToWorker } from "../../infra/lease/worker-connection.ts";
import { systemClock, withTimeLimit } from "../../infra/lib/clock.ts";

/** Threads of tests in which a disk or a primary never answers may stay longer. */
const limitMs = 10_000;

/** Threads of the database that were asked to close and have not ended: whoever closes one waits for it for half a second at most. */
const closing = new Set<Worker>();
const postMessage = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (this: Worker, message: ToWorker, ...more) {
  if ("close" in message) {
    closing.add(this);
    this.once("exit", () => closing.delete(this));
  }
  postMessage.call(this, message, ...more);
};

// Bun ends the threads that a file has left, and aborts as a whole where one of them is inside the native libSQL module.
afterAll(async () => {
  const ended = Array.from(closing, (worker) => new Promise((resolve) => worker.once("exit", resolve)));
  const late = () => new Error(`A thread of the database has not ended within ${limitMs / 1000} s.`);
  await withTimeLimit(systemClock, limitMs, Promise.all(ended), late).catch((error: Error) =>
    console.warn(error.message),
  );
});
