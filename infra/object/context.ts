import type { AnyObjectClass, ObjectClient } from "./object.ts";
import type { Alarms, ObjectStorage } from "./storage.ts";

/**
 * Why an object starts. `create`: nothing of it is known. `wake`: it slept, or is stored. `move`: it came from another host,
 * whole. `crash`: its last owner ended without a word, and its memory with it.
 */
export type StartReason = "create" | "wake" | "move" | "crash";

/** What `onStart` is told beside its handles; `sockets` lists those that were open before and still are. */
export interface StartFacts {
  readonly reason: StartReason;
  /** Milliseconds since its last activation ended; undefined where nobody knows. */
  readonly gapMs: number | undefined;
}

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
export interface ObjectHandles<
  State extends object,
  Resources extends ResourceFactories,
  Messages = AnyMessages,
> {
  /** The decoded id from the URL. (`id` is taken: Elysia's sockets have one of their own.) */
  readonly objectId: string;
  /** The live state. Change it in place; it is this object's alone. */
  readonly state: State;
  readonly storage: ObjectStorage;
  /** Needs the class's `onAlarm`. */
  readonly alarms: Alarms;
  readonly topics: Topics<Messages>;
  readonly sockets: Sockets;
  readonly objects: Objects;
  readonly host: HostHandle<Resources>;
  /**
   * Aborted when the object goes and waits no longer for what is open: in a drain after `moveQuiesceMs`, or because its lease is
   * lost. Half a second is left then to end well. In an HTTP handler it is the request's own signal, and also aborted when the
   * client has left.
   */
  readonly signal: AbortSignal;
  /** Keeps the object awake until the promise settles. A rejection is logged. */
  waitUntil(work: Promise<unknown>): void;
  /** A timer that ends with the activation and keeps the object awake. Returns a function that cancels it. */
  setTimeout(callback: () => void | Promise<void>, delayMs: number): () => void;
}

/**
 * Publishing to the topics of this object, which no other object shares.
 *
 * `Declared` has the messages by the name of their topic. A helper says what it publishes, `topics: Topics<{ chat: Said }>`, and
 * the topics of every class that declares those will do. Plain `Topics` takes any name and any message; a schema is kept then
 * too, but only once it runs. So it is with `ws.publish` and `ws.subscribe`: they are Elysia's, whose types know no topics.
 */
export interface Topics<Declared = AnyMessages, Sent = unknown> {
  /**
   * Sends to everyone who is subscribed, in every region: one frame to each edge that has subscribers, which fans it
   * out. Text and bytes go as they are, anything else as JSON; on a topic with a schema everything is JSON. Messages of one
   * object arrive in the order of `publish`.
   *
   * Returns its position, where the topic has a history: whoever subscribes with `since` that position hears what comes after it.
   *
   * @throws StatefulError `invalid_input` for a message that does not match the topic's schema: nobody hears it.
   */
  publish<Name extends keyof Declared & string>(topic: Name, message: Declared[Name]): string | undefined;
  /** How many sockets and event streams are subscribed, at all edges. */
  subscriberCount(topic: keyof Declared & string): number;
  /**
   * Who is subscribed, at all edges. As this host knows it: an edge that was lost a moment ago may still be counted.
   *
   * @throws StatefulError `bad_request` for a topic that is not declared with `presence`.
   */
  presence(topic: keyof Declared & string): Presence;
  /** Never there: it carries, for `TopicsOf`, what subscribers hear, which a schema may have made of what was published. */
  readonly [sentMessages]?: Sent;
}

/** Those who are subscribed to a topic. */
export interface Presence {
  readonly count: number;
  /** All of them, each by the id of its connection, with what `presence.data` of the topic said of it. */
  readonly members: readonly { readonly id: string; readonly data: unknown }[];
}

/** Of topics that nobody has declared. */
export type AnyMessages = Record<string, unknown>;

declare const sentMessages: unique symbol;

/** The sockets that are open on this object now. */
export interface Sockets {
  readonly count: number;
  /** All of them, or those that carry the tag. */
  list(filter?: { readonly tag?: string }): readonly SocketInfo[];
  /** Closes every socket. Default 1000. */
  closeAll(code?: number, reason?: string): void;
}

export interface SocketInfo {
  readonly id: string;
  readonly remoteAddress: string;
  readonly subscriptions: readonly string[];
  readonly tags: readonly string[];
  /** What a handler last set as `ws.attachment`; undefined before. */
  readonly attachment: unknown;
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
