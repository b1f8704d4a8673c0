import type { AnyObjectClass } from "../../infra/object/index.ts";

/** The messages of a class's topics, by name. To become the type of this name that `infra/object` exports. */
export type TopicsOf<_Class extends AnyObjectClass> = Record<string, unknown>;
