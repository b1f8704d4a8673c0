import { subscriptionsPerTurn, Turns } from "../../infra/host/turns.ts";
import type { WantedSubscription } from "../../infra/edge/dispatcher.ts";
import { ConnectRoute } from "../../infra/edge/connect-route.ts";
import type { ClientConnection, EdgeSocket, SocketOwner } from "../../infra/edge/edge-socket.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { anyAddress } from "./any-address.ts";
import type { FramedConnection } from "../../infra/edge/framed-connection.ts";
import type { Frontend } from "../../infra/edge/wanted-upgrade.ts";
import type { Log } from "../../infra/lib/log.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import type { VersionRange } from "../../infra/lib/version-range.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import type { HostFrame } from "./connect-client.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** A client's WebSocket with native topics, as Bun gives it: closing it calls the close handler at once. */
export class FakeWebSocket implements ClientConnection {
  readonly heard: SocketData[] = [];
  readonly topics = new Set<string>();
  readonly #rig: FramedRig;
  closing: readonly [number, string] | undefined;
  bufferedBytes = 0;

  constructor(rig: FramedRig) {
    this.#rig = rig;
  }
  get frames(): readonly HostFrame[] {
    return this.heard.map((text) => JSON.parse(String(text)));
  }
  send(message: SocketData): number {
    if (this.closing) throw new Error("sent to a closed socket");
    this.heard.push(message);
    return message.length;
  }
  subscribe(name: string): void {
    this.topics.add(name);
  }
  unsubscribe(name: string): void {
    this.topics.delete(name);
  }
  isSubscribed(name: string): boolean {
    return this.topics.has(name);
  }
  publish(name: string, message: SocketData): void {
    this.#rig.publishNatively(name, message, this);
  }
  ping(): void {
    // Nothing hears it.
  }
  pong(): void {
    // Nothing hears it.
  }
  close(code: number, reason: string): void {
    if (this.closing) throw new Error("closed twice");
    this.closing = [code, reason];
  }
  terminate(): void {
    this.closing ??= [1006, ""];
  }
  getBufferedAmount(): number {
    return this.bufferedBytes;
  }
}

/** One request for a subscription, as it comes to the dispatcher; a test answers it. */
export class AskedSubscription implements SocketOwner {
  readonly ref: ObjectRef;
  readonly wanted: WantedSubscription;
  readonly events: unknown[] = [];
  readonly answered = Promise.withResolvers<Response | undefined>();
  readonly #frontend: Frontend;
  readonly #sockets: EdgeSockets;
  readonly socket: EdgeSocket;
  isAnswered = false;

  constructor(sockets: EdgeSockets, ref: ObjectRef, wanted: WantedSubscription, frontend: Frontend) {
    this.ref = ref;
    this.wanted = wanted;
    this.#frontend = frontend;
    this.#sockets = sockets;
    this.socket = this.#sockets.add(ref, wanted.headBytes);
  }

  get clientAddress(): string {
    return this.#frontend.clientAddress(new Request(this.wanted.head.url));
  }

  /** An owner accepts it. False where nobody wants it any more. */
  accept(): boolean {
    this.isAnswered = true;
    this.socket.attachOwner(this);
    const isConnected = this.#frontend.upgrade(new Request(this.wanted.head.url), undefined, this.socket);
    if (!isConnected) this.socket.disconnected(1006, "The client left.");
    this.answered.resolve(isConnected ? undefined : new Response("", { status: 426 }));
    return isConnected;
  }

  /** An owner accepts it, and has it listen to its topic. */
  begin(position?: string): this {
    this.accept();
    this.socket.listen(this.topic, { position, recovered: undefined, missed: [] });
    return this;
  }

  refuse(response: Response): void {
    this.isAnswered = true;
    this.socket.disconnected(1006, "");
    this.answered.resolve(response);
  }

  get topic(): string {
    return decodeURIComponent(new URL(this.wanted.head.url).pathname.split("/").at(-1) ?? "");
  }

  opened(): void {
    this.events.push("opened");
  }
  message(message: SocketData): void {
    this.events.push(message);
  }
  drained(): void {
    this.events.push("drained");
  }
  closed(code: number, reason: string): void {
    this.events.push([code, reason]);
  }
}

export interface FramedRigOptions {
  readonly socketsMax?: number;
  readonly headers?: Record<string, string>;
  readonly trustedHeaders?: readonly string[];
  /** Of the protocol, that the host speaks. */
  readonly versions?: VersionRange;
}

/** An edge with connections for many topics, whose dispatcher is the test. */
export class FramedRig {
  readonly clock = new VirtualClock();
  readonly sockets: EdgeSockets;
  readonly route: ConnectRoute;
  readonly asked: AskedSubscription[] = [];
  readonly natively: [name: string, message: SocketData][] = [];
  /** Errors that were logged: none may be. */
  readonly errors: unknown[] = [];
  readonly #clients: FakeWebSocket[] = [];
  readonly #headers: Record<string, string>;
  isDraining = false;

  constructor({ socketsMax = 1000, headers = {}, trustedHeaders = [], versions }: FramedRigOptions = {}) {
    this.#headers = headers;
    this.sockets = new EdgeSockets({
      addresses: anyAddress,
      clock: this.clock,
      publishNatively: (name, message) => this.publishNatively(name, message),
      ...{ socketsMax, backpressureLimitBytes: 1000, seek: () => undefined, owns: () => undefined },
    });
    const noted = (_event: string, fields = {}) => void this.errors.push(fields);
    const log: Log = { debug: noted, info: noted, warn: noted, error: noted };
    const dispatcher = {
      subscribe: (ref: ObjectRef, wanted: WantedSubscription, frontend: Frontend) => {
        const asked = new AskedSubscription(this.sockets, ref, wanted, frontend);
        this.asked.push(asked);
        return asked.answered.promise;
      },
    };
    this.route = new ConnectRoute({
      ...{ sockets: this.sockets, clock: this.clock, log, dispatcher, hostId: "h1", region: "ams" },
      ...{ trustedHeaders, isDraining: () => this.isDraining },
      ...{ turns: new Turns(this.clock, subscriptionsPerTurn), ...(versions && { versions }) },
    });
  }

  publishNatively(name: string, message: SocketData, except?: FakeWebSocket): void {
    this.natively.push([name, message]);
    for (const client of this.#clients)
      if (client !== except && client.closing === undefined && client.isSubscribed(name))
        client.heard.push(message);
  }

  accept(headers: Record<string, string> = this.#headers, query = ""): FramedConnection {
    const request = new Request(`http://edge.example:80/-/connect${query}`, {
      headers: { upgrade: "websocket", ...headers },
    });
    return this.route.accept(request, "192.0.2.7");
  }

  /** A client that is connected, with what it says and hears. */
  connect(headers?: Record<string, string>, query?: string): FramedClient {
    const socket = new FakeWebSocket(this);
    this.#clients.push(socket);
    const connection = this.accept(headers, query);
    connection.connected(socket);
    return new FramedClient(this, connection, socket);
  }
}

export class FramedClient {
  readonly connection: FramedConnection;
  readonly socket: FakeWebSocket;
  readonly #rig: FramedRig;
  #lastId = 0;

  constructor(rig: FramedRig, connection: FramedConnection, socket: FakeWebSocket) {
    this.#rig = rig;
    this.connection = connection;
    this.socket = socket;
  }

  /** Frames of the host, but for `welcome`. */
  get frames(): readonly HostFrame[] {
    return this.socket.frames.slice(1);
  }

  say(frame: object): void {
    this.connection.received(JSON.stringify(frame));
  }

  /** What comes of it is the last of the rig's `asked`. */
  ask(object: string, topic = "chat", more: object = {}): AskedSubscription {
    this.say({ type: "subscribe", id: ++this.#lastId, object, topic, ...more });
    const asked = this.#rig.asked.at(-1);
    if (asked === undefined) throw new Error("Nothing was asked of the dispatcher.");
    return asked;
  }
}
