import { constants } from "node:os";
import { join } from "node:path";
import { sleep, systemClock } from "../../infra/lib/clock.ts";
import type { Log } from "../../infra/lib/log.ts";
import { outdatedExitCode } from "./exit-codes.ts";
import { jsonLog } from "./log-lines.ts";
import { sessionNotice } from "./session-notice.ts";
import { surviveStrayErrors } from "./stray-errors.ts";

/**
 * `bun run supervised`, and the container's command: a small process that starts a host as its child and outlives it.
 *
 * A host that stops in order hands its session back, and its objects are free at once. One that is killed, runs out of
 * memory or calls `process.exit` cannot: the directory waits for its lease time, because nobody who only hears nothing can
 * tell a dead process from a frozen one, which may wake and answer. Its parent can: the kernel tells it that the process
 * has ended. So the child names each session to it before asking for it, and the parent ends what a dead child left.
 *
 *     child ──(session)──▶ supervisor            child ends ──▶ supervisor ──(end session)──▶ directory
 *
 * Nothing but the end of that very process is a reason, never silence. Where the supervisor cannot do it, because it is
 * killed too or the directory is away, nothing is worse than without it: the session expires by itself.
 *
 * It imports next to nothing, because it shares a small machine with the host: the directory's client only when needed.
 */

/** What asks a process to stop. The child decides what to do about it. */
const passedOn = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
/** Those of a process whose directory is away are asked for one after the other; the older have long expired. */
const sessionsMax = 4;
/** What the child sent before its end is read until its channel closes. A process that inherited it may keep it open. */
const channelLimitMs = 250;
const restartDelayMinMs = 100;
const restartDelayMaxMs = 10_000;
/** The exit code where the child could not be started: a shell's for a command that it does not find. */
const notStarted = 127;
/** Who lived this long did not fail at its start, and is restarted quickly again. */
const steadyAfterMs = 60_000;

interface ChildEnd {
  readonly exitCode: number;
  /** What killed it, if something did. */
  readonly signal: Bun.Subprocess["signalCode"];
  /** That it may have left in the directory. */
  readonly sessions: readonly string[];
}

export class Supervisor {
  readonly #command: readonly string[];
  readonly #restarts: boolean;
  readonly #log: Log;
  readonly #stop = new AbortController();
  #child: Bun.Subprocess | undefined;

  constructor(command: readonly string[], restarts: boolean, log: Log) {
    this.#command = command;
    this.#restarts = restarts;
    this.#log = log;
  }

  /** Resolves with the exit code of the last child; 128 and the signal's number where it was killed. */
  async run(): Promise<number> {
    for (const signal of passedOn) process.on(signal, () => this.#pass(signal));
    for (let failures = 0; ; failures += 1) {
      const startedAtMs = systemClock.monotonicMs();
      const { exitCode, signal, sessions } = await this.#runChild().catch((error: unknown) =>
        this.#notStarted(error),
      );
      this.#log.info("supervisor.child_ended", { exitCode, signal });
      if (sessions.length > 0) await this.#endSessions(sessions);
      if (!this.#restarts || exitCode === outdatedExitCode) return exitCode;
      if (systemClock.monotonicMs() - startedAtMs >= steadyAfterMs) failures = 0;
      await sleep(systemClock, restartDelayMs(failures), this.#stop.signal);
      if (this.#stop.signal.aborted) return exitCode;
    }
  }

  #pass(signal: NodeJS.Signals): void {
    this.#stop.abort();
    this.#child?.kill(signal);
  }

  async #runChild(): Promise<ChildEnd> {
    let sessions: string[] = [];
    const channel = Promise.withResolvers<void>();
    const child = Bun.spawn([...this.#command], {
      stdio: ["inherit", "inherit", "inherit"],
      serialization: "json",
      ipc(message, from) {
        const notice = sessionNotice(message);
        if (notice?.pid !== from.pid) return;
        sessions = notice.ended ? [] : [...sessions, notice.session].slice(-sessionsMax);
      },
      onDisconnect: () => channel.resolve(),
    });
    this.#child = child;
    this.#log.info("supervisor.child_started", { pid: child.pid });
    await child.exited;
    this.#child = undefined;
    await Promise.race([channel.promise, sleep(systemClock, channelLimitMs)]);
    return { exitCode: exitCodeOf(child), signal: child.signalCode, sessions };
  }

  /** There is no such command, or no memory for one more process at the moment. */
  #notStarted(error: unknown): ChildEnd {
    this.#log.error("supervisor.child_not_started", { command: this.#command[0], error });
    return { exitCode: notStarted, signal: null, sessions: [] };
  }

  async #endSessions(sessions: readonly string[]): Promise<void> {
    const startedAtMs = systemClock.monotonicMs();
    const tookMs = () => Math.round(systemClock.monotonicMs() - startedAtMs);
    try {
      const { endOrphaned } = await import("./orphaned-sessions.ts");
      await endOrphaned(sessions, process.env);
      this.#log.info("supervisor.sessions_ended", { sessions, tookMs: tookMs() });
    } catch (error) {
      const advice = "What they held is free when they expire by themselves.";
      this.#log.error("supervisor.sessions_left", { sessions, tookMs: tookMs(), advice, error });
    }
  }
}

/** As a shell has it. */
function exitCodeOf({ exitCode, signalCode }: Bun.Subprocess): number {
  if (exitCode !== null) return exitCode;
  const numbers: Readonly<Record<string, number>> = constants.signals;
  return 128 + (typeof signalCode === "number" ? signalCode : (numbers[signalCode ?? ""] ?? 0));
}

/** How long to wait before the child is started again, after so many short lives in a row. */
export function restartDelayMs(failures: number): number {
  return Math.min(restartDelayMaxMs, restartDelayMinMs * 2 ** failures);
}

if (import.meta.main) {
  const { STATEFUL_HOST_ID, FLY_MACHINE_ID, STATEFUL_REGION, FLY_REGION, STATEFUL_RESTART } = process.env;
  const base = { hostId: STATEFUL_HOST_ID ?? FLY_MACHINE_ID, region: STATEFUL_REGION ?? FLY_REGION };
  const log = jsonLog((line) => process.stdout.write(`${line}\n`), base);
  surviveStrayErrors(log);
  // Another command may be given: how Bun is to run the host, for example.
  const given = process.argv.slice(2);
  const command = given.length > 0 ? given : [process.execPath, join(import.meta.dir, "main.ts")];
  process.exit(await new Supervisor(command, STATEFUL_RESTART === "1", log).run());
}
