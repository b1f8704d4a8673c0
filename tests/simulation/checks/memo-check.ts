import type { World } from "../world/world.ts";

/**
 * Memory that moves is neither lost half-way nor doubled: of one life of an object each count is told to one client at most. Nothing
 * but the loss of its host begins another life.
 */
export class MemoCheck {
  readonly #world: World;
  readonly #told = new Set<string>();
  readonly #lives = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
  }

  counted(key: string, { life, count }: { readonly life: string; readonly count: number }): void {
    const told = `${key} ${life} ${count}`;
    const { settings } = this.#world;
    if (this.#told.has(told) && !settings.beyondBounds)
      this.#world.violation("memory", `${key} counted ${count} twice in one life`);
    this.#told.add(told);
    const before = this.#lives.get(key);
    if (before !== undefined && before !== life && !this.#world.mayLoseMessages && !settings.beyondBounds)
      this.#world.violation(
        "memory",
        `${key} has forgotten what it was, and nothing has happened to its host`,
      );
    this.#lives.set(key, life);
  }
}
