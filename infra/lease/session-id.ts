import { nanoid } from "nanoid";

/**
 * A session id is `<process>.<n>`: which host process it belongs to, and which of its sessions it is. The process part is
 * made anew at every start, so a restarted host never looks like the one before it, while a host that only lost its
 * session and opened the next is still recognised as the same process: its links, and the sockets on them, live on.
 */
const separator = ".";

/** Made once per process. */
export function newProcessId(): string {
  return nanoid();
}

export function sessionId(processId: string, count: number): string {
  return `${processId}${separator}${count}`;
}

/** The process that a session belongs to. */
export function processOfSession(session: string): string {
  const end = session.lastIndexOf(separator);
  return end === -1 ? session : session.slice(0, end);
}
