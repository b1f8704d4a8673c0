import { type AnyElysia, getSchemaValidator, ValidationError } from "elysia";
import { StatefulError } from "../lib/errors.ts";
import { eventOfContext, type HttpContext } from "./http-context.ts";
import { ObjectSocket, type RawSocket, type ResponseCheck } from "./object-socket.ts";
import { responseHeaders } from "./response-headers.ts";
import { parseSocketText, type SocketData } from "./socket-message.ts";

/**
 * `.ws()` of a class. Elysia lets an adapter say what that means; ours registers the upgrade as a route, so that all the
 * author's hooks run for it, once, and a 401 is a 401. The route then fills the event's upgrade slot with a *behaviour*
 * made once per route, and the machinery drives that with the socket's messages.
 */
export interface SocketBehaviour {
  open(socket: RawSocket): void | Promise<void>;
  message(socket: RawSocket, data: SocketData): void | Promise<void>;
  drain(socket: RawSocket): void | Promise<void>;
  close(socket: RawSocket, code: number, reason: string): void | Promise<void>;
}

/** The options of `.ws()` that act after the upgrade. Handler types are Elysia's; here they only meet `ObjectSocket`. */
export interface SocketRouteOptions {
  readonly open?: (socket: ObjectSocket) => unknown;
  readonly message?: (socket: ObjectSocket, message: unknown) => unknown;
  readonly drain?: (socket: ObjectSocket) => unknown;
  readonly close?: (socket: ObjectSocket, code: number, reason: string) => unknown;
  readonly parse?: MessageParser | MessageParser[];
  readonly body?: unknown;
  readonly response?: unknown;
  readonly upgrade?: Record<string, unknown> | ((context: HttpContext) => unknown);
  readonly error?: ErrorHook | ErrorHook[];
  readonly [hook: string]: unknown;
}

type MessageParser = (socket: ObjectSocket, message: unknown) => unknown;
type ErrorHook = (context: object) => unknown;
type Validator = ReturnType<typeof getSchemaValidator>;

export function socketRoute(app: AnyElysia, path: string, options: SocketRouteOptions): void {
  const { open, message, drain, close, parse, body, response, upgrade, ...hooks } = options;
  let behaviour: SocketBehaviour | undefined;
  const handler = async (context: HttpContext) => {
    const slot = context[eventOfContext].upgrade;
    if (slot?.kind !== "websocket")
      throw new StatefulError("upgrade_required", `${context.path} speaks WebSocket only.`);
    await applyUpgradeOption(upgrade, context);
    // Made at the first upgrade: models and error hooks registered after this route are known by then.
    behaviour ??= new AuthorBehaviour(app, options, errorHooks.get(handler) ?? []);
    slot.accepted = { headers: responseHeaders(context), behaviour, data: context };
    return new Response(null); // Discarded: the edge answers the upgrade.
  };
  // `route` is typed for handlers of Elysia's own context; HttpContext is that context at run time.
  app.route("WS", path, handler as never, hooks as never);
}

/** By the handler of a route: the error hooks that stand around it, the route's own included. */
const errorHooks = new WeakMap<object, readonly ErrorHook[]>();

/** Reads them off a finished class. Only there are the hooks of all groups and plugins merged, as for an HTTP route. */
export function noteErrorHooks(objectClass: AnyElysia): void {
  for (const { method, handler, hooks } of objectClass.router.history) {
    if (method !== "WS" || typeof handler !== "function") continue;
    const { error = [] } = hooks as { error?: { fn: ErrorHook }[] }; // merged hooks are containers, whatever their types say
    errorHooks.set(
      handler,
      error.map(({ fn }) => fn),
    );
  }
}

async function applyUpgradeOption(
  upgrade: SocketRouteOptions["upgrade"],
  context: HttpContext,
): Promise<void> {
  if (typeof upgrade === "function") await upgrade(context);
  else if (upgrade !== undefined) Object.assign(context.set.headers, upgrade);
}

/** One route's handlers, with their schemas compiled once. */
class AuthorBehaviour implements SocketBehaviour {
  readonly #options: SocketRouteOptions;
  readonly #parsers: readonly MessageParser[];
  readonly #errorHooks: readonly ErrorHook[];
  readonly #input: Validator | undefined;
  readonly #textOnly: boolean;
  readonly #check: ResponseCheck | undefined;

  constructor(app: AnyElysia, options: SocketRouteOptions, inheritedHooks: readonly ErrorHook[]) {
    this.#options = options;
    this.#parsers = [options.parse ?? []].flat();
    this.#input = compileSchema(app, options.body);
    this.#textOnly = isTextSchema(this.#input?.schema);
    const output = compileSchema(app, options.response);
    this.#check = output && ((value) => validationMessage(output, value));
    // The route's own come first, as Elysia has it for sockets.
    this.#errorHooks = [...new Set([...[options.error ?? []].flat(), ...inheritedHooks])];
  }

  open(raw: RawSocket) {
    const { open } = this.#options;
    if (open) return this.#run(raw, undefined, (socket) => open(socket));
  }

  message(raw: RawSocket, data: SocketData) {
    const { message } = this.#options;
    if (!message) return;
    const parsed = typeof data === "string" && !this.#textOnly ? parseSocketText(data) : data;
    if (this.#parsers.length > 0) return this.#parseAndDeliver(raw, parsed, message);
    return this.#deliver(raw, parsed, message);
  }

  drain(raw: RawSocket) {
    const { drain } = this.#options;
    if (drain) return this.#run(raw, undefined, (socket) => drain(socket));
  }

  close(raw: RawSocket, code: number, reason: string) {
    const { close } = this.#options;
    if (close) return this.#run(raw, undefined, (socket) => close(socket, code, reason));
  }

  async #parseAndDeliver(
    raw: RawSocket,
    message: unknown,
    handler: NonNullable<SocketRouteOptions["message"]>,
  ) {
    const socket = new ObjectSocket(raw, this.#check, message);
    for (const parser of this.#parsers) {
      const parsed = await parser(socket, message);
      if (parsed !== undefined) return this.#deliver(raw, parsed, handler);
    }
    return this.#deliver(raw, message, handler);
  }

  #deliver(raw: RawSocket, message: unknown, handler: NonNullable<SocketRouteOptions["message"]>) {
    const wrong = this.#input && validationError(this.#input, message);
    if (wrong === undefined) return this.#run(raw, message, (socket) => handler(socket, message));
    if (this.#errorHooks.length === 0) return void raw.sendText(wrong.message);
    return this.#refuse(raw, wrong);
  }

  /** A message that does not match is the client's mistake: the socket stays open and is told what is wrong. */
  async #refuse(raw: RawSocket, wrong: ValidationError): Promise<void> {
    const isAnswered = await this.#answerError(new ObjectSocket(raw, this.#check), wrong);
    if (!isAnswered) raw.sendText(wrong.message);
  }

  /** Synchronous for a synchronous handler: the usual message costs no promise. */
  #run(raw: RawSocket, body: unknown, handler: (socket: ObjectSocket) => unknown): void | Promise<void> {
    const socket = new ObjectSocket(raw, this.#check, body);
    let result: unknown;
    try {
      result = handler(socket);
      if (result === undefined) return;
      if (!isThenable(result) && !isIterator(result)) {
        socket.send(result);
        return;
      }
    } catch (thrown) {
      return this.#handleError(socket, thrown);
    }
    return this.#settle(socket, result);
  }

  async #settle(socket: ObjectSocket, result: unknown): Promise<void> {
    try {
      const value = await result;
      if (isIterator(value)) await sendEach(socket, value);
      else sendDefined(socket, value);
    } catch (thrown) {
      await this.#handleError(socket, thrown);
    }
  }

  /** What none of the author's error hooks answers goes to the machinery. */
  async #handleError(socket: ObjectSocket, thrown: unknown): Promise<void> {
    if (!(await this.#answerError(socket, thrown))) throw thrown;
  }

  /** The author's error hooks, in their order, until one answers. */
  async #answerError(socket: ObjectSocket, thrown: unknown): Promise<boolean> {
    const context = Object.assign(Object.create(socket.data), { error: thrown, code: errorCode(thrown) });
    for (const hook of this.#errorHooks) {
      const answer = await hook(context);
      if (answer === undefined) continue;
      socket.send(answer);
      return true;
    }
    return false;
  }
}

/** What `onError` calls `code`. */
function errorCode(thrown: unknown): unknown {
  return thrown instanceof Error && "code" in thrown ? thrown.code : "UNKNOWN";
}

/** Leaving the loop also ends the generator: nobody is there to be sent to. */
async function sendEach(
  socket: ObjectSocket,
  items: AsyncIterable<unknown> | Iterable<unknown>,
): Promise<void> {
  for await (const item of items) {
    if (socket.readyState > 1) return;
    sendDefined(socket, item);
  }
}

function sendDefined(socket: ObjectSocket, value: unknown): void {
  if (value !== undefined) socket.send(value);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function isIterator(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  return typeof value === "object" && value !== null && "next" in value && typeof value.next === "function";
}

function compileSchema(app: AnyElysia, schema: unknown): Validator | undefined {
  if (schema === undefined) return undefined;
  // Models given by name live in the instance; these two fields are private in Elysia's types only.
  const { definitions } = app as unknown as { definitions: { typebox: never; type: never } };
  // An author's schema has been checked by Elysia's types; here any will do.
  return getSchemaValidator(schema as never, { modules: definitions.typebox, models: definitions.type });
}

function isTextSchema(schema: unknown): boolean {
  return typeof schema === "object" && schema !== null && "type" in schema && schema.type === "string";
}

function validationError(validator: Validator, value: unknown): ValidationError | undefined {
  return validator?.Check(value) === false ? new ValidationError("message", validator, value) : undefined;
}

function validationMessage(validator: Validator, value: unknown): string | undefined {
  return validationError(validator, value)?.message;
}
