import { type AnyElysia, ElysiaCustomStatusResponse } from "elysia";
import type { ElysiaAdapter } from "elysia/adapter";
import { WebStandardAdapter } from "elysia/adapter/web-standard";
import { StatefulError } from "../lib/errors.ts";
import { failureResponse } from "./failure.ts";
import { eventOfContext, HttpContext } from "./http-context.ts";
import { type SocketRouteOptions, socketRoute } from "./socket-route.ts";
import { jsonFirst, noteStreams } from "./streamed-response.ts";

export { isStreamed } from "./streamed-response.ts";

/**
 * How a class's Elysia instance is fed. Elysia compiles a handler from its adapter's pieces of code; this adapter is
 * Elysia's web-standard one with four pieces replaced:
 *
 * - the compiled `fetch` takes a second argument, the event, and the context is made from it (`HttpContext`): path and
 *   query come from the dispatcher, never again from the URL that a client wrote;
 * - what no route matches and what no hook of the author's handled becomes a problem document (`failure.ts`);
 * - `.ws()` makes a socket of ours (`socket-route.ts`);
 * - responses that may still be open when they are returned are remembered as streams (`streamed-response.ts`).
 */
const base = WebStandardAdapter.handler;

function createContext(app: AnyElysia): string {
  const decorators = Object.keys(app.decorator).map(
    (key) => `c[${JSON.stringify(key)}]=decorator[${JSON.stringify(key)}]\n`,
  );
  const { setHeaders } = app as unknown as { setHeaders?: object }; // private in Elysia's types; its own adapters read it
  const headers =
    setHeaders && Object.keys(setHeaders).length > 0 ? "Object.assign(c.set.headers,app.setHeaders)\n" : "";
  return `if(e===undefined)throw notHosted()
const p=e.path,c=new HttpContext(r,e,store,redirect,status)
${headers}${decorators.join("")}`;
}

function notHosted(): StatefulError {
  return new StatefulError(
    "internal",
    "An object class answers requests through a host. In a test, start one with `startHost` from stateful-objects/server.",
  );
}

/** What is wrong with a path that no route matches: nothing is there, or only a socket. */
function unmatched(
  router: { find(method: string, path: string): unknown },
  path: string,
  notFound: Error,
): Error {
  const isSocket = router.find("WS", path) !== null;
  return isSocket
    ? new StatefulError("upgrade_required", `${path.slice(0, 200)} speaks WebSocket only.`)
    : notFound;
}

function isAnswer(thrown: unknown): boolean {
  return thrown instanceof Response || thrown instanceof ElysiaCustomStatusResponse;
}

/** An optional body may be absent, but not broken: Elysia would take one that is not JSON for none. */
async function optionalJson(request: Request): Promise<unknown> {
  const text = await request.text();
  return text === "" ? undefined : JSON.parse(text);
}

/**
 * The input gate, where it may have been shut while a body was read. Everything that comes without a body has passed it
 * before its handler was called; this is the only wait of ours between there and the author's code.
 */
function isGateShut(context: HttpContext): boolean {
  return context[eventOfContext].object.isGateShut;
}

function waitAtGate(context: HttpContext): Promise<void> {
  const event = context[eventOfContext];
  return event.object.waitAtGate(event);
}

const thenThroughGate = "if(isGateShut(c))await waitAtGate(c)\n";
const parsers = WebStandardAdapter.composeHandler.parser;

export const objectAdapter: ElysiaAdapter = {
  ...WebStandardAdapter,
  name: "stateful-objects",
  handler: {
    ...base,
    mapResponse: noteStreams(base.mapResponse),
    mapEarlyResponse: noteStreams(base.mapEarlyResponse),
    mapCompactResponse: noteStreams(jsonFirst(base.mapCompactResponse)),
  },
  composeGeneralHandler: {
    ...WebStandardAdapter.composeGeneralHandler,
    parameters: "r,e",
    inject: { HttpContext, notHosted, unmatched },
    createContext,
    error404: (_hasRequestHook, _hasErrorHook, afterResponse = "") => ({
      declare: "",
      code: `if(route===null){${afterResponse}
return app.handleError(c,unmatched(router,p,notFound),false,r)}`,
    }),
  },
  composeHandler: {
    ...WebStandardAdapter.composeHandler,
    inject: { optionalJson, isGateShut, waitAtGate },
    parser: {
      json: (isOptional) =>
        `c.body=await ${isOptional ? "optionalJson(c.request)" : "c.request.json()"}\n${thenThroughGate}`,
      text: (isOptional) => `${parsers.text(isOptional)}\n${thenThroughGate}`,
      urlencoded: (isOptional) => `${parsers.urlencoded(isOptional)}\n${thenThroughGate}`,
      arrayBuffer: (isOptional) => `${parsers.arrayBuffer(isOptional)}\n${thenThroughGate}`,
      formData: (isOptional) => `${parsers.formData(isOptional)}\n${thenThroughGate}`,
    },
  },
  composeError: {
    ...WebStandardAdapter.composeError,
    inject: { failureResponse, isAnswer },
    // JavaScript throws anything; Elysia would answer with it. What is an answer stays one: `throw status(418)`.
    // What a hook throws after the handler counts for more than the answer that the handler had made.
    declare: `if(!(error instanceof Error)&&!isAnswer(error))return failureResponse(context,error)
if(error instanceof Error&&typeof error.toResponse!=="function")context.response=undefined
`,
    validationError: "return failureResponse(context,error)",
    unknownError: "return failureResponse(context,error)",
  },
  // Handlers are typed for ElysiaWS by Elysia, whose surface ObjectSocket has.
  ws: (app, path, options) => socketRoute(app, path, options as unknown as SocketRouteOptions),
};
