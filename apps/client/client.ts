import type { AnyObjectClass, ObjectClient } from "../../infra/object/index.ts";
import { onAbort } from "./abort.ts";
import { type CallSettings, callsTo } from "./calls.ts";
import type { ClientContext } from "./context.ts";
import { Emitter } from "./emitter.ts";
import { Endpoints } from "./endpoints.ts";
import { ClientError, clientClosed } from "./errors.ts";
import { Feeds } from "./feeds.ts";
import type { ConnectionState } from "./kept-connection.ts";
import { type ConnectOptions, settingsOf } from "./options.ts";
import { ReconnectingSocket, type SocketOptions } from "./reconnecting-socket.ts";
import type { Surroundings } from "./surroundings.ts";
import { Topic } from "./topic.ts";
import type { TopicsOf } from "./topics-of.ts";

/** The name that a class was made with: the first segment of its addresses. Any text for a class that is not known. */
export type NameOf<Class extends AnyObjectClass> = Class extends {
  readonly "~Prefix": `/${infer Name}/:id`;
}
  ? Name
  : string;

/** One object of a class, from afar. A light handle: make it as often as you like. */
export interface RemoteObject<Class extends AnyObjectClass> {
  /** `<class>/<id>`, the id percent-encoded. Two handles with one key, of one client, are of one object. */
  readonly key: string;
  readonly client: Client;
  /**
   * Eden's client, for the routes below `/<class>/<id>`: `await lobby.call.messages.post(…)` gives `{ data, error, status,
   * response, headers }`. What our hosts refuse is a problem document in `error.value` (`isProblem`); a host that cannot be
   * reached is a 503 with the cause there. A `signal` goes in as `{ fetch: { signal } }`, after the body where there is one.
   */
  readonly call: ObjectClient<Class>;
  /** A topic of the class, or any topic where the class is not known. */
  topic<Name extends keyof TopicsOf<Class> & string>(name: Name): Topic<TopicsOf<Class>[Name]>;
  /**
   * A WebSocket to a path of the object, `"/live"`, that comes back by itself.
   * @throws ClientError `closed`, `no_websocket`, `bad_argument`
   */
  socket(path: string, options?: SocketOptions): ReconnectingSocket;
}

export interface ClientEvents {
  /** The connection for topics has changed: `client.state`. */
  readonly state: ConnectionState;
}

/** What `connect` returns. Nothing is opened before it is needed. */
export class Client {
  readonly #context: ClientContext;
  readonly #calls: CallSettings;
  readonly #feeds: Feeds;
  readonly #events = new Emitter<ClientEvents>();
  readonly #closing = new AbortController();

  constructor(urls: string | readonly string[], options: ConnectOptions, around: Surroundings) {
    const { headers, signal } = options;
    this.#context = { endpoints: new Endpoints(urls), headers, settings: settingsOf(options), around };
    this.#calls = { ...options, closing: this.#closing.signal };
    this.#feeds = new Feeds(this.#context, (state) => this.#events.emit("state", state));
    const forget = onAbort(() => this.close(), signal);
    onAbort(forget, this.#closing.signal);
    if (signal?.aborted) this.close();
  }

  /** Of the connection for topics. `idle` while nobody listens: it is opened with the first subscription. */
  get state(): ConnectionState {
    return this.#feeds.state;
  }

  /** The returned function ends it. */
  on<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents[Type]) => void): () => void {
    return this.#events.on(type, listener);
  }

  /**
   * The object `id` of a class; the class's type comes from the server's code: `client.object<typeof room>("room", "lobby")`.
   * @throws ClientError `bad_argument` for an id that no URL can carry.
   */
  object<Class extends AnyObjectClass = AnyObjectClass>(
    name: NameOf<Class>,
    id: string,
  ): RemoteObject<Class> {
    if (id === "" || id === "." || id === "..")
      throw new ClientError("bad_argument", `"${id}" cannot be the id of an object.`);
    const key = `${name}/${encodeURIComponent(id)}`;
    return {
      key,
      client: this,
      // What its proxies find out at run time is what the types know.
      call: callsTo(`/${key}`, this.#context.endpoints, this.#calls) as ObjectClient<Class>,
      topic: (topic) => new Topic(this.#feeds, { object: key, topic }),
      socket: (path, options = {}) =>
        new ReconnectingSocket(`/${key}${path}`, options, this.#context, this.#closing.signal),
    };
  }

  /**
   * Leaves the connections for topics, and connects them anew with fresh credentials, to the nearest host: after a user has
   * logged in, say. What they missed meanwhile is recovered. With `startClosed` this is what opens them.
   *
   * @throws ClientError `closed`
   */
  reconnect(): void {
    this.#feeds.reconnect();
  }

  /** Ends everything: subscriptions, sockets, and calls that are under way. */
  close(): void {
    this.#closing.abort(clientClosed());
    this.#feeds.close();
  }
}
