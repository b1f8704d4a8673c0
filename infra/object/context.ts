import type { AnyObjectClass, ObjectClient } from "./object.ts";

/** Why an object starts. `move` and `crash` come with planned moves. */
export type StartReason = "create" | "wake" | "move" | "crash";

/** Why an object stops on purpose. */
export type StopReason = "idle" | "drain" | "reload";

// biome-ignore lint/suspicious/noExplicitAny: a factory may make anything; `ResourcesOf` keeps the precise type.
export type ResourceFactories = Readonly<Record<string, () => any>>;

export type ResourcesOf<Factories extends ResourceFactories> = {
  readonly [Name in keyof Factories]: ReturnType<Factories[Name]>;
};

/**
 * What the object itself gives to handlers and hooks. In an HTTP context these belong to the activation that serves the
 * request and throw `activation_over` once it has ended; on `ws.data` they stay valid as long as the socket.
 */
export interface ObjectHandles<State extends object, Resources extends ResourceFactories> {
  /** The decoded id from the URL. (`id` is taken: Elysia's sockets have one of their own.) */
  readonly objectId: string;
  /** The live state. Change it in place; it is this object's alone. */
  readonly state: State;
  readonly topics: Topics;
  readonly sockets: Sockets;
  readonly objects: Objects;
  readonly host: HostHandle<Resources>;
  /** Keeps the object awake until the promise settles. A rejection is logged. */
  waitUntil(work: Promise<unknown>): void;
  /** A timer that ends with the activation and keeps the object awake. Returns a function that cancels it. */
  setTimeout(callback: () => void | Promise<void>, delayMs: number): () => void;
}

/** Publishing to the topics of this object, which no other object shares. */
export interface Topics {
  /**
   * Sends to everyone who is subscribed, in every region: one frame to each edge that has subscribers, which fans it
   * out. Text and bytes go as they are, anything else as JSON. Messages of one object arrive in the order of `publish`.
   */
  publish(topic: string, message: unknown): void;
  /** How many sockets and event streams are subscribed, at all edges. */
  subscriberCount(topic: string): number;
}

/** The sockets that are open on this object now. */
export interface Sockets {
  readonly count: number;
  list(): readonly SocketInfo[];
  /** Closes every socket. Default 1000. */
  closeAll(code?: number, reason?: string): void;
}

export interface SocketInfo {
  readonly id: string;
  readonly remoteAddress: string;
  readonly subscriptions: readonly string[];
  send(message: unknown): number;
  close(code?: number, reason?: string): void;
}

/**
 * Calls to other objects, wherever they live, typed from their class: `objects(counter, "a").increment.post({ by: 2 })`.
 * A call that comes back to an object that waits for it (`concurrency: "serial"`) fails at once with `call_cycle`.
 */
export type Objects = <Class extends AnyObjectClass>(objectClass: Class, id: string) => ObjectClient<Class>;

/** The process that runs the object. */
export interface HostHandle<Resources extends ResourceFactories> {
  readonly id: string;
  readonly region: string;
  /** Values of the class's `resources`, each made once per host, at first use. */
  readonly resources: ResourcesOf<Resources>;
}
