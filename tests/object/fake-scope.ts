import type { Objects } from "../../infra/object/context.ts";
import {
  internalOrigin,
  type ObjectEvent,
  type ObjectScope,
  type SocketKind,
  UpgradeSlot,
} from "../../infra/object/event.ts";
import {
  type AnyObjectClass,
  type CompiledFetch,
  classDefinition,
  compileClass,
} from "../../infra/object/object.ts";
import type { RawSocket } from "../../infra/object/object-socket.ts";
import type { ClassDefinition } from "../../infra/object/options.ts";
import type { SocketData, TopicPayload } from "../../infra/object/socket-message.ts";
import type { SocketBehaviour } from "../../infra/object/socket-route.ts";
import { topicPayload } from "../../infra/object/topic-payload.ts";

/** What a class is given instead of an activation: handles that only remember, and a gate that a test opens. */
export class FakeScope implements ObjectScope {
  readonly objectId: string;
  state: object;
  readonly host: ObjectScope["host"];
  readonly published: { readonly topic: string; readonly message: unknown }[] = [];
  /** The same as it would go out. */
  readonly payloads: TopicPayload[] = [];
  readonly #declared: ClassDefinition["topics"];
  /** What the log would show. */
  readonly failures: { readonly errorId: string; readonly thrown: unknown }[] = [];
  /** Chains with which calls to other objects were made. */
  readonly chains: (readonly string[])[] = [];
  readonly entered: ObjectEvent[] = [];
  /** What `enter` waits for. */
  gate: Promise<void> | undefined;

  constructor(
    { state, topics }: Pick<ClassDefinition, "state" | "topics">,
    objectId = "a",
    resources: Readonly<Record<string, unknown>> = {},
  ) {
    this.state = state();
    this.#declared = topics;
    this.objectId = objectId;
    this.host = { id: "host-1", region: "ams", resources };
  }

  /** Of what is published. */
  position: string | undefined;
  readonly topics = {
    /** As an activation does it: what is refused is not published. */
    publish: (topic: string, message: unknown) => {
      this.payloads.push(topicPayload(this.#declared.get(topic)?.schema, message));
      this.published.push({ topic, message });
      return this.position;
    },
    subscriberCount: () => 0,
    presence: () => ({ count: 0, members: [] }),
  };
  readonly sockets = { count: 0, list: () => [], closeAll: () => undefined };

  get objects(): Objects {
    return this.callsFrom(undefined);
  }
  callsFrom(event: ObjectEvent | undefined): Objects {
    this.chains.push(event?.chain ?? []);
    return () => ({}) as never; // nobody is there to be called
  }
  readonly isGateShut = false;
  async waitAtGate(): Promise<void> {
    // It never is shut.
  }
  /** Nothing is stored here: that is the machinery's, and tested there. */
  readonly storage = {} as never; // nobody calls it
  readonly alarms = {} as never; // as above: nobody calls it
  storageFor(): never {
    return this.storage;
  }
  enter(event: ObjectEvent): void | Promise<void> {
    this.entered.push(event);
    return this.gate;
  }
  reportFailure(thrown: unknown): string {
    const errorId = `error-${this.failures.length + 1}`;
    this.failures.push({ errorId, thrown });
    return errorId;
  }
  /** What a test aborts. */
  readonly ending = new AbortController();
  get signal(): AbortSignal {
    return this.ending.signal;
  }
  signalOf(_: ObjectEvent, ofClient: AbortSignal): AbortSignal {
    return AbortSignal.any([this.ending.signal, ofClient]);
  }
  waitUntil(): void {
    // Nothing here sleeps, so nothing has to be kept awake.
  }
  setTimeout(): () => void {
    return () => undefined;
  }
}

/** A class as its host would run it, for one object and without a host. */
export class FakeHost {
  readonly scope: FakeScope;
  readonly #fetch: CompiledFetch;
  readonly #root: string;

  constructor(
    objectClass: AnyObjectClass,
    options: { id?: string; resources?: Record<string, unknown> } = {},
  ) {
    const definition = definitionOf(objectClass);
    const { id = "a", resources } = options;
    this.scope = new FakeScope(definition, id, resources);
    this.#fetch = compileClass(objectClass, definition);
    this.#root = `/${definition.name}/${encodeURIComponent(id)}`;
  }

  /** @param path what follows the id, `/increment?by=2` */
  async request(path: string, init?: RequestInit, chain?: readonly string[]): Promise<Response> {
    return this.#fetch(this.#message(path, init), this.#event(path, undefined, chain));
  }

  async get(path: string): Promise<Response> {
    return this.request(path);
  }

  async post(path: string, body?: unknown): Promise<Response> {
    if (body === undefined) return this.request(path, { method: "POST" });
    const headers = { "content-type": "application/json" };
    return this.request(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  /** Asks for a socket. The slot says whether the class took it, the response what it said where it did not. */
  async upgrade(
    path: string,
    headers: Record<string, string> = {},
    kind: SocketKind = "websocket",
  ): Promise<{ slot: UpgradeSlot; response: Response }> {
    const slot = new UpgradeSlot(kind);
    const request = this.#message(path, { headers: { ...headers, upgrade: "websocket" } });
    return { slot, response: await this.#fetch(request, this.#event(path, slot)) };
  }

  /** A socket that the class took. Its `open` has run. */
  async connect(path: string, headers?: Record<string, string>): Promise<FakeSocket> {
    const { slot, response } = await this.upgrade(path, headers);
    if (slot.accepted === undefined)
      throw new Error(`not upgraded: ${response.status} ${await response.text()}`);
    const socket = new FakeSocket(slot.accepted.data, slot.accepted.behaviour);
    await socket.behaviour.open(socket);
    return socket;
  }

  #message(path: string, init?: RequestInit): Request {
    // Any origin will do: a class never reads it.
    return new Request(`http://client.example${this.#root}${path}`, init);
  }

  #event(path: string, upgrade?: UpgradeSlot, chain: readonly string[] = []): ObjectEvent {
    const target = this.#root + path;
    const query = target.indexOf("?");
    return {
      path: query === -1 ? target : target.slice(0, query),
      url: internalOrigin + target,
      queryIndex: query === -1 ? -1 : internalOrigin.length + query,
      object: this.scope,
      chain,
      upgrade,
    };
  }
}

function definitionOf(objectClass: AnyObjectClass): ClassDefinition {
  const definition = classDefinition(objectClass);
  if (definition === undefined) throw new TypeError("not made by object()");
  return definition;
}

/** A client's socket that keeps what was sent to it. */
export class FakeSocket implements RawSocket {
  readonly id = "socket-1";
  kind: SocketKind = "websocket";
  readonly remoteAddress = "192.0.2.1";
  readonly data: object;
  readonly behaviour: SocketBehaviour;
  readonly sent: unknown[] = [];
  readonly published: { readonly topic: string; readonly message: unknown }[] = [];
  readonly subscriptions: string[] = [];
  closed: { readonly code: number | undefined; readonly reason: string | undefined } | undefined;
  readyState: RawSocket["readyState"] = 1;
  binaryType: RawSocket["binaryType"] = "uint8array";
  attachment: unknown;
  tags: readonly string[] = [];
  /** What it last listened with. */
  since: string | undefined;

  constructor(data: object, behaviour: SocketBehaviour) {
    this.data = data;
    this.behaviour = behaviour;
  }

  /** Delivers a message of the client's and waits for its handler. */
  async receive(message: SocketData): Promise<void> {
    await this.behaviour.message(this, message);
  }
  async disconnect(code: number, reason: string): Promise<void> {
    await this.behaviour.close(this, code, reason);
  }

  send(data: string | BufferSource): number {
    return this.sent.push(data);
  }
  sendText(data: string): number {
    return this.send(data);
  }
  sendBinary(data: BufferSource): number {
    return this.send(data);
  }
  tell(data: string): number {
    return this.send(data);
  }
  publish(topic: string, message: string | BufferSource): number {
    return this.published.push({ topic, message });
  }
  publishMessage(topic: string, message: unknown): number {
    return this.published.push({ topic, message: topicPayload(undefined, message).data });
  }
  publishText(topic: string, data: string): number {
    return this.publish(topic, data);
  }
  publishBinary(topic: string, data: BufferSource): number {
    return this.publish(topic, data);
  }
  subscribe(topic: string): void {
    this.subscriptions.push(topic);
  }
  listen(topic: string, since: string | undefined): void {
    this.since = since;
    this.subscribe(topic);
  }
  unsubscribe(topic: string): void {
    const index = this.subscriptions.indexOf(topic);
    if (index !== -1) this.subscriptions.splice(index, 1);
  }
  isSubscribed(topic: string): boolean {
    return this.subscriptions.includes(topic);
  }
  close(code?: number, reason?: string): void {
    this.closed ??= { code, reason };
  }
  terminate(): void {
    this.close(1006);
  }
  ping(data: string | BufferSource = ""): number {
    return this.send(data);
  }
  pong(data: string | BufferSource = ""): number {
    return this.send(data);
  }
  cork<T>(callback: (socket: RawSocket) => T): T {
    return callback(this);
  }
  getBufferedAmount(): number {
    return 0;
  }
}
