import { positionAfter, type TopicMessage, type TopicStart } from "../topics/topic-message.ts";
import type { HeldSocket } from "./held-socket.ts";

/** How far those who listen here have come in an object's topics, for the owner that comes next. */
export class HeldTopics {
  readonly #sockets: ReadonlyMap<number, HeldSocket>;
  #positions: Map<string, string> | undefined;

  constructor(sockets: ReadonlyMap<number, HeldSocket>) {
    this.#sockets = sockets;
  }

  /** By topic that has a history. One that nobody listens to any more keeps its last. */
  get positions(): ReadonlyMap<string, string> | undefined {
    return this.#positions;
  }

  /** A message has come, and goes to all who listen. */
  published({ topic, position }: TopicMessage): void {
    this.#at(topic, position);
  }

  listen(socketNumber: number, topic: string, start: TopicStart): void {
    this.#at(topic, positionAfter(start));
    this.#sockets.get(socketNumber)?.listen(topic, start);
  }

  /** All who listen hear what they have missed, or that they have missed something. */
  fill(topic: string, start: TopicStart, publish: (message: TopicMessage) => void): void {
    this.#at(topic, positionAfter(start));
    if (start.recovered) for (const message of start.missed) publish({ topic, ...message });
    else for (const socket of [...this.#sockets.values()]) socket.hasMissed(topic, start);
  }

  #at(topic: string, position: string | undefined): void {
    if (position === undefined) return;
    this.#positions ??= new Map();
    this.#positions.set(topic, position);
  }
}
