import type { SocketData } from "../object/socket-message.ts";

/**
 * The owner's side of an object's topics: for each topic, how many subscribers each edge has. A publish sends one message
 * to every edge with subscribers, however many they are; the edge fans it out natively.
 */
export class TopicHub {
  readonly #objectKey: string;
  readonly #topics = new Map<string, Map<TopicEdge, number>>();
  /** Edges that have not told who is there: they hear everything. */
  readonly #untold = new Set<TopicEdge>();

  constructor(objectKey: string) {
    this.#objectKey = objectKey;
  }

  untold(edge: TopicEdge): void {
    this.#untold.add(edge);
  }
  told(edge: TopicEdge): void {
    this.#untold.delete(edge);
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
  publish(topic: string, message: SocketData, except?: SocketAtEdge): readonly TopicEdge[] {
    const known = this.#topics.get(topic);
    if (known === undefined && this.#untold.size === 0) return none;
    const edges =
      this.#untold.size === 0 ? known?.keys() : new Set([...(known?.keys() ?? []), ...this.#untold]);
    let failed: TopicEdge[] | undefined;
    for (const edge of edges ?? none) {
      const excluded = except?.edge === edge ? except.socketId : 0;
      if (edge.publish(this.#objectKey, topic, message, excluded)) continue;
      failed ??= [];
      failed.push(edge);
    }
    return failed ?? none;
  }

  subscriberCount(topic: string): number {
    let count = 0;
    for (const subscribers of this.#topics.get(topic)?.values() ?? []) count += subscribers;
    return count;
  }
}

const none: readonly TopicEdge[] = [];

/** An edge as a publisher sees it: this host's own, or the other end of a link. */
export interface TopicEdge {
  /** False where the message could not be queued (`link_overloaded`, or the link is gone). */
  publish(objectKey: string, topic: string, message: SocketData, exceptSocketId: number): boolean;
}

/** A socket by the edge that holds it and its number there; numbers begin at 1. */
export interface SocketAtEdge {
  readonly edge: TopicEdge;
  readonly socketId: number;
}
