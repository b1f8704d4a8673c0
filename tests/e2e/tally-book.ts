/** The classes that count, each in its own way. */
export const tallyClasses = ["tally-state", "tally-keys", "tally-transaction"] as const;

/** `tally-state/c7`: the counters take turns at the classes. */
export function counterName(index: number): string {
  return `${tallyClasses[index % tallyClasses.length]}/c${index}`;
}

/** What an object answers. `value`: what the increment made it, once and for all. */
export interface Told {
  readonly count: number;
  readonly owner: string;
  readonly value?: number;
  readonly isRepeat?: boolean;
}

/** What an object has at the end: the value that each idempotency key made. */
export interface Applied {
  readonly count: number;
  readonly applied: readonly (readonly [key: string, value: number])[];
}

/** What was the case when a request left. */
interface Asked {
  /** No answer to it may be smaller. */
  readonly floor: number;
  readonly key: string | undefined;
  readonly isStoreAway: boolean;
}

interface Counter {
  readonly sent: Set<string>;
  readonly acknowledged: Map<string, number>;
  /** The largest value that anybody was told. */
  floor: number;
  owner: string;
}

interface Outage {
  readonly owner: string;
  readonly atMs: number;
}

/**
 * All that clients have sent and been told, by counter, and what is wrong with it:
 *
 * - a value that was told is never followed by a smaller one, in answers to requests that were sent after it;
 * - an increment is told the same value however often it is repeated, and no two are told the same;
 * - at the end every acknowledged increment is there, once, and nothing that nobody sent.
 */
export class TallyBook {
  readonly violations: string[] = [];
  /** Milliseconds from the kill of a counter's host to the first answer of another life of it. */
  readonly outagesMs: number[] = [];
  operations = 0;
  acknowledged = 0;
  reads = 0;
  retries = 0;
  repeats = 0;
  /** Failed attempts, by their code. */
  readonly failures = new Map<string, number>();
  /** While it is set nothing can become durable, so no increment that is sent may be acknowledged. */
  isStoreAway = false;
  readonly #counters = new Map<string, Counter>();
  readonly #outages = new Map<string, Outage>();

  /** Called before a request leaves. `key`: of an increment. */
  ask(name: string, key: string | undefined): Asked {
    return { floor: this.#counter(name).floor, key, isStoreAway: this.isStoreAway };
  }

  send(name: string, key: string): void {
    this.#counter(name).sent.add(key);
    this.operations += 1;
  }

  fail(code: string): void {
    this.retries += 1;
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }

  hear(name: string, told: Told, { floor, key, isStoreAway }: Asked, nowMs: number): void {
    const counter = this.#counter(name);
    const what = `${name}, told ${JSON.stringify(told)} by ${told.owner}`;
    if (isStoreAway && this.isStoreAway && told.isRepeat === false)
      this.#wrong(`${what}: sent and acknowledged while the database was away`);
    if (told.count < floor) this.#wrong(`${what}: ${floor} was told before it was asked`);
    if (told.count > counter.sent.size) this.#wrong(`${what}: only ${counter.sent.size} were ever sent`);
    if (key === undefined) this.reads += 1;
    else this.#acknowledge(counter, key, told, floor, what);
    counter.floor = Math.max(counter.floor, told.count);
    this.#seeOwner(name, counter, told.owner, nowMs);
  }

  /** Its counters are unavailable from now on. */
  ownerKilled(owner: string, nowMs: number): void {
    for (const [name, counter] of this.#counters)
      if (counter.owner === owner) this.#outages.set(name, { owner, atMs: nowMs });
  }

  /** What the object has when all is over. `when`: for the message. */
  check(name: string, { count, applied }: Applied, when: string): void {
    const { sent, acknowledged } = this.#counter(name);
    const byKey = new Map(applied);
    if (byKey.size !== applied.length) this.#wrong(`${name} ${when}: a key is there twice`);
    if (count !== applied.length)
      this.#wrong(`${name} ${when}: counted ${count}, of ${applied.length} increments`);
    const values = applied.map(([, value]) => value).sort((a, b) => a - b);
    if (values.some((value, index) => value !== index + 1))
      this.#wrong(`${name} ${when}: values are not 1 to ${count}: ${values.join(" ")}`);
    for (const [key, value] of acknowledged) {
      if (byKey.get(key) !== value)
        this.#wrong(`${name} ${when}: ${key} was acknowledged as ${value} and is ${byKey.get(key)}`);
    }
    for (const key of byKey.keys()) if (!sent.has(key)) this.#wrong(`${name} ${when}: nobody sent ${key}`);
  }

  #acknowledge(counter: Counter, key: string, told: Told, floor: number, what: string): void {
    const { value = Number.NaN, count, isRepeat = false } = told;
    this.acknowledged += 1;
    if (isRepeat) this.repeats += 1;
    else if (!(value > floor)) this.#wrong(`${what}: ${floor} was told before ${key} was sent`);
    if (!(value >= 1 && value <= count)) this.#wrong(`${what}: ${key} made ${value} of it`);
    if (counter.acknowledged.has(key)) this.#wrong(`${what}: ${key} was acknowledged already`);
    counter.acknowledged.set(key, value);
  }

  #seeOwner(name: string, counter: Counter, owner: string, nowMs: number): void {
    const outage = this.#outages.get(name);
    if (outage !== undefined && owner !== outage.owner) {
      this.outagesMs.push(nowMs - outage.atMs);
      this.#outages.delete(name);
    }
    counter.owner = owner;
  }

  #wrong(what: string): void {
    this.violations.push(what);
  }

  #counter(name: string): Counter {
    const counter = this.#counters.get(name) ?? {
      sent: new Set(),
      acknowledged: new Map(),
      floor: 0,
      owner: "",
    };
    this.#counters.set(name, counter);
    return counter;
  }
}
