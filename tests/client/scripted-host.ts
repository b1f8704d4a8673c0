/**
 * A host that speaks `/-/connect` as infra/topics/PROTOCOL.md says it, and does what a test tells it to: refuses, forgets, skips,
 * repeats, falls silent, drops. It knows nothing of how it is reached: `served-host.ts` puts it behind a real port, and
 * `memory-network.ts` behind WebSockets that a test moves by hand.
 */
export type ClientFrame =
  | { type: "hello"; headers: Record<string, string> }
  | SubscribeFrame
  | { type: "unsubscribe"; id: number }
  | { type: "publish"; id: number; ref?: number; data?: unknown; text?: string; bytes?: string }
  | { type: "ping" };

export interface SubscribeFrame {
  type: "subscribe";
  id: number;
  object: string;
  topic: string;
  since?: string;
  presence?: true;
  query?: string;
}

interface Message {
  readonly offset: number;
  readonly data: unknown;
}

/** What all hosts of a cluster know of one topic. */
export class ScriptedTopic {
  historyId = "h1";
  offset = 0;
  kept: Message[] = [];
  /** Undefined: the topic keeps no history, and has no positions. */
  historyMax: number | undefined = 1_000;

  /** Of the last message; undefined without a history. */
  get position(): string | undefined {
    return this.at(this.offset);
  }

  at(offset: number): string | undefined {
    return this.historyMax === undefined ? undefined : `${this.historyId}.${offset}`;
  }

  append(data: unknown): Message {
    this.offset += 1;
    const message = { offset: this.offset, data };
    this.kept.push(message);
    if (this.kept.length > (this.historyMax ?? 0)) this.kept.shift();
    return message;
  }

  /** What is kept is lost, as with an owner that took it along. */
  forget(): void {
    this.historyId = `h${Number(this.historyId.slice(1)) + 1}`;
    this.kept = [];
  }

  /** Undefined where not all of it is there. */
  after(since: string): Message[] | undefined {
    if (since === "oldest") return [...this.kept];
    const [id, offset] = since.split(".");
    const first = this.offset - this.kept.length;
    if (this.historyMax === undefined || id !== this.historyId) return undefined;
    if (Number(offset) < first || Number(offset) > this.offset) return undefined;
    return this.kept.filter((message) => message.offset > Number(offset));
  }
}

export type ScriptedTopics = Map<string, ScriptedTopic>;

/** The host's end of one connection. */
export interface HostWire {
  send(text: string): void;
  close(code: number, reason: string): void;
}

interface Subscription {
  readonly id: number;
  readonly object: string;
  readonly topic: string;
}

/** What a subscription was sent, to be repeated. */
const sentMax = 20;

export class HostConnection {
  readonly #host: ScriptedHost;
  readonly #wire: HostWire;
  readonly subscriptions = new Map<string, Subscription>();
  headers: Record<string, string> = {};
  /** Leaves the next message out, and says so. */
  skipsNext = false;
  readonly frames: ClientFrame[] = [];
  readonly #sent = new Map<number, object[]>();

  constructor(host: ScriptedHost, wire: HostWire) {
    this.#host = host;
    this.#wire = wire;
  }

  send(frame: object): void {
    this.#wire.send(JSON.stringify(frame));
  }

  /** As a handler of the class's own would. */
  say(text: string): void {
    this.#wire.send(text);
  }

  close(code: number, reason = ""): void {
    this.#host.connections.delete(this);
    this.#wire.close(code, reason);
  }

  receive(text: string): void {
    if (this.#host.isRaw) {
      this.#host.raw.push(text);
      const answer = this.#host.answersRaw(text);
      return answer === undefined ? undefined : this.say(answer);
    }
    const frame: ClientFrame = JSON.parse(text);
    this.frames.push(frame);
    this.#host.frames.push(frame);
    if (this.#host.isSilent) return;
    switch (frame.type) {
      case "hello":
        this.headers = frame.headers;
        return;
      case "ping":
        return this.send({ type: "pong" });
      case "subscribe":
        return this.#subscribe(frame);
      case "unsubscribe":
        return this.#unsubscribe(frame.id);
      case "publish":
        return this.#publish(frame);
      default:
        return this.close(1008, "not in the table");
    }
  }

  /** Ends one subscription, as a host does. */
  end(object: string, topic: string, code: number, reason = ""): void {
    const key = keyOf(object, topic);
    const subscription = this.subscriptions.get(key);
    if (!subscription) return;
    this.subscriptions.delete(key);
    this.send({ type: "unsubscribed", ...subscription, code, reason });
  }

  /** Says again what it has said last: no host should, and a client must not mind. */
  repeat(object: string, topic: string, count: number): void {
    const id = this.subscriptions.get(keyOf(object, topic))?.id ?? 0;
    for (const frame of (this.#sent.get(id) ?? []).slice(-count)) this.send(frame);
  }

  #subscribe(frame: SubscribeFrame): void {
    const { id, object, topic, since, presence } = frame;
    const key = keyOf(object, topic);
    const refusal = this.#host.refuses(frame, this);
    if (refusal) return this.send({ type: "refused", id, ...refusal });
    for (const known of this.subscriptions.values())
      if (known.id === id) return this.close(1008, "the id is in use");
    if (this.subscriptions.has(key)) return this.close(1008, "the topic has been subscribed to already");
    const kept = this.#host.topic(object, topic);
    const missed = since === undefined ? [] : this.#host.recovers(frame) ? kept.after(since) : undefined;
    this.subscriptions.set(key, { id, object, topic });
    const recovered = since === undefined ? undefined : missed !== undefined;
    // The place that what follows comes after: resuming there loses nothing, whenever the connection breaks.
    const place = missed?.[0] ? kept.at(missed[0].offset - 1) : kept.position;
    this.send({ type: "subscribed", id, object, topic, position: place, recovered });
    for (const message of missed ?? []) this.tell(object, topic, message);
    if (presence) this.send({ type: "presence", object, topic, ...this.#host.present(key) });
  }

  tell(object: string, topic: string, { offset, data }: Message): void {
    const subscription = this.subscriptions.get(keyOf(object, topic));
    if (!subscription || this.#host.isSilent) return;
    if (this.skipsNext) {
      this.skipsNext = false;
      return this.send({ type: "skipped", object, topic, count: 1 });
    }
    const position = this.#host.topic(object, topic).at(offset);
    const form =
      data instanceof Uint8Array
        ? { bytes: data.toBase64() }
        : typeof data === "string"
          ? { text: data }
          : { data };
    const frame = { type: "message", object, topic, position, ...form };
    this.send(frame);
    if (position === undefined) return;
    this.#sent.set(subscription.id, [...(this.#sent.get(subscription.id) ?? []), frame].slice(-sentMax));
  }

  #unsubscribe(id: number): void {
    for (const { id: known, object, topic } of this.subscriptions.values())
      if (known === id) return this.end(object, topic, 1000);
  }

  #publish({ id, ref, data, text, bytes }: ClientFrame & { type: "publish" }): void {
    const subscription = [...this.subscriptions.values()].find((known) => known.id === id);
    if (!subscription) return;
    const error = this.#host.failsPublish?.(data ?? text);
    if (error) return this.send({ type: "failed", id, ref, error });
    const message = bytes === undefined ? (text ?? data) : Uint8Array.fromBase64(bytes);
    const { object, topic } = subscription;
    this.#host.publish(object, topic, message);
    const answer = { type: "published", id, ref, position: this.#host.topic(object, topic).position };
    if (this.#host.isHolding) this.#host.held.push(() => this.send(answer));
    else this.send(answer);
  }
}

export class ScriptedHost {
  readonly name: string;
  readonly topics: ScriptedTopics;
  readonly connections = new Set<HostConnection>();
  /** All frames that came, of all connections. */
  readonly frames: ClientFrame[] = [];
  /** The other hosts of the cluster, which hear what is published here. */
  peers: readonly ScriptedHost[] = [];
  /** Reads, and says nothing. */
  isSilent = false;
  /** Says of nothing that it is published, until `held` is called. */
  isHolding = false;
  readonly held: (() => void)[] = [];
  /** Greets whoever comes. */
  greets = true;
  /** How a subscription is refused; undefined where it is not. */
  refuses: (
    frame: SubscribeFrame,
    connection: HostConnection,
  ) => { status: number; error: object } | undefined = () => undefined;
  /** Whether it still has what is asked for. */
  recovers: (frame: SubscribeFrame) => boolean = () => true;
  failsPublish: ((message: unknown) => object | undefined) | undefined;
  /** Runs a handler of a class's instead of the topic protocol: hears texts, and answers some. */
  isRaw = false;
  readonly raw: string[] = [];
  answersRaw: (text: string) => string | undefined = () => undefined;
  members: { id: string; data?: unknown }[] = [];

  constructor(name: string, topics: ScriptedTopics = new Map()) {
    this.name = name;
    this.topics = topics;
  }

  connect(wire: HostWire): HostConnection {
    const connection = new HostConnection(this, wire);
    this.connections.add(connection);
    if (this.greets && !this.isRaw)
      connection.send({ type: "welcome", host: this.name, region: this.name.slice(0, 3) });
    return connection;
  }

  topic(object: string, topic: string): ScriptedTopic {
    const key = keyOf(object, topic);
    const known = this.topics.get(key) ?? new ScriptedTopic();
    this.topics.set(key, known);
    return known;
  }

  publish(object: string, topic: string, data: unknown): void {
    const message = this.topic(object, topic).append(data);
    for (const host of [this, ...this.peers])
      for (const connection of host.connections) connection.tell(object, topic, message);
  }

  /** Its history is gone, and everyone who listens is told so. */
  forget(object: string, topic: string): void {
    const kept = this.topic(object, topic);
    kept.forget();
    for (const host of [this, ...this.peers])
      for (const connection of host.connections) {
        const subscription = connection.subscriptions.get(keyOf(object, topic));
        if (subscription)
          connection.send({ type: "subscribed", ...subscription, position: kept.position, recovered: false });
      }
  }

  present(key: string): { count: number; members: { id: string; data?: unknown }[] } {
    const count = [...this.connections].filter(({ subscriptions }) => subscriptions.has(key)).length;
    return { count: Math.max(count, this.members.length), members: this.members };
  }

  drop(code = 1012, reason = ""): void {
    for (const connection of [...this.connections]) connection.close(code, reason);
  }

  /** Frames of one type. */
  of<Type extends ClientFrame["type"]>(type: Type): (ClientFrame & { type: Type })[] {
    return this.frames.filter((frame): frame is ClientFrame & { type: Type } => frame.type === type);
  }
}

function keyOf(object: string, topic: string): string {
  return `${object} ${topic}`;
}
