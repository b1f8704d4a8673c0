import type { Place } from "../world/connection.ts";
import type { World } from "../world/world.ts";

/** How long a client waits for an answer before it takes the outcome for unknown. */
const patienceMs = 9_000;

/** Asks hosts, and is told once what came of each: an answer, or nothing within its patience. */
export class Asker {
  readonly #world: World;
  readonly #place: Place;
  #open = 0;

  constructor({ world, place }: { readonly world: World; readonly place: Place }) {
    this.#world = world;
    this.#place = place;
  }

  /** Whether it waits for nothing. */
  get isIdle(): boolean {
    return this.#open === 0;
  }

  /** @param told the status, 0 where there was none, and the answer's JSON */
  ask(host: string, request: Request, told: (status: number, answer: unknown) => void): void {
    const world = this.#world;
    let isOver = false;
    this.#open += 1;
    const once = (status: number, answer: unknown) => {
      if (isOver) return;
      isOver = true;
      this.#open -= 1;
      cancel();
      told(status, answer);
    };
    const cancel = world.scheduler.after(patienceMs, this.#place.process, () => once(0, undefined));
    world.connect(this.#place, host, request, {
      opened: (end) => end.close(1002, ""),
      answered: (status, body) => once(status, parsed(body)),
      failed: () => once(0, undefined),
    });
  }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined; // what is no JSON is no answer of ours
  }
}
