import type { Treaty } from "@elysiajs/eden";
import { Elysia } from "elysia";
import { objectAdapter } from "./adapter.ts";
import type { ObjectHandles, ResourceFactories, Topics } from "./context.ts";
import type { ObjectEvent } from "./event.ts";
import { eventOfContext, type HttpContext } from "./http-context.ts";
import { type ClassDefinition, defineClass, type ObjectOptions, type UndeclaredTopics } from "./options.ts";
import type { Origins } from "./origins.ts";
import { noteErrorHooks } from "./socket-route.ts";
import { addTopicRoutes } from "./topic-routes.ts";
import type { MessageOf, SentMessageOf } from "./topic-schema.ts";
import { upgradeServer } from "./upgrade-server.ts";

/**
 * A class of objects: a real Elysia instance with the prefix `/<name>/:id`, whose handlers find the object's own handles
 * in their context. Everything of Elysia's works on it unchanged: schemas, hooks, plugins, `.ws()`, Eden's types.
 */
export type ObjectClass<
  Name extends string,
  State extends object,
  Resources extends ResourceFactories,
  Schemas = UndeclaredTopics,
> = Elysia<
  `/${Name}/:id`,
  { decorator: HandlesOf<State, Resources, Schemas>; store: None; derive: None; resolve: None }
>;

/** An alias instead of the interface: Elysia asks for an index signature, which only an alias has by itself. */
type HandlesOf<State extends object, Resources extends ResourceFactories, Schemas> = {
  [Handle in keyof ObjectHandles<State, Resources>]: Handle extends "topics"
    ? Topics<
        { [Name in keyof Schemas]: MessageOf<Schemas[Name]> },
        { [Name in keyof Schemas]: SentMessageOf<Schemas[Name]> }
      >
    : ObjectHandles<State, Resources>[Handle];
} & {
  /**
   * True where the upgrade of a socket that is open already runs again, because its object has slept, moved or been lost
   * meanwhile. `open` does not run again. What was checked once and cannot be again is to be skipped then.
   */
  reattached: boolean;
};
type None = Record<never, never>;

// biome-ignore-start lint/suspicious/noExplicitAny: Elysia's parameters are invariant; `any` is how it spells "any instance".
/** Any class, with whatever routes were added to it. */
export type AnyObjectClass = Elysia<any, any, any, any, any, any, any>;
// biome-ignore-end lint/suspicious/noExplicitAny: see above

/** Eden's client for one object of a class: the routes below `/<name>/:id`. */
export type ObjectClient<Class extends AnyObjectClass> =
  Treaty.Create<Class> extends infer Tree
    ? {
        [Name in keyof Tree]: Tree[Name] extends (params: { id: string }) => infer Client ? Client : never;
      }[keyof Tree]
    : never;

/**
 * What subscribers of a class hear, by topic: `{ chat: { from: string; text: string } }`. `unknown` for a declared topic
 * without a schema; a class that declares no topics has `Record<string, unknown>`.
 */
export type TopicsOf<Class extends AnyObjectClass> = Class["decorator"] extends {
  // biome-ignore lint/suspicious/noExplicitAny: whatever may be published, what is heard is asked for.
  readonly topics: Topics<any, infer Sent>;
}
  ? Sent
  : never;

const definitionOfClass: unique symbol = Symbol.for("stateful-objects.class") as never; // shared by copies of the package

/**
 * Makes a class. Export it as the default of a file in `objects/`:
 *
 * ```ts
 * export default object("counter", { state: () => ({ count: 0 }) })
 *   .get("/", ({ state }) => state)
 *   .post("/increment", ({ state }) => ({ count: ++state.count }));
 * ```
 *
 * @param name `[a-z][a-z0-9-]{0,62}`; the first segment of every URL of its objects.
 * @throws StatefulError `bad_request` naming the option that is wrong.
 */
export function object<
  const Name extends string,
  State extends object = Record<never, never>,
  Resources extends ResourceFactories = Record<never, never>,
  Schemas = UndeclaredTopics,
>(
  name: Name,
  options: ObjectOptions<State, Resources, Schemas> = {},
): ObjectClass<Name, State, Resources, Schemas> {
  const definition = defineClass(name, options);
  const app = new Elysia({ prefix: `/${name}/:id`, adapter: objectAdapter });
  app.server = upgradeServer as never; // what a plugin sees of Bun's server here
  if (definition.concurrency === "serial") app.onBeforeHandle(enterInputGate);
  Object.defineProperty(app, definitionOfClass, { value: definition });
  // The handles come from the adapter's context at run time, where Elysia's types cannot see them.
  return app as unknown as ObjectClass<Name, State, Resources, Schemas>;
}

/** The first hook after parsing and validation: what the author's `resolve`, `beforeHandle` and handlers do is inside. */
async function enterInputGate(context: object): Promise<void> {
  const event = (context as HttpContext)[eventOfContext]; // every context of a class is made by its adapter
  await event.object.enter(event);
}

/** What `object()` was called with; undefined for anything that it did not make. */
export function classDefinition(value: unknown): ClassDefinition | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as { [definitionOfClass]?: ClassDefinition })[definitionOfClass]; // any object may be asked for a symbol
}

const compiled = new WeakSet<AnyObjectClass>();

/**
 * The class's compiled `fetch`. Asked for when a host has loaded the class: routes of ours come last, so that every hook
 * of the author's stands before them, and once, however many hosts of one process run the class.
 */
export function compileClass(objectClass: AnyObjectClass, definition: ClassDefinition): CompiledFetch {
  if (!compiled.has(objectClass)) {
    compiled.add(objectClass);
    addTopicRoutes(objectClass, definition);
    noteErrorHooks(objectClass);
    objectClass.compile();
  }
  // The adapter's parameters are "r,e"; Elysia types `fetch` for one.
  const fetch = objectClass.fetch as unknown as CompiledFetch;
  return definition.origins === undefined ? fetch : behindOrigins(fetch, definition.origins);
}

/** Before any hook. A socket that is open already has been let in: its hooks alone run again. */
function behindOrigins(fetch: CompiledFetch, origins: Origins): CompiledFetch {
  return (request, event) => {
    if (event.upgrade !== undefined && !event.upgrade.reattached) origins.check(request);
    return fetch(request, event);
  };
}

export type CompiledFetch = (request: Request, event: ObjectEvent) => Response | Promise<Response>;
