import { StatefulError } from "../lib/errors.ts";
import { lineLengthMax } from "./storage-limits.ts";

/**
 * The order of one object's storage calls, and the storage half of its input gate.
 *
 * Why it is needed: eight requests each `await storage.get("n")` and then put n + 1. Were they let loose, all eight would
 * read the same number. Locks are what one reaches for; here the order of events is enough. While a read is open, no other
 * event enters the object (the input gate is locked) and no call of another event comes to its turn; and the read counts
 * as open until what awaited it has run, so that the put which follows is in place before anybody else looks.
 *
 * Who calls whom apart: each event has a token of its own, and the calls of the one that reads go ahead of those that wait.
 * Where handles do not say, as those of a socket, which its messages share, the event is the one that runs (`runAsEvent`). A
 * caller without any is a stranger to itself: its calls run one after the other. Reads that wait have their data fetched meanwhile, so that only their turns are queued.
 *
 * What it does not do: an event that awaits anything else than storage lets others in. That is what transactions are for:
 * one holds the line from its first call to its end.
 *
 * On failure (`close`): whoever waits is told the cause, and so is everyone who comes later.
 */
export class StorageLine {
  readonly #setup: StorageLineSetup;
  readonly #waiting: WaitingCall[] = [];
  #owner: object | undefined;
  #isTransaction = false;
  #openReads = 0;
  #isTurnDue = false;
  #issued = 0;
  /** The calls that may still write, by number, in their order, with whose they are. */
  readonly #open = new Map<number, object | undefined>();
  #closed: StatefulError | undefined;

  constructor(setup: StorageLineSetup) {
    this.#setup = setup;
  }

  /** Calls that write are numbered. The last number that was given. */
  get issued(): number {
    return this.#issued;
  }
  /** All calls up to this number have done what they do. */
  get appliedUpTo(): number {
    const [first] = this.#open.keys();
    return first === undefined ? this.#issued : first - 1;
  }

  /** The last of the calls under way that are the caller's, or may be; 0 where there is none. */
  lastOpenOf(caller: object | undefined): number {
    let last = 0;
    for (const [number, whose] of this.#open) {
      if (caller === undefined || whose === undefined || whose === caller) last = number;
    }
    return last;
  }

  /** It holds the line until what awaits it has run. */
  read<T>(caller: object | undefined, run: () => T | Promise<T>): Promise<T> {
    const token = caller ?? {};
    return this.#inTurn(token, () => this.#hold(token, run, false));
  }

  /** A read that goes on to write. */
  update<T>(caller: object | undefined, run: () => T | Promise<T>): Promise<T> {
    return this.#numbered(caller, () => this.read(caller, run));
  }

  /** Holds the line for the length of `run`, under a token of its own. */
  transaction<T>(caller: object | undefined, token: object, run: () => T | Promise<T>): Promise<T> {
    return this.#numbered(caller, () => this.#inTurn(token, () => this.#hold(token, run, true)));
  }

  /** A write: applied at once where nobody else reads. */
  write<T>(caller: object | undefined, apply: () => T): Promise<T> {
    if (this.#mayStart(caller)) return settledBy(apply);
    return this.#numbered(caller, () => this.#inTurn(caller, () => settledBy(apply)));
  }

  close(cause: StatefulError): void {
    this.#closed ??= cause;
    for (const { refuse } of this.#waiting.splice(0)) refuse(cause);
  }

  #mayStart(caller: object | undefined): boolean {
    if (this.#closed !== undefined) return false;
    return this.#owner === undefined ? this.#waiting.length === 0 : this.#owner === caller;
  }

  #inTurn<T>(caller: object | undefined, start: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#mayStart(caller)) return start();
    if (this.#waiting.length >= lineLengthMax) return Promise.reject(lineFull());
    return new Promise((resolve, refuse) => {
      this.#waiting.push({ start: () => void start().then(resolve, refuse), refuse });
    });
  }

  #hold<T>(token: object, run: () => T | Promise<T>, isTransaction: boolean): Promise<T> {
    if (this.#owner === undefined) {
      this.#setup.gate.lock(isTransaction);
      this.#isTransaction = isTransaction;
    }
    this.#owner = token;
    this.#openReads += 1;
    return settledBy(run).finally(() => {
      this.#openReads -= 1;
      this.#releaseNextTurn();
    });
  }

  /** Whatever awaited the read runs before the next turn. If it reads on, it keeps the line. */
  #releaseNextTurn(): void {
    if (this.#isTurnDue || this.#openReads > 0) return;
    this.#isTurnDue = true;
    this.#setup.nextTurn(() => {
      this.#isTurnDue = false;
      if (this.#openReads === 0) this.#release();
    });
  }

  #release(): void {
    const wasTransaction = this.#isTransaction;
    this.#owner = undefined;
    while (this.#owner === undefined) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      next.start();
    }
    // Whoever reads next has found the gate locked, or has locked it again.
    this.#setup.gate.unlock(wasTransaction);
    this.#setup.idle();
  }

  #numbered<T>(caller: object | undefined, start: () => Promise<T>): Promise<T> {
    this.#issued += 1;
    const number = this.#issued;
    this.#open.set(number, caller);
    return start().finally(() => {
      this.#open.delete(number);
      this.#setup.applied();
    });
  }
}

export interface StorageLineSetup {
  /** The input gate's storage lock. Locks are counted: each is undone by one `unlock`. */
  readonly gate: StorageGate;
  nextTurn(callback: () => void): void;
  /** `appliedUpTo` may have risen. */
  applied(): void;
  /** A read's turn is over. */
  idle(): void;
}

export interface StorageGate {
  lock(isTransaction: boolean): void;
  unlock(isTransaction: boolean): void;
}

interface WaitingCall {
  readonly start: () => void;
  readonly refuse: (cause: StatefulError) => void;
}

/** What a function returns or throws, as a promise of it. */
function settledBy<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return Promise.resolve(run());
  } catch (thrown) {
    return Promise.reject(thrown);
  }
}

function lineFull(): StatefulError {
  return new StatefulError("storage_backlog", `${lineLengthMax} storage calls of this object wait already.`);
}
