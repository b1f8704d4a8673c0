import type { RawSocket } from "../object/object-socket.ts";
import { type PresentIn, presenceTopic } from "../topics/topic-presence.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import { type TopicStart, waitingBytesOf } from "../topics/topic-message.ts";
import type { Activation } from "./activation.ts";
import type { SocketRecord } from "./edge-port.ts";
import { checkSubscriptionCount, checkTopicName } from "./topic-limits.ts";
import type { SocketCarrier } from "./virtual-socket.ts";

/** A socket as far as its subscriptions go. */
export interface TopicSubscriber {
  readonly id: string;
  readonly edge: TopicEdge;
  readonly carrier: SocketCarrier;
  readonly readyState: RawSocket["readyState"];
  /** The context of its upgrade. */
  readonly data: object;
  closeAtOnce(code: number, reason: string): void;
}

/** The topics of one socket: as its handlers have it, and as it has taken effect. Between the two is the output gate. */
export class SocketTopics {
  readonly #activation: Activation;
  readonly #socket: TopicSubscriber;
  readonly #subscribed: Set<string>;
  readonly #atEdge = new Map<string, PresentIn | undefined>();
  #isOver = false;

  constructor(activation: Activation, socket: TopicSubscriber, record?: SocketRecord) {
    this.#activation = activation;
    this.#socket = socket;
    this.#subscribed = new Set(record?.subscriptions);
    const present = new Map(record?.presence);
    for (const topic of record?.subscriptions ?? []) {
      const presentIn = present.get(topic);
      this.#takesEffect(topic, presentIn);
      if (presentIn) activation.presenceOf(topic)?.found(socket.id, presentIn.data);
    }
  }

  get names(): string[] {
    return [...this.#subscribed];
  }
  has(topic: string): boolean {
    return this.#subscribed.has(topic);
  }

  /** For its next activation. */
  get record(): Pick<SocketRecord, "subscriptions" | "presence"> {
    const presence: [string, PresentIn][] = [];
    for (const [topic, presentIn] of this.#atEdge) if (presentIn) presence.push([topic, presentIn]);
    return { subscriptions: [...this.#atEdge.keys()], presence };
  }

  /** For a client that hears what is new and nothing else. */
  subscribe(topic: string): void {
    const start = this.#activation.topicStart(topic, undefined);
    this.#begin(topic, start, false, start.position !== undefined || start.slowReaders !== undefined);
  }

  /** For a client that may have been here before, and may want to know who else is. */
  listen(topic: string, since: string | undefined, watches: boolean): void {
    this.#begin(topic, this.#activation.topicStart(topic, since), watches, true);
  }

  /** In the same turn as the look at the history: what is published from here on stands behind it in the line. */
  #begin(topic: string, start: TopicStart, watches: boolean, isTold: boolean): void {
    const socket = this.#socket;
    if (socket.readyState > 1 || this.has(topic)) return;
    checkTopicName(topic);
    checkSubscriptionCount(this.#subscribed.size);
    const presence = this.#activation.presenceOf(topic);
    const presentIn = presence && { data: this.#activation.presenceDataOf(topic, socket), watches };
    this.#activation.pass(() => {
      if (socket.readyState === 3 || this.#isOver) return;
      this.#takesEffect(topic, presentIn);
      presence?.join(socket.id, presentIn?.data);
      if (!isTold && presentIn === undefined) return socket.carrier.subscribe(topic);
      const snapshot = watches ? presence?.snapshot() : undefined;
      if (!socket.carrier.listen(topic, { ...start, presence: presentIn && { ...presentIn, snapshot } }))
        socket.closeAtOnce(1013, "Too much is on its way to your edge.");
    }, topic.length + waitingBytesOf(start));
    this.#subscribed.add(topic);
  }

  #takesEffect(topic: string, presentIn: PresentIn | undefined): void {
    const { hub } = this.#activation;
    hub.subscribe(topic, this.#socket.edge);
    if (presentIn?.watches) hub.subscribe(presenceTopic(topic), this.#socket.edge);
    this.#atEdge.set(topic, presentIn);
  }

  unsubscribe(topic: string): void {
    if (!this.has(topic)) return;
    this.#activation.pass(() => {
      if (!this.#end(topic)) return;
      this.#atEdge.delete(topic);
      this.#socket.carrier.unsubscribe(topic);
    }, topic.length);
    this.#subscribed.delete(topic);
  }

  /** The socket is no longer this activation's. */
  left(): void {
    this.#isOver = true;
    for (const topic of this.#atEdge.keys()) this.#end(topic);
    this.#atEdge.clear();
    this.#subscribed.clear();
  }

  #end(topic: string): boolean {
    if (!this.#atEdge.has(topic)) return false;
    const { edge, id } = this.#socket;
    const { hub } = this.#activation;
    const presentIn = this.#atEdge.get(topic);
    hub.unsubscribe(topic, edge);
    if (presentIn?.watches) hub.unsubscribe(presenceTopic(topic), edge);
    if (presentIn) this.#activation.presenceOf(topic)?.leave(id);
    return true;
  }
}
