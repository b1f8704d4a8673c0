import type { HostProcess } from "../../support/host-process.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { Publishing } from "./listening.ts";
import type { Notebook } from "./notebook.ts";
import { type Dialled, hangUp } from "./roaming-client.ts";

/** A frame of the host (`PROTOCOL.md`, "From the host"); a type that is not known is left alone. */
interface HostFrame {
  readonly type: string;
  readonly id?: number;
  readonly object?: string;
  readonly topic?: string;
  readonly position?: string;
  readonly recovered?: boolean;
  readonly data?: unknown;
  readonly text?: string;
  readonly bytes?: string;
  readonly code?: number;
  readonly status?: number;
  readonly count?: number;
}

/** One topic on this connection. */
interface Subscription {
  readonly notes: Notebook;
  readonly since: string | undefined;
}

/** Between a subscription that has ended or was refused and the next try. */
const againMs = { min: 50, max: 400 } as const;

export interface FramedNotes {
  readonly name: string;
  readonly topics: readonly Notebook[];
  readonly random: SeededRandom;
  /** Which refusals there were, by their status. */
  readonly refused: Map<number, number>;
}

/** One WebSocket at `/-/connect` for all topics of a client, framed by hand. */
export class FramedListener implements Dialled {
  readonly ended: Promise<void>;
  readonly #notes: FramedNotes;
  readonly #edge: string;
  readonly #line: string;
  readonly #socket: WebSocket;
  readonly #subscriptions = new Map<number, Subscription>();
  #lastId = 0;
  #hasLeft = false;

  constructor(host: HostProcess, notes: FramedNotes) {
    this.#notes = notes;
    this.#edge = host.id;
    this.#line = `${notes.name}-${crypto.randomUUID().slice(0, 8)}`;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#socket = new WebSocket(host.socketUrl("/-/connect"));
    this.#socket.onopen = () => {
      for (const topic of notes.topics) this.#subscribe(topic);
    };
    this.#socket.onmessage = ({ data }) => {
      if (!this.#hasLeft) this.#take(JSON.parse(String(data))); // as PROTOCOL.md has it
    };
    this.#socket.onclose = ({ code }) => {
      if (!this.#hasLeft) for (const topic of notes.topics) topic.ended({ edge: this.#edge, code });
      this.#hasLeft = true;
      resolve();
    };
  }

  leave(abruptly: boolean): void {
    this.#hasLeft = true;
    for (const topic of this.#notes.topics) topic.ended();
    hangUp(this.#socket, abruptly);
  }

  /** Publishes on a topic that it listens to, in a form of its choice; undefined where it cannot say anything now. */
  publish(address: string, message: string): Publishing | undefined {
    const [id] = [...this.#subscriptions].find(([, { notes }]) => notes.address === address) ?? [];
    if (this.#hasLeft || id === undefined || this.#socket.readyState !== WebSocket.OPEN) return undefined;
    const forms = [
      { data: { message } },
      { text: message },
      { bytes: Buffer.from(message).toString("base64") },
    ];
    this.#say({ type: "publish", id, ...this.#notes.random.pick(forms) });
    return { message, address, line: this.#line, sentAtMs: performance.now(), answeredAtMs: undefined };
  }

  /** Leaves one of its topics, and comes back to it at once: the connection stays. */
  turnAway(): void {
    const ids = [...this.#subscriptions.keys()];
    if (ids.length > 0 && !this.#hasLeft)
      this.#say({ type: "unsubscribe", id: this.#notes.random.pick(ids) });
  }

  #say(frame: object): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #subscribe(notes: Notebook): void {
    if (this.#hasLeft) return;
    const id = ++this.#lastId;
    const since = notes.position;
    const [object = "", topic = ""] = notes.address.split("/-/topics/");
    this.#subscriptions.set(id, { notes, since });
    const asked = { id, object, topic, presence: true, query: `name=${notes.listener}` };
    this.#say({ type: "subscribe", ...asked, ...(since !== undefined && { since }) });
  }

  #subscribeAgain(notes: Notebook): void {
    const { random } = this.#notes;
    setTimeout(() => this.#subscribe(notes), random.between(againMs.min, againMs.max));
  }

  #take(frame: HostFrame): void {
    const subscription = this.#subscriptions.get(frame.id ?? 0);
    switch (frame.type) {
      case "subscribed": {
        const { notes, since } = subscription ?? {};
        notes?.subscribed(notes.isOpen ? undefined : since, frame.position, frame.recovered);
        return;
      }
      case "message":
        return this.#notesOf(frame)?.heard(textOf(frame), frame.position);
      case "presence":
        return this.#notesOf(frame)?.presence({ count: 0, ...frame });
      case "refused":
        this.#notes.refused.set(frame.status ?? 0, (this.#notes.refused.get(frame.status ?? 0) ?? 0) + 1);
        return this.#over(frame, subscription);
      case "unsubscribed":
        return this.#over(frame, subscription);
    }
  }

  #over({ id = 0, code }: HostFrame, subscription: Subscription | undefined): void {
    if (!this.#subscriptions.delete(id) || subscription === undefined) return;
    // 1000: as asked for.
    subscription.notes.ended(code === undefined || code === 1000 ? undefined : { edge: this.#edge, code });
    this.#subscribeAgain(subscription.notes);
  }

  #notesOf({ object, topic }: HostFrame): Notebook | undefined {
    return this.#notes.topics.find(({ address }) => address === `${object}/-/topics/${topic}`);
  }
}

function textOf({ data, text, bytes }: HostFrame): string {
  if (bytes !== undefined) return Buffer.from(bytes, "base64").toString();
  return text ?? JSON.stringify(data);
}
