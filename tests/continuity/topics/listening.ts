/** How a client listens: frames on a connection for many, server-sent events, or a WebSocket at the topic's own address. */
export type ListenerKind = "framed" | "events" | "raw";

/** All that one client was told of one topic, over all its connections, in its order. */
export interface Listening {
  readonly listener: string;
  readonly kind: ListenerKind;
  /** `<class>/<id>/-/topics/<topic>`. */
  readonly address: string;
  readonly told: readonly Told[];
}

export type Told = Subscribed | Opened | HeardMessage | Closed;

/** Where the client stands: it hears everything from here on. */
export interface Subscribed {
  readonly kind: "subscribed";
  readonly atMs: number;
  /** What the client had said that it has heard; undefined also where this comes after a gap, unasked. */
  readonly since: string | undefined;
  readonly position: string | undefined;
  readonly recovered: boolean | undefined;
}

/** A raw socket is open. It is never told where it stands. */
export interface Opened {
  readonly kind: "opened";
  readonly atMs: number;
}

export interface HeardMessage {
  readonly kind: "message";
  readonly atMs: number;
  readonly message: string;
  /** Undefined for raw sockets. */
  readonly position: string | undefined;
}

/** The subscription, or the connection that it was on, ended, and not because the client wanted it to. */
export interface Closed {
  readonly kind: "closed";
  readonly atMs: number;
  /** The process that held the connection. */
  readonly edge: string;
  readonly code: number;
}

/** A message on its way to a topic. No two messages of a run are alike. */
export interface Publishing {
  readonly message: string;
  readonly address: string;
  /** Messages with one line were sent one after the other on one connection; undefined for HTTP. */
  readonly line: string | undefined;
  readonly sentAtMs: number;
  /** When it was acknowledged; undefined: never, so that nobody knows what became of it. */
  readonly answeredAtMs: number | undefined;
}

/** What the run did that listeners may notice. */
export interface Upheaval {
  /** Objects whose histories were lost with their owner, by their keys, and when. */
  readonly losses: readonly { readonly object: string; readonly atMs: number }[];
  /** Processes that were ended: connections that they held broke. */
  readonly edgesGone: ReadonlySet<string>;
}

/** The object's key, of a topic's address. */
export function objectOf(address: string): string {
  return address.split("/", 2).join("/");
}
