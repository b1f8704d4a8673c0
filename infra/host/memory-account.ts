import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { sizeOf, valueNodesMax } from "./value-size.ts";

/**
 * What one activation holds of its host's memory, as far as that can be told. A JavaScript heap is one for all objects and does
 * not say who keeps what alive, so this is a sum of what can be counted, and of what the class itself declares:
 *
 * - `state` is estimated (`value-size.ts`): between half and twice the figure.
 * - The cached storage and what waits to be written are counted, as they grow and shrink.
 * - Of sockets and topics, what waits for slow readers is counted, and each socket's own objects by a flat rate.
 * - `memoryHint` is what the class says of anything else: closures, handles of `onStart`, native memory, fields of its module.
 *
 * Not in here: the code of the class, its resources, which all its objects share, and what handlers that run at the moment
 * keep in their variables. The sum over a host is therefore less than its resident memory, never the same.
 */
export interface ActivationMemory {
  readonly stateBytes: number;
  readonly storageBytes: number;
  readonly socketBytes: number;
  readonly topicBytes: number;
  readonly pendingBytes: number;
  readonly hintBytes: number;
  readonly totalBytes: number;
}

/** What an activation tells of itself. The figures are there already; the state and the hint are looked into here. */
export interface HeldMemory {
  readonly ref: ObjectRef;
  readonly state: object;
  readonly memoryHint: ((state: object) => number) | undefined;
  readonly storageBytes: number;
  readonly socketBytes: number;
  readonly topicBytes: number;
  readonly pendingBytes: number;
}

/** A socket with its handles and subscriptions at its owner, beside what waits to be sent on it. */
const socketOverheadBytes = 1024;

/** Of an activation's sockets, for `HeldMemory`. */
export function socketBytesOf(sockets: Iterable<{ readonly carrier: { bufferedBytes(): number } }>): number {
  let bytes = 0;
  for (const { carrier } of sockets) bytes += socketOverheadBytes + Math.max(0, carrier.bufferedBytes());
  return bytes;
}

/** Draws up accounts when somebody asks for one. Nothing of it is on the way of an event. */
export class MemoryAccounts {
  readonly #log: Log;
  /** What failed before: each is logged once, not every few seconds. A class that is reloaded in dev has a new hint. */
  readonly #brokenHints = new WeakSet<(state: object) => number>();
  readonly #unreadableClasses = new Set<string>();
  #nodes = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Values that were looked at so far: whoever draws up many accounts at once limits itself by this. */
  get nodesWalked(): number {
    return this.#nodes;
  }

  /** @param nodesMax how many values of the state are looked at before the rest is extrapolated */
  of(held: HeldMemory, nodesMax: number = valueNodesMax): ActivationMemory {
    const { storageBytes, socketBytes, topicBytes, pendingBytes } = held;
    const stateBytes = this.#stateBytes(held, nodesMax);
    const hintBytes = this.#hintBytes(held);
    const totalBytes = stateBytes + storageBytes + socketBytes + topicBytes + pendingBytes + hintBytes;
    return { stateBytes, storageBytes, socketBytes, topicBytes, pendingBytes, hintBytes, totalBytes };
  }

  /** What an author's getter throws must not stop whoever looks after the host's memory. */
  #stateBytes({ ref, state }: HeldMemory, nodesMax: number): number {
    try {
      const { bytes, nodes } = sizeOf(state, nodesMax);
      this.#nodes += nodes;
      return bytes;
    } catch (error) {
      this.#nodes += nodesMax;
      if (!this.#unreadableClasses.has(ref.className))
        this.#log.warn("memory.state_unreadable", { object: ref.key, error });
      this.#unreadableClasses.add(ref.className);
      return 0;
    }
  }

  #hintBytes({ ref, state, memoryHint }: HeldMemory): number {
    if (memoryHint === undefined) return 0;
    try {
      // An author's code: what the type says is checked here.
      const bytes: unknown = memoryHint(state);
      if (typeof bytes === "number" && bytes >= 0 && bytes < Number.POSITIVE_INFINITY) return bytes;
      if (bytes instanceof Promise) bytes.catch(() => undefined); // It is no hint, whatever comes of it.
      this.#hintFailed(
        memoryHint,
        ref,
        new TypeError(`It returned ${String(bytes)}; it must be a number of bytes.`),
      );
    } catch (error) {
      this.#hintFailed(memoryHint, ref, error);
    }
    return 0;
  }

  #hintFailed(memoryHint: (state: object) => number, ref: ObjectRef, error: unknown): void {
    if (this.#brokenHints.has(memoryHint)) return;
    this.#brokenHints.add(memoryHint);
    this.#log.error("memory.hint_failed", { object: ref.key, error });
  }
}
