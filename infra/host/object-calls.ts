import { treaty } from "@elysiajs/eden";
import { objectRef } from "../lib/object-ref.ts";
import type { Objects } from "../object/context.ts";
import { internalOrigin } from "../object/event.ts";
import { classDefinition } from "../object/object.ts";
import type { Turns } from "./turns.ts";

/** Sends a request to an object, wherever it lives, on behalf of the callers in `chain`. */
export type CallObject = (request: Request, chain: readonly string[]) => Promise<Response>;

/**
 * The `objects` handle of an activation, for calls that carry this chain of callers. A call is an effect like any other:
 * `released` says what it waits for, and throws or rejects where the lease is over (L3).
 */
export type CallsFrom = (chain: readonly string[], released: () => Promise<void> | undefined) => Objects;

/** Eden's client over our own way to the owner. @param turns for the calls of all objects of the host (H11) */
export function objectCalls(call: CallObject, turns: Pick<Turns, "take">): CallsFrom {
  return (chain, released) => {
    const fetcher = async (input: RequestInfo | URL, init?: RequestInit) => {
      await turns.take(1);
      await released();
      return call(new Request(input, init), chain);
    };
    return ((objectClass: unknown, id: string) => {
      const definition = classDefinition(objectClass);
      if (definition === undefined)
        throw new TypeError("objects(…) takes a class made by object(), and an id.");
      const { className, key } = objectRef(definition.name, id);
      // `fetch` has a `preconnect` in Bun's types that Eden never calls.
      const client = treaty(internalOrigin, { fetcher: fetcher as typeof fetch, keepDomain: true });
      // The tree behind /<class>/<id>: Eden puts the parameter into the path as it stands, so it goes in encoded.
      const tree = client as unknown as Record<string, (params: { id: string }) => unknown>;
      return tree[className]?.({ id: key.slice(className.length + 1) });
    }) as Objects; // generic over the class, which is only known to the types
  };
}
