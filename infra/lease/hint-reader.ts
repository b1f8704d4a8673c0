import { type Clock, withTimeLimit } from "../lib/clock.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Directory, LeaseHint } from "./directory.ts";

/** Queries in flight. Past this a look-up is a miss: placement asks the primary, which gathers (L6). */
const queriesMax = 32;
/** Objects in one query. */
const queryItemsMax = 1_000;

/**
 * Looks up who probably owns an object (L5). Look-ups of one turn travel in one query. Never rejects: no answer in time is
 * a miss, and a miss goes to placement.
 */
export class HintReader {
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #limitMs: number;
  #gathering: Gathering | undefined;
  #queries = 0;

  constructor(directory: Directory, clock: Clock, limitMs: number) {
    this.#directory = directory;
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  async find(object: ObjectRef): Promise<LeaseHint | undefined> {
    const gathering = this.#gather();
    if (gathering === undefined) return undefined;
    gathering.objects.set(object.key, object);
    return (await gathering.answer).get(object.key);
  }

  #gather(): Gathering | undefined {
    const open = this.#gathering;
    if (open !== undefined && open.objects.size < queryItemsMax) return open;
    if (this.#queries >= queriesMax) return undefined;
    this.#queries += 1;
    const objects = new Map<string, ObjectRef>();
    const gathering: Gathering = { objects, answer: Promise.resolve().then(() => this.#ask(gathering)) };
    this.#gathering = gathering;
    return gathering;
  }

  async #ask(gathering: Gathering): Promise<ReadonlyMap<string, LeaseHint>> {
    if (this.#gathering === gathering) this.#gathering = undefined;
    try {
      const asked = this.#directory.find([...gathering.objects.values()]);
      return await withTimeLimit(this.#clock, this.#limitMs, asked, () => new Error("late"));
    } catch {
      // No answer is a miss.
      return new Map();
    } finally {
      this.#queries -= 1;
    }
  }
}

interface Gathering {
  readonly objects: Map<string, ObjectRef>;
  readonly answer: Promise<ReadonlyMap<string, LeaseHint>>;
}
