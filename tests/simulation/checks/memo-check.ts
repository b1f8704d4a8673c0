import type { World } from "../world/world.ts";

/**
 * Memory that moves is neither lost half-way nor doubled: of one life of an object each count is told to one client at most. A crash
 * begins another life.
 */
export class MemoCheck {
  readonly #world: World;
  readonly #told = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  counted(key: string, { life, count }: { readonly life: string; readonly count: number }): void {
    const told = `${key} ${life} ${count}`;
    const { settings } = this.#world;
    if (this.#told.has(told) && !settings.beyondBounds)
      this.#world.violation("memory", `${key} counted ${count} twice in one life`);
    this.#told.add(told);
  }
}
