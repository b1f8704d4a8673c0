import type { HostHandle, ResourceFactories } from "../object/context.ts";
import { type DirectRoute, directRoutes } from "../object/direct-routes.ts";
import { type AnyObjectClass, type CompiledFetch, classDefinition, compileClass } from "../object/object.ts";
import type { ClassDefinition } from "../object/options.ts";
import type { ResourcePool } from "./resource-pool.ts";

/** A class as a host runs it: compiled, with its resources. Replaced as a whole when its file changes in dev. */
export interface ClassRuntime {
  readonly definition: ClassDefinition;
  readonly fetch: CompiledFetch;
  readonly directRoutes: readonly DirectRoute[];
  readonly host: HostHandle<ResourceFactories>;
}

export interface HostIdentity {
  readonly hostId: string;
  readonly region: string;
}

/** Compiles a class. Throws where the value is not a class. */
export function classRuntime(
  objectClass: AnyObjectClass,
  self: HostIdentity,
  resources: ResourcePool,
): ClassRuntime {
  const definition = classDefinition(objectClass);
  if (definition === undefined) throw new TypeError("Not a class: make it with object(name, options).");
  return {
    definition,
    fetch: compileClass(objectClass, definition),
    directRoutes: directRoutes(objectClass),
    host: { id: self.hostId, region: self.region, resources: resources.view(definition.resources) },
  };
}
