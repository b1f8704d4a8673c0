import type { MovePackage } from "./move-package.ts";

/** What objects that do not run here go on from at their next start, beside what they have stored: as long as their leases stay here. */
export class CarriedOver {
  readonly #states = new Map<string, object>();
  readonly #arrived = new Map<string, () => MovePackage>();

  /** The state of an object whose class is reloaded. */
  keepState(key: string, state: object): void {
    this.#states.set(key, state);
  }
  takeState(key: string): object | undefined {
    const state = this.#states.get(key);
    this.#states.delete(key);
    return state;
  }

  /** What came with a move after which the object could not start: made anew for each attempt, until one succeeds. */
  keepArrived(key: string, again: () => MovePackage): void {
    this.#arrived.set(key, again);
  }
  hasArrived(key: string): boolean {
    return this.#arrived.has(key);
  }
  arrived(key: string): MovePackage | undefined {
    return this.#arrived.get(key)?.();
  }
  started(key: string): void {
    this.#arrived.delete(key);
  }
  get arrivedCount(): number {
    return this.#arrived.size;
  }

  /** The lease has gone: the object may have been elsewhere since. */
  drop(key: string): void {
    this.#states.delete(key);
    this.#arrived.delete(key);
  }
  /** So have all. */
  clear(): void {
    this.#states.clear();
    this.#arrived.clear();
  }
}
