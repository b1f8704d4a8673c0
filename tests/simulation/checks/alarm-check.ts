import type { World } from "../world/world.ts";

/** By how much one may be early: a host asks the directory for its time now and then, and counts on by its own clock, 2 % off at most. */
const earlyMaxMs = 250;

/**
 * Alarms (A1, A2, A5): each that somebody was told of rings, whatever happens to hosts and leases, and none before its time. It may ring
 * more than once; what its handler stores goes with its removal, and is there once. What was refused never rings.
 */
export class AlarmCheck {
  readonly #world: World;
  /** By object and name: when it is due, by the directory's clock, as its handler was told. */
  readonly #dueAtMs = new Map<string, number>();
  readonly #acknowledged = new Set<string>();
  readonly #refused = new Set<string>();
  readonly #rung = new Set<string>();
  readonly #stored = new Map<string, Readonly<Record<string, number>>>();
  /** Handlers of alarms that began. */
  rings = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Alarms that somebody was told of. */
  get told(): number {
    return this.#acknowledged.size;
  }

  /** In a handler. Each name is asked for once; should it be set twice, the earlier counts. */
  handlerSets(key: string, name: string, dueAtMs: number): void {
    const place = `${key} ${name}`;
    if (!this.#dueAtMs.has(place)) this.#dueAtMs.set(place, dueAtMs);
  }

  acknowledged(key: string, name: string): void {
    this.#acknowledged.add(`${key} ${name}`);
  }
  refused(key: string, name: string): void {
    this.#refused.add(`${key} ${name}`);
  }

  /** A handler of an alarm begins. */
  rang(key: string, name: string): void {
    this.rings += 1;
    this.#rung.add(`${key} ${name}`);
    const { primary, settings } = this.#world;
    const dueAtMs = this.#dueAtMs.get(`${key} ${name}`);
    if (dueAtMs === undefined) return this.#wrong(`${name} of ${key} rings, and nobody has set it`);
    // Once somebody has set its clock the directory's time is another, which catches up with it.
    if (settings.beyondBounds || primary.timesSet > 0) return;
    const earlyMs = dueAtMs - primary.clockMs();
    if (earlyMs > earlyMaxMs)
      this.#wrong(`${name} of ${key} rings ${Math.round(earlyMs)} ms before its time`);
  }

  /** What an object says that its alarms have stored. */
  stored(key: string, rung: Readonly<Record<string, number>>): void {
    this.#stored.set(key, rung);
  }

  /** Whether a handler has begun of each that must ring: for that nobody has to ask the object for anything. */
  get haveAllRung(): boolean {
    return this.#acknowledged.isSubsetOf(this.#rung);
  }

  /** Whether all that must ring has rung to its end, as an object says. */
  isWhole(key: string): boolean {
    return this.#missing(key).length === 0 && this.#stored.has(key);
  }

  /** Nobody has asked the objects for anything, for longer than it may take. */
  judgeUnasked(): void {
    for (const place of this.#acknowledged.difference(this.#rung))
      this.#wrong(`${place}, acknowledged, has not rung by itself`);
  }

  /** In the end. */
  judge(key: string): void {
    for (const name of this.#missing(key)) this.#wrong(`${name} of ${key}, acknowledged, has not rung`);
    for (const [name, count] of Object.entries(this.#stored.get(key) ?? {})) {
      if (count > 1) this.#wrong(`${name} of ${key} has stored what it does ${count} times`);
      if (this.#refused.has(`${key} ${name}`)) this.#wrong(`${name} of ${key}, refused, has rung`);
    }
  }

  #missing(key: string): string[] {
    const rung = this.#stored.get(key) ?? {};
    const own = [...this.#acknowledged].filter((each) => each.startsWith(`${key} `));
    return own.map((each) => each.slice(key.length + 1)).filter((name) => rung[name] === undefined);
  }

  #wrong(what: string): void {
    this.#world.violation("alarms", what);
  }
}
