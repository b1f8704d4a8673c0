import type { LeaseHint } from "../lease/directory.ts";

/**
 * Who owned what when this edge last heard. Bounded, least recently used first out. Being wrong costs one hop and never
 * an answer (rule L5): the host that is asked says so, and whom it knows.
 */
export class RouteCache {
  readonly #entriesMax: number;
  /** A Map keeps the order of insertion; a hit is inserted anew. */
  readonly #routes = new Map<string, CachedRoute>();

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#routes.size;
  }

  get(key: string): CachedRoute | undefined {
    const route = this.#routes.get(key);
    if (route === undefined) return undefined;
    this.#routes.delete(key);
    this.#routes.set(key, route);
    return route;
  }

  /** Remembers a route unless a later epoch is known already. */
  put(key: string, route: LeaseHint): void {
    const known = this.#routes.get(key);
    if (known !== undefined && known.epoch > route.epoch) return;
    this.#routes.delete(key);
    this.#routes.set(key, { ...route, isDoubtful: false });
    if (this.#routes.size <= this.#entriesMax) return;
    const [oldest] = this.#routes.keys();
    if (oldest !== undefined) this.#routes.delete(oldest);
  }

  /** It may be right all the same: whoever can ask somebody better does, and whoever cannot follows it. */
  doubt(key: string, route: LeaseHint): void {
    const known = this.#routes.get(key);
    if (known?.session === route.session && known.epoch <= route.epoch)
      this.#routes.set(key, { ...known, isDoubtful: true });
  }

  /** Forgets a route that turned out wrong, unless a newer one has taken its place. */
  drop(key: string, wrong: LeaseHint): void {
    const known = this.#routes.get(key);
    if (known?.session === wrong.session && known.epoch <= wrong.epoch) this.#routes.delete(key);
  }
}

export interface CachedRoute extends LeaseHint {
  /** Its host was not reached, or did not know whether it is the owner. */
  readonly isDoubtful: boolean;
}
