import { redirect, status } from "elysia";
import type { ObjectEvent } from "./event.ts";
import { HttpContext } from "./http-context.ts";
import type { AnyObjectClass, CompiledFetch } from "./object.ts";

/**
 * Routes that a server with a router of its own (Bun's `routes`) may send straight to their compiled handler.
 *
 * Elysia does the same with its own server, and that is most of what makes it fast: the path is matched once, natively,
 * and the URL never becomes a string. The long way, `compileClass`, remains for all other requests and answers the same;
 * so a route is left out wherever the two could ever differ.
 */
export interface DirectRoute {
  readonly method: string;
  /** With parameters, `/counter/:id/increment`. */
  readonly path: string;
  /** Names of its parameters but the id. */
  readonly parameters: readonly string[];
  readonly fetch: CompiledFetch;
}

/** What these routes need of Elysia's instance; all of it is private in its types. */
interface Internals {
  readonly router: { readonly history: readonly InternalRoute[] };
  readonly event: { readonly request?: readonly unknown[]; readonly trace?: readonly unknown[] };
  readonly extender: { readonly higherOrderFunctions: readonly unknown[] };
  readonly decorator: Record<string, unknown>;
  readonly setHeaders?: Record<string, unknown>;
  readonly store: unknown;
}

interface InternalRoute {
  readonly method: string;
  readonly path: string;
  readonly handler: unknown;
  readonly compile?: () => CompiledHandler;
}

type CompiledHandler = (context: HttpContext) => Response | Promise<Response>;

const methods = new Set(["GET", "POST", "PUT", "PATCH", "DELETE"]);

/** @param app a class that has been compiled */
export function directRoutes(app: AnyObjectClass): readonly DirectRoute[] {
  const internals = app as unknown as Internals; // private in Elysia's types
  const { router, event, extender } = internals;
  // These run around the router itself, which a direct route goes past.
  const wraps =
    (event.request?.length ?? 0) + (event.trace?.length ?? 0) + extender.higherOrderFunctions.length;
  if (wraps > 0) return [];
  const { history } = router;
  return history
    .filter((route) => isDirect(route, history))
    .map((route) => ({
      method: route.method,
      path: trimmed(route.path),
      parameters: parametersOf(route.path).slice(1),
      fetch: directFetch(route, internals),
    }));
}

function isDirect(route: InternalRoute, all: readonly InternalRoute[]): boolean {
  if (typeof route.handler !== "function" || route.compile === undefined || !methods.has(route.method))
    return false;
  if (/[*?]/.test(route.path)) return false;
  return all.every((other) => other === route || !isInTheWay(other, route));
}

/** Another route that the same request might be for: a socket's (a GET with an upgrade), any method's, or a twin. */
function isInTheWay(other: InternalRoute, route: InternalRoute): boolean {
  if (other.method === "ALL" || (other.method === "WS" && route.method === "GET")) {
    return overlaps(other.path, route.path);
  }
  // Two names for one shape, or the same route twice: which of them wins is the router's secret.
  return (
    shape(other.path) === shape(route.path) && (other.path !== route.path || other.method === route.method)
  );
}

function overlaps(a: string, b: string): boolean {
  if (/[*?]/.test(a)) return true;
  const left = trimmed(a).split("/");
  const right = trimmed(b).split("/");
  return (
    left.length === right.length &&
    left.every((part, n) => part === right[n] || isParameter(part) || isParameter(right[n]))
  );
}

function shape(path: string): string {
  return trimmed(path)
    .split("/")
    .map((part) => (isParameter(part) ? ":" : part))
    .join("/");
}

function isParameter(part: string | undefined): boolean {
  return part?.startsWith(":") ?? false;
}

function parametersOf(path: string): string[] {
  return path.split("/").flatMap((part) => (isParameter(part) ? part.slice(1) : []));
}

function trimmed(path: string): string {
  return path.endsWith("/") ? path.slice(0, -1) : path;
}

function directFetch(route: InternalRoute, { decorator, setHeaders, store }: Internals): CompiledFetch {
  const decorators = Object.entries(decorator);
  const headers = Object.entries(setHeaders ?? {});
  let handler: CompiledHandler | undefined;
  return (request: Request, event: ObjectEvent) => {
    const context = new HttpContext(request, event, store, redirect, status);
    context.params = event.params;
    for (const [name, value] of headers) context.set.headers[name] = value;
    for (const [name, value] of decorators) (context as unknown as Record<string, unknown>)[name] = value; // as Elysia does
    handler ??= route.compile?.();
    if (handler === undefined) throw new TypeError(`The route ${route.path} has no handler.`);
    return handler(context);
  };
}
