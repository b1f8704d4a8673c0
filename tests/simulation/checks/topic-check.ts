import type { World } from "../world/world.ts";

interface Place {
  readonly history: string;
  readonly place: number;
}

/** Objects whose histories end with their host. */
const inMemory = "board/";

/**
 * What one listener may hear of a topic with a history (T4 to T6): every message once, in order, whatever happens to hosts, links and
 * itself; and at every place what everybody else hears there. Where the history was in the memory of a host that is lost, it is told
 * so, before it hears anything more.
 */
export class TopicCheck {
  readonly #world: World;
  /** What was said at each place, by whoever heard it first. */
  readonly #said = new Map<string, string>();
  heard = 0;

  constructor(world: World) {
    this.#world = world;
  }

  listener(name: string, key: string): ListenerCheck {
    return new ListenerCheck(name, key, {
      wrong: (what) => this.#wrong(what),
      heard: (position, op) => this.#heard(`${key} ${position}`, op),
      mayLose: () => key.startsWith(inMemory) && this.#world.mayLoseMessages,
    });
  }

  #heard(place: string, op: string): void {
    this.heard += 1;
    const before = this.#said.get(place);
    if (before !== undefined && before !== op)
      this.#wrong(`${place} is ${before} to one and ${op} to another`);
    this.#said.set(place, op);
  }

  #wrong(what: string): void {
    if (!this.#world.settings.beyondBounds) this.#world.violation("topics", what);
  }
}

interface ListenerEvents {
  wrong(what: string): void;
  heard(position: string, op: string): void;
  /** Whether what it has not heard may be gone by now. */
  mayLose(): boolean;
}

export class ListenerCheck {
  readonly #name: string;
  readonly #told: ListenerEvents;
  #at: Place | undefined;
  /** What it has heard, in its order. */
  readonly ops: string[] = [];

  constructor(name: string, key: string, told: ListenerEvents) {
    this.#name = `${name} of ${key}`;
    this.#told = told;
  }

  /** The last position, to go on from. */
  get since(): string {
    return this.#at === undefined ? "oldest" : `${this.#at.history}.${this.#at.place}`;
  }

  subscribed(position: string | undefined, recovered: boolean | undefined): void {
    if (position === undefined) return this.#told.wrong(`${this.#name} was not told where it stands`);
    if (recovered === false && !this.#told.mayLose())
      this.#told.wrong(`${this.#name} was told at ${position} that what came after ${this.since} is lost`);
    const before = this.#at;
    const now = placeOf(position);
    if (
      before !== undefined &&
      recovered === true &&
      (now.history !== before.history || now.place !== before.place)
    )
      this.#told.wrong(`${this.#name} stands at ${this.since} and was told ${position}`);
    this.#at = now;
  }

  message(position: string | undefined, op: string): void {
    if (position === undefined) return this.#told.wrong(`${this.#name} heard ${op} at no place`);
    const now = placeOf(position);
    const before = this.#at;
    if (before === undefined)
      this.#told.wrong(`${this.#name} heard ${op} before it was told where it stands`);
    else if (now.history !== before.history || now.place !== before.place + 1)
      this.#told.wrong(`${this.#name} heard ${position} after ${this.since}`);
    this.#at = now;
    if (this.ops.includes(op)) this.#told.wrong(`${this.#name} heard ${op} twice`);
    this.ops.push(op);
    this.#told.heard(position, op);
  }
}

function placeOf(position: string): Place {
  const dot = position.lastIndexOf(".");
  return { history: position.slice(0, dot), place: Number(position.slice(dot + 1)) };
}
