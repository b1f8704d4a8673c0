import type { TopicMessage } from "./topic-message.ts";
import { topicOfPresence } from "./topic-presence.ts";

/**
 * The owner's side of an object's topics: for each topic, how many subscribers each edge has. A publish sends one message
 * to every edge with subscribers, however many they are; the edge fans it out natively.
 */
export class TopicHub {
  readonly #objectKey: string;
  readonly #topics = new Map<string, Map<TopicEdge, number>>();
  /** Edges that have not told who is there: they hear everything that has no position. */
  readonly #untold = new Set<TopicEdge>();
  /** By edge: topics of which it lacks messages, and is sent nothing before it has those. */
  readonly #behind = new Map<TopicEdge, Set<string>>();

  constructor(objectKey: string) {
    this.#objectKey = objectKey;
  }

  untold(edge: TopicEdge): void {
    this.#untold.add(edge);
  }
  told(edge: TopicEdge): void {
    this.#untold.delete(edge);
  }

  /** Nothing that has a position is sent to that edge of the topic until `caughtUp`. */
  fellBehind(topic: string, edge: TopicEdge): void {
    const topics = this.#behind.get(edge);
    if (topics) topics.add(topic);
    else this.#behind.set(edge, new Set([topic]));
  }

  caughtUp(topic: string, edge: TopicEdge): void {
    const topics = this.#behind.get(edge);
    if (topics?.delete(topic) && topics.size === 0) this.#behind.delete(edge);
  }

  /** The edge is gone. */
  forget(edge: TopicEdge): void {
    this.#untold.delete(edge);
    this.#behind.delete(edge);
  }

  subscribe(topic: string, edge: TopicEdge): void {
    const edges = this.#topics.get(topic) ?? new Map<TopicEdge, number>();
    this.#topics.set(topic, edges);
    edges.set(edge, (edges.get(edge) ?? 0) + 1);
  }

  unsubscribe(topic: string, edge: TopicEdge): void {
    const edges = this.#topics.get(topic);
    const count = edges?.get(edge);
    if (edges === undefined || count === undefined) return;
    if (count > 1) edges.set(edge, count - 1);
    else edges.delete(edge);
    if (edges.size === 0) this.#topics.delete(topic);
  }

  /**
   * Hands the message to every edge that has subscribers, in this call. `except` is a socket that must not hear it.
   * Returns the edges that could not take it: whoever listens there has missed a message and must be told.
   */
  publish(message: TopicMessage, except?: SocketAtEdge): readonly TopicEdge[] {
    const known = this.#topics.get(message.topic);
    const hearUntold = this.#untold.size > 0 && isForUntold(message);
    if (known === undefined && !hearUntold) return none;
    const edges = hearUntold ? new Set([...(known?.keys() ?? []), ...this.#untold]) : known?.keys();
    let failed: TopicEdge[] | undefined;
    for (const edge of edges ?? none) {
      if (this.#behind.get(edge)?.has(message.topic) && message.position !== undefined) continue;
      const excluded = except?.edge === edge ? except.socketId : 0;
      if (edge.publish(this.#objectKey, message, excluded)) continue;
      failed ??= [];
      failed.push(edge);
    }
    return failed ?? none;
  }

  /** Whether what is published of the topic goes to that edge. */
  reaches(topic: string, edge: TopicEdge): boolean {
    return this.#topics.get(topic)?.has(edge) ?? false;
  }

  subscriberCount(topic: string): number {
    let count = 0;
    for (const subscribers of this.#topics.get(topic)?.values() ?? []) count += subscribers;
    return count;
  }
}

const none: readonly TopicEdge[] = [];

/**
 * What has a position is told to them later, with what went before it; and what has changed in who is there means nothing to those whose
 * own members are not known yet: once they are, everybody is told who is there.
 */
function isForUntold({ position, topic }: TopicMessage): boolean {
  return position === undefined && topicOfPresence(topic) === undefined;
}

/** An edge as a publisher sees it: this host's own, or the other end of a link. */
export interface TopicEdge {
  /** False where the message could not be queued (`link_overloaded`, or the link is gone). */
  publish(objectKey: string, message: TopicMessage, exceptSocketId: number): boolean;
}

/** A socket by the edge that holds it and its number there; numbers begin at 1. */
export interface SocketAtEdge {
  readonly edge: TopicEdge;
  readonly socketId: number;
}
