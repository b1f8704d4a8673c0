import { afterAll } from "bun:test";
import { systemClock, withTimeLimit } from "../../infra/lib/clock.ts";
import { closingThreadsEnded } from "../../infra/lease/worker-connection.ts";

/** Threads of tests in which a disk or a primary never answers may stay longer. */
const limitMs = 10_000;

// Bun ends the threads that a file has left, and aborts as a whole where one of them is inside the native libSQL module.
afterAll(async () => {
  const late = () => new Error(`A thread of the database has not ended within ${limitMs / 1000} s.`);
  await withTimeLimit(systemClock, limitMs, closingThreadsEnded(), late).catch((error: Error) =>
    console.warn(error.message),
  );
});
