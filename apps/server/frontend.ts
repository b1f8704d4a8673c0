import type { Server, ServerWebSocket } from "bun";
import { type AddressLimits, addressFromHeader } from "../../infra/edge/address-limits.ts";
import type { Frontend as DispatcherFrontend } from "../../infra/edge/wanted-upgrade.ts";
import { serveHere } from "../../infra/edge/dispatcher.ts";
import type { ClassRuntime } from "../../infra/host/class-runtime.ts";
import { RoutedEvent } from "../../infra/host/open-event.ts";
import type { DirectRoute } from "../../infra/object/direct-routes.ts";
import type { ClientConnection, EdgeSocket, ServedClient } from "../../infra/edge/edge-socket.ts";
import { ClientPulse } from "../../infra/edge/client-pulse.ts";
import { pathAndQuery } from "../../infra/edge/object-target.ts";
import { RequestTurns } from "../../infra/edge/request-turns.ts";
import { healthPath, systemPrefix } from "../../infra/edge/system-routes.ts";
import type { Clock } from "../../infra/lib/clock.ts";
import { asStatefulError, problem, StatefulError } from "../../infra/lib/errors.ts";
import { type LinkSocket, linkPath } from "../../infra/link/link-pool.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { ClientScript, clientScriptPath } from "./client-script.ts";
import type { ServerConfig } from "./config.ts";
import type { HostParts } from "./host.ts";

type Socket = ServedClient | LinkSocket;
/** What a frontend needs of a server: Bun's, or one on a network that a simulation has made. */
export type SocketServer = Pick<
  Server<Socket>,
  "port" | "pendingRequests" | "reload" | "stop" | "publish" | "upgrade" | "requestIP"
>;
/** As `Bun.serve`. */
export type Serve = (options: Bun.Serve.Options<Socket>) => SocketServer;
type Answer = Response | undefined | Promise<Response | undefined>;
type RouteHandler = (request: Bun.BunRequest) => Response | Promise<Response>;

const plainId = /^[A-Za-z0-9_~-][A-Za-z0-9_~.-]*$/;

/** The largest message a WebSocket may carry at all; each class has a smaller limit of its own. */
const messageBytesMax = 16 * 1024 * 1024;
/** Bun closes a socket without a word at this multiple of the limit; the edge, with one, long before. */
const hardBackpressureFactor = 32;
/** … and never below this: a resume may bring 16 Mi characters of three bytes, and others wait already (`replayWaitingBytesMax`). */
const hardBackpressureBytesMin = 80 * 1024 * 1024;
/** A request on which nothing moves for this long is ended, so that clients which say no more hold no object (seconds). */
const requestIdleTimeoutS = 120;

export interface FrontendSetup {
  readonly config: ServerConfig;
  readonly classes: ReadonlyMap<string, ClassRuntime>;
  /** Undefined until the host runs. */
  readonly parts: () => HostParts | undefined;
  readonly clock: Clock;
  readonly addresses: Pick<AddressLimits, "request" | "requestsUncounted">;
  /** Default: Bun's. */
  readonly serve?: Serve | undefined;
}

/** The port of a host: Bun's server, for clients and for the links of other hosts alike. */
export class Frontend implements DispatcherFrontend {
  readonly #config: ServerConfig;
  readonly #classes: ReadonlyMap<string, ClassRuntime>;
  readonly #parts: () => HostParts | undefined;
  readonly #clock: Clock;
  readonly #turns: RequestTurns;
  readonly #addresses: FrontendSetup["addresses"];
  #pulse: ClientPulse | undefined;
  readonly #clientScript = new ClientScript();
  readonly #serve: Serve;
  #server: SocketServer | undefined;
  /** Once the host goes away: requests taken since. */
  #takenLeaving: number | undefined;

  constructor({ config, classes, parts, clock, addresses, serve = Bun.serve<Socket> }: FrontendSetup) {
    this.#clock = clock;
    this.#serve = serve;
    this.#config = config;
    this.#turns = new RequestTurns(clock);
    this.#classes = classes;
    this.#parts = parts;
    this.#addresses = addresses;
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  /** Throws where the port is taken. Until the host runs, everything is answered with 503. */
  listen(): void {
    this.#server = this.#serve(this.#options());
    this.#pulse = new ClientPulse(this.#clock, this.#config.socketIdleTimeoutMs);
  }

  /** The classes changed: their routes are matched anew. */
  reload(): void {
    this.#server?.reload(this.#options());
  }

  #options(): Bun.Serve.Options<Socket> {
    const { bindAddress, port, backpressureLimitBytes, socketIdleTimeoutMs } = this.#config;
    return {
      hostname: bindAddress,
      port,
      idleTimeout: requestIdleTimeoutS,
      maxRequestBodySize: Number.MAX_SAFE_INTEGER, // Each class has its own limit, checked before its handler runs.
      development: false, // Bun's own error page shows the source of what threw.
      error: (thrown) => problem(asStatefulError(thrown)),
      routes: this.#directRoutes(),
      fetch: (request) => this.#fetch(request),
      websocket: {
        perMessageDeflate: false,
        maxPayloadLength: messageBytesMax,
        backpressureLimit: Math.max(
          backpressureLimitBytes * hardBackpressureFactor,
          hardBackpressureBytesMin,
        ),
        closeOnBackpressureLimit: true,
        // Bun pings before it is over; it counts in steps of four seconds, and to 960 s at most.
        idleTimeout: Math.min(960, Math.ceil(socketIdleTimeoutMs / 1000)),
        sendPings: true,
        open: (ws) => this.#opened(ws),
        message: (ws, message) => {
          if (isLink(ws.data)) return ws.data.message(message); // It has a heartbeat of its own.
          this.#pulse?.heard(ws);
          ws.data.received(message);
        },
        ping: (ws) => this.#pulse?.heard(ws),
        pong: (ws) => this.#pulse?.heard(ws),
        drain: (ws) => drained(ws.data),
        close: (ws, code, reason) => {
          this.#pulse?.closed(ws);
          closed(ws.data, code, reason);
        },
      },
    };
  }

  /** The routes of all classes, for Bun to match. Whatever is not quite usual about a request takes the long way. */
  #directRoutes(): Record<string, Record<string, RouteHandler>> {
    const routes: Record<string, Record<string, RouteHandler>> = {};
    for (const runtime of this.#classes.values()) {
      for (const route of runtime.directRoutes) {
        const handlers = routes[route.path] ?? {};
        handlers[route.method] = (request) => this.#serveDirectly(request, runtime, route);
        routes[route.path] = handlers;
      }
    }
    return routes;
  }

  #serveDirectly(
    request: Bun.BunRequest,
    runtime: ClassRuntime,
    route: DirectRoute,
  ): Response | Promise<Response> {
    const params: Readonly<Record<string, string>> = request.params; // the types know of none, for a path that is not in them
    const { id = "" } = params; // every route of a class begins with /<class>/:id
    // Bun decodes ids in its own way: only those with nothing to decode are looked up here.
    const activation =
      plainId.test(id) && route.parameters.every((name) => isReadAlike(params[name]))
        ? this.#parts()?.table.running(`${runtime.definition.name}/${id}`)
        : undefined;
    if (activation?.runtime !== runtime || this.#isCounting || this.#turns.isLong) {
      // Bun takes undefined for "upgraded" here as well; its types know that of `fetch` only.
      return this.#fetch(request) as Response | Promise<Response>;
    }
    const answer = serveHere(request, new RoutedEvent(activation, request), route.fetch);
    return this.#takenLeaving === undefined ? answer : (this.#lastOf(answer) as typeof answer); // a response stays one
  }

  /** The last answer on its connection. */
  #lastOf(answer: Answer): Answer {
    this.#takenLeaving = (this.#takenLeaving ?? 0) + 1;
    return answer instanceof Promise ? answer.then(closing) : closing(answer);
  }

  /** From here on clients are told to ask elsewhere next time: each connection is closed after its answer. */
  leave(): void {
    this.#takenLeaving ??= 0;
  }

  /** Requests that are open, and those taken since `leave`. */
  get requests(): { readonly open: number; readonly taken: number } {
    return { open: this.#server?.pendingRequests ?? 0, taken: this.#takenLeaving ?? 0 };
  }

  async stop(): Promise<void> {
    this.#pulse?.stop();
    await this.#server?.stop(true);
  }

  publish(name: string, message: SocketData): void {
    // A message is text, or bytes that were copied off a socket or a link: never shared memory.
    this.#server?.publish(name, message as string | Uint8Array<ArrayBuffer>);
  }

  upgrade(request: Request, headers: Headers | undefined, socket: EdgeSocket): boolean {
    return this.#server?.upgrade(request, headers ? { headers, data: socket } : { data: socket }) ?? false;
  }

  clientAddress(request: Request): string {
    const { clientAddressHeader } = this.#config;
    const forwarded = clientAddressHeader === undefined ? null : request.headers.get(clientAddressHeader);
    if (forwarded !== null && forwarded !== "") return addressFromHeader(forwarded);
    return this.#server?.requestIP(request)?.address ?? "";
  }

  #opened(ws: ServerWebSocket<Socket>): void {
    if (isLink(ws.data)) return ws.data.open(ws);
    this.#pulse?.opened(ws);
    // Messages are never shared memory (see publish); that is all in which Bun's socket is the narrower type.
    ws.data.connected(ws as ClientConnection);
  }

  /** Whether so many requests are open that one address might have more than its share of them. */
  get #isCounting(): boolean {
    const open = this.#server?.pendingRequests ?? 0;
    const { requestsUncounted } = this.#addresses;
    return open > requestsUncounted && open - (this.#parts()?.sockets.streamCount ?? 0) > requestsUncounted;
  }

  #fetch(request: Request): Answer {
    const answer = this.#isCounting ? this.#countedAnswer(request) : this.#answer(request);
    return this.#takenLeaving === undefined ? answer : this.#lastOf(answer);
  }

  #answer(request: Request): Answer {
    if (!this.#turns.isLong || isUrgent(request)) return this.#answerNow(request);
    try {
      // Nobody waits any more for what its client has given up.
      const answer = () => (request.signal.aborted ? new Response(null) : this.#answerNow(request));
      return this.#turns.wait().then(answer, (refusal) => problem(asStatefulError(refusal)));
    } catch (thrown) {
      return problem(asStatefulError(thrown));
    }
  }

  #answerNow(request: Request): Answer {
    const parts = this.#parts();
    if (parts === undefined) return problem(starting());
    if (request.url.includes(systemPrefix)) {
      const answer = this.#system(request, parts);
      if (answer !== "not system") return answer;
    }
    return parts.dispatcher.handle(request, this);
  }

  /** A socket's place, which is another, is counted for itself. */
  #countedAnswer(request: Request): Answer {
    let leave: () => void;
    try {
      leave = this.#addresses.request(this.clientAddress(request));
    } catch (thrown) {
      return problem(asStatefulError(thrown));
    }
    const answer = this.#answer(request);
    if (answer instanceof Promise) return answer.finally(leave);
    leave();
    return answer;
  }

  #system(request: Request, parts: HostParts): Response | undefined | Promise<Response> | "not system" {
    try {
      const target = pathAndQuery(request.url);
      if (!target.startsWith(systemPrefix)) return "not system";
      if (target === linkPath) return this.#link(request, parts);
      if (parts.connect.isFor(target)) return this.#connect(request, parts);
      if (target === clientScriptPath) return this.#clientScript.answer(request);
      const routes = parts.admin.isFor(target) ? parts.admin : parts.system;
      return routes.handle(request, target);
    } catch (thrown) {
      return problem(asStatefulError(thrown));
    }
  }

  /** @throws StatefulError where it is refused */
  #connect(request: Request, { connect }: HostParts): Response | undefined {
    const connection = connect.accept(request, this.clientAddress(request));
    if (this.#server?.upgrade(request, { data: connection })) return undefined;
    connection.disconnected(1006, "The upgrade failed.");
    return problem(new StatefulError("upgrade_required", "The connection cannot become a WebSocket."));
  }

  #link(request: Request, { links }: HostParts): Response | undefined {
    // Before anything else is looked at: a stranger learns nothing of links, not even their version.
    if (!request.headers.has("authorization"))
      return problem(new StatefulError("unauthorized", "A link needs the cluster's secret."));
    const accepted = links.pool.accept(request);
    if (accepted instanceof StatefulError) return problem(accepted);
    if (this.#server?.upgrade(request, { data: accepted })) return undefined;
    return problem(new StatefulError("upgrade_required", "Links are WebSockets."));
  }
}

/**
 * Whether a parameter is what any other host would make of it. Bun's router reads the path as it was sent; the URL that goes
 * elsewhere has been normalized (URL standard), in which dots and backslashes lead to other segments, and what is behind a `#` may not count.
 */
function isReadAlike(value: string | undefined): boolean {
  return value !== undefined && value !== "." && value !== ".." && !readInTwoWays.test(value);
}

const readInTwoWays = /[\\#\ufffd]/;

function closing(response: Response | undefined): Response | undefined {
  response?.headers.set("connection", "close");
  return response;
}

function starting(): StatefulError {
  return new StatefulError("session_over", "The host is starting or stopping.", { retryAfterMs: 1000 });
}

function isLink(socket: Socket): socket is LinkSocket {
  return "kind" in socket;
}

function drained(socket: Socket): void {
  if (isLink(socket)) socket.drain();
  else socket.drained();
}

function closed(socket: Socket, code: number, reason: string): void {
  if (isLink(socket)) socket.close(code, reason);
  else socket.disconnected(code, reason);
}

/** Other hosts, and whoever asks whether this one lives: a host that has more requests than it can serve is to be neither alone nor dead. */
function isUrgent({ url }: Request): boolean {
  const target = pathAndQuery(url);
  return target === linkPath || target === healthPath;
}
