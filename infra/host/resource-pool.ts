import type { ResourceFactories, ResourcesOf } from "../object/context.ts";

type Factory = () => unknown;

/**
 * Resources are made once per host, at first use, and shared by every object of every class that names the same factory:
 * many objects, one connection pool.
 */
export class ResourcePool {
  readonly #made = new Map<Factory, unknown>();

  /** The resources of one class. A factory that throws or rejects is asked again at the next use. */
  view<Factories extends ResourceFactories>(factories: Factories): ResourcesOf<Factories> {
    const view = {};
    for (const [name, factory] of Object.entries(factories)) {
      Object.defineProperty(view, name, { enumerable: true, get: () => this.#get(factory) });
    }
    return view as ResourcesOf<Factories>; // one getter per factory, made in the loop above
  }

  /** Closes whatever can be closed, by the names that the common database clients use. */
  async close(): Promise<void> {
    const made = [...this.#made.values()];
    this.#made.clear();
    await Promise.allSettled(made.map(async (resource) => closeResource(await resource)));
  }

  #get(factory: Factory): unknown {
    if (this.#made.has(factory)) return this.#made.get(factory);
    const made = factory();
    this.#made.set(factory, made);
    if (made instanceof Promise) made.catch(() => this.#forget(factory, made));
    return made;
  }

  #forget(factory: Factory, failed: unknown): void {
    if (this.#made.get(factory) === failed) this.#made.delete(factory);
  }
}

async function closeResource(resource: unknown): Promise<void> {
  if ((typeof resource !== "object" && typeof resource !== "function") || resource === null) return;
  const closable = resource as { [verb: string | symbol]: unknown }; // looked at by name only
  for (const verb of [Symbol.asyncDispose, Symbol.dispose, "close", "end"]) {
    const close = closable[verb];
    if (typeof close === "function") return close.call(resource);
  }
}
