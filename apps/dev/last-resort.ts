import { workerData } from "node:worker_threads";

/**
 * A thread of each host process, for the one case in which the process cannot end itself: a handler that never gives the
 * event loop back, while whoever started the process is gone. Nothing may be left running, so it is killed from here.
 */
const looksEveryMs = 1_000;
/** An orderly stop takes less. */
const patienceMs = 8_000;

/** Given by the process that made this thread. */
const parentPid: unknown = workerData;

const timer = setInterval(() => {
  if (process.ppid === parentPid) return;
  clearInterval(timer);
  setTimeout(() => process.kill(process.pid, "SIGKILL"), patienceMs);
}, looksEveryMs);
