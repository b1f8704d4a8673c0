import type { AnyObjectClass, TopicsOf as TopicsOfClass } from "../../infra/object/index.ts";

/** The messages that subscribers of a class's topics hear, by name. Any text, and anything, for a class that is not known. */
export type TopicsOf<Class extends AnyObjectClass> = unknown extends Class["decorator"]
  ? Record<string, unknown>
  : TopicsOfClass<Class>;
