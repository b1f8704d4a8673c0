import { StatefulError } from "../lib/errors.ts";

/**
 * The output gate of one activation: whatever leaves it passes here, in one line, and nothing passes before the changes
 * that went before it are in the directory.
 *
 * Why it is needed: a handler that answers "saved" while the write is still under way tells what a crash can take back.
 * Making every write wait would do, and would cost a round trip each. Instead writes return at once, handlers go on, and
 * what they *say* waits: responses and each chunk of a stream, messages, publishes, subscriptions, closes, calls to other
 * objects. Not even a later read tells of a change early, because its answer stands in the same line.
 *
 * What it blocks: an effect waits for every change that precedes it in the activation, whichever event made it. An effect of
 * an activation without open changes passes at once, in the same turn. Where the class stores its state, what an effect may
 * tell includes the state: it is saved first, once for all effects of one turn.
 *
 * What happens on failure: when a write is refused or the activation ends, nothing of the line is ever sent, and whoever
 * waits for an answer gets the cause. When only the session ends, answers are refused (their fate is unknown) and the rest
 * of the line waits: adopted by the next session, which writes the changes again, it goes on without a gap.
 */
export class OutputGate {
  readonly #setup: OutputGateSetup;
  #line: Effect[] = [];
  /** Index in `#line` of the first effect that has not left. */
  #head = 0;
  /** How many of the last effects have no number yet, or stand between such. */
  #unnumbered = 0;
  #bytes = 0;
  #entered = 0;
  #isFlushDue = false;
  #isClosed = false;

  constructor(setup: OutputGateSetup) {
    this.#setup = setup;
  }

  /** Effects that wait. */
  get length(): number {
    return this.#line.length - this.#head;
  }

  /**
   * Runs `effect` when its turn comes, maybe at once. Throws `storage_backlog` where too much waits.
   *
   * @param bytes what it keeps in memory while it waits
   */
  pass(effect: () => void, bytes: number): void {
    if (this.#isClosed) return effect();
    const { changes, savesState } = this.#setup;
    const upTo = savesState ? undefined : this.#upTo(changes.issued);
    if (this.length === 0 && upTo !== undefined && isDurable(changes, upTo)) return effect();
    if (this.length >= outputLimits.effectsMax || this.#bytes + bytes > outputLimits.bytesMax)
      throw backlog();
    // Where the state is saved as well, the turn's other changes of it are saved along.
    this.#enter({ run: effect, bytes, upTo, after: changes.issued });
    if (savesState) this.#flushSoon();
  }

  /**
   * What an answer waits for; undefined where it may leave now. Throws where the state cannot be saved. Rejects with the
   * cause when it must not leave.
   *
   * @param after the last storage call under way that is part of what it answers; 0 where there is none. What others have
   *   asked for and not done yet it cannot tell of.
   */
  answer(after: number): Promise<void> | undefined {
    if (this.#isClosed) return undefined;
    const { changes } = this.#setup;
    if (!changes.inTransaction) this.#saveForAnswer();
    const upTo = this.#upTo(after);
    if (this.length === 0 && upTo !== undefined && isDurable(changes, upTo)) return undefined;
    return new Promise((resolve, refuse) => {
      this.#enter({ run: resolve, refuse, bytes: 0, upTo, after });
      // What stands before it may have waited for its state to be saved, which it now is.
      if (this.#unnumbered > 0) this.#flushSoon();
    });
  }

  /** Something has become durable, or has been applied, or the lease is confirmed again. */
  flush(): void {
    const { changes, mayRelease, failed } = this.#setup;
    if (this.length === 0 || !mayRelease()) return;
    try {
      this.#number();
    } catch (thrown) {
      return failed(thrown);
    }
    for (;;) {
      const next = this.#line[this.#head];
      if (next?.upTo === undefined || !isDurable(changes, next.upTo) || !mayRelease()) return;
      this.#leave(next);
      try {
        next.run();
      } catch (thrown) {
        return failed(thrown);
      }
    }
  }

  /** How many effects have come so far. */
  get entered(): number {
    return this.#entered;
  }

  /** Refuses the answers that wait since before `entered` was that. Their place in the line is empty from then on. */
  expire(entered: number, cause: StatefulError): void {
    const end = this.#line.length - (this.#entered - entered);
    for (let index = this.#head; index < end; index += 1) {
      this.#refuseAt(index, cause);
    }
  }

  /** Refuses the answers that were made while changes were under way which have been undone. */
  refuseUnnumbered(cause: StatefulError): void {
    for (let index = this.#line.length - this.#unnumbered; index < this.#line.length; index += 1) {
      this.#refuseAt(Math.max(index, this.#head), cause);
    }
  }

  /** The session is over: whoever waits for an answer is told; the other effects stay in the line. */
  suspend(cause: StatefulError): void {
    const waiting = this.#takeAll();
    for (const effect of waiting) if (effect.refuse === undefined) this.#enter(effect);
    for (const { refuse } of waiting) refuse?.(cause);
  }

  /** For good. What waits is never sent; what comes later is only told to those who are to hear of the end. */
  close(cause: StatefulError): void {
    this.#isClosed = true;
    for (const { refuse } of this.#takeAll()) refuse?.(cause);
  }

  #refuseAt(index: number, cause: StatefulError): void {
    const effect = this.#line[index];
    if (effect?.refuse === undefined) return;
    this.#line[index] = { ...effect, run: nothing, refuse: undefined, bytes: 0 };
    effect.refuse(cause);
  }

  /** What was said before the answer told of the same state: if that cannot be saved, it must not leave either. */
  #saveForAnswer(): void {
    try {
      this.#setup.save();
    } catch (thrown) {
      if (this.#unnumbered > 0) this.#setup.failed(thrown);
      throw thrown;
    }
  }

  #enter(effect: Effect): void {
    this.#line.push(effect);
    this.#entered += 1;
    this.#bytes += effect.bytes;
    if (effect.upTo === undefined || this.#unnumbered > 0) this.#unnumbered += 1;
  }

  #leave(effect: Effect): void {
    this.#head += 1;
    this.#bytes -= effect.bytes;
    if (this.#head < this.#line.length) {
      if (this.#head < compactAfter) return;
      this.#line = this.#line.slice(this.#head);
    } else {
      this.#line = [];
    }
    this.#head = 0;
  }

  #takeAll(): readonly Effect[] {
    const waiting = this.#line.slice(this.#head);
    this.#line = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#unnumbered = 0;
    return waiting;
  }

  /** Number of the last change that precedes an effect made now; undefined while that cannot be told. */
  #upTo(after: number): number | undefined {
    const { changes } = this.#setup;
    return after <= changes.appliedUpTo && !changes.inTransaction ? changes.changedUpTo : undefined;
  }

  /** Numbers the effects whose storage calls are done by now, once the state has been looked at. */
  #number(): void {
    const { changes, save } = this.#setup;
    const start = this.#line.length - this.#unnumbered;
    const first = this.#unnumbered > 0 ? this.#line[start] : undefined;
    if (first === undefined || first.after > changes.appliedUpTo) return;
    if (changes.inTransaction) return;
    save();
    const { appliedUpTo, changedUpTo } = changes;
    for (let index = start; index < this.#line.length; index += 1) {
      const effect = this.#line[index];
      if (effect === undefined || effect.after > appliedUpTo) return;
      effect.upTo ??= changedUpTo;
      this.#unnumbered -= 1;
    }
  }

  /** Once for all effects of this turn. */
  #flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    queueMicrotask(() => {
      this.#isFlushDue = false;
      this.flush();
    });
  }
}

/** Effects that have left are dropped from memory this many at a time. */
const compactAfter = 1_024;

export const outputLimits = { effectsMax: 50_000, bytesMax: 16 * 1024 * 1024 } as const;

export interface OutputGateSetup {
  readonly changes: ChangeCount;
  /** Whether `save` may add a change: then an effect is told apart from the state only when that has been looked at. */
  readonly savesState: boolean;
  /** Adds what has changed of the state to the changes. Throws where it cannot be stored. */
  save(): void;
  /** Whether the lease is valid (L3). */
  mayRelease(): boolean;
  /** The state could not be saved and effects that tell of it wait already, or one of them could not be sent. */
  failed(thrown: unknown): void;
}

/** Changes of an activation, counted. */
export interface ChangeCount {
  readonly changedUpTo: number;
  readonly durableUpTo: number;
  /**
   * Storage calls that write, numbered: how many were made, and up to which all are done and counted. A transaction is one,
   * a put that waits for a read is another.
   */
  readonly issued: number;
  readonly appliedUpTo: number;
  /** The state may be half changed, and undone again. */
  readonly inTransaction: boolean;
}

interface Effect {
  readonly run: () => void;
  readonly refuse?: ((cause: StatefulError) => void) | undefined;
  readonly bytes: number;
  upTo: number | undefined;
  /** The last storage call that was made before it. */
  readonly after: number;
}

function isDurable(changes: ChangeCount, upTo: number): boolean {
  return upTo <= changes.durableUpTo;
}

function nothing(): void {
  // Whoever waited for this has been told that its fate is not known.
}

function backlog(): StatefulError {
  return new StatefulError("storage_backlog", "Too many effects of this object wait for its writes.", {
    retryAfterMs: 1000,
  });
}
