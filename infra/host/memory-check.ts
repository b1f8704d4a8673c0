import { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { ActivationMemory, HeldMemory, MemoryAccounts } from "./memory-account.ts";

/** An activation, as far as its limit of memory is concerned. */
export interface LimitedActivation {
  readonly ref: ObjectRef;
  readonly isLive: boolean;
  /** The class's; Infinity where it has none. */
  readonly memoryBytesMax: number;
  heldMemory(): HeldMemory;
}

export interface MemoryCheckSetup<Checked extends LimitedActivation> {
  readonly accounts: MemoryAccounts;
  readonly log: Log;
  readonly activations: () => Iterable<Checked>;
  /** Ends it at once: callers and sockets get the cause, what is stored is kept. */
  readonly stop: (activation: Checked, cause: StatefulError) => void;
}

export const memoryCheckLimits = {
  /** How often each activation of a class with a limit is looked at, where there is time for all of them. */
  intervalMs: 3000,
  /** Values of states that one look walks, some 2 ms on one core. What is left over comes with the next look. */
  nodesPerLook: 20_000,
  /** Activations that one look passes over; most are of classes without a limit. */
  activationsPerLook: 20_000,
} as const;

/**
 * Holds activations to their class's `memoryBytesMax`. It goes round: each look takes up where the last one ended, so that a
 * host with many objects spends a little on it every second, and never much at once.
 *
 * Between two looks an object may grow past its limit, and past the host's memory if it is quick: this bounds what piles up,
 * not what one handler allocates in one go.
 */
export class MemoryCheck<Checked extends LimitedActivation> {
  readonly #setup: MemoryCheckSetup<Checked>;
  #round: Iterator<Checked> | undefined;
  #nextRoundAtMs = Number.NEGATIVE_INFINITY;

  constructor(setup: MemoryCheckSetup<Checked>) {
    this.#setup = setup;
  }

  /** To be called every second or so. */
  look(nowMs: number): void {
    if (this.#round === undefined) {
      if (nowMs < this.#nextRoundAtMs) return;
      this.#nextRoundAtMs = nowMs + memoryCheckLimits.intervalMs;
      this.#round = this.#setup.activations()[Symbol.iterator]();
    }
    const { accounts } = this.#setup;
    const nodesBefore = accounts.nodesWalked;
    for (let passed = 0; passed < memoryCheckLimits.activationsPerLook; passed += 1) {
      const next = this.#round.next();
      if (next.done === true) {
        this.#round = undefined;
        return;
      }
      this.#check(next.value);
      if (accounts.nodesWalked - nodesBefore >= memoryCheckLimits.nodesPerLook) return;
    }
  }

  #check(activation: Checked): void {
    const { memoryBytesMax, ref } = activation;
    if (memoryBytesMax === Number.POSITIVE_INFINITY || !activation.isLive) return;
    const { accounts, log, stop } = this.#setup;
    const memory = accounts.of(activation.heldMemory());
    if (memory.totalBytes <= memoryBytesMax) return;
    log.error("object.memory_limit", { object: ref.key, memoryBytesMax, ...memory });
    stop(activation, overMemory(ref, memory, memoryBytesMax));
  }
}

function overMemory(ref: ObjectRef, memory: ActivationMemory, memoryBytesMax: number): StatefulError {
  const [largest] = [...parts(memory)].sort(([, one], [, other]) => other - one);
  const most = largest ? `, most of it ${largest[0]} (${mebibytes(largest[1])} MiB)` : "";
  const message =
    `${ref.key} was stopped: it holds ${mebibytes(memory.totalBytes)} MiB of memory${most}, and class "${ref.className}" ` +
    `allows ${mebibytes(memoryBytesMax)} MiB (limits.memoryBytesMax). What it had stored is kept. ` +
    "Keep what grows in storage, split it over several objects, or raise the limit.";
  const details = { memoryBytes: memory.totalBytes, memoryBytesMax };
  return new StatefulError("memory_limit", message, { details });
}

function parts(memory: ActivationMemory): readonly (readonly [string, number])[] {
  return [
    ["state", memory.stateBytes],
    ["cached storage", memory.storageBytes],
    ["what waits to be written", memory.pendingBytes],
    ["sockets", memory.socketBytes],
    ["topics", memory.topicBytes],
    ["what its memoryHint declares", memory.hintBytes],
  ];
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(bytes < 10 * 1024 * 1024 ? 2 : 0);
}
