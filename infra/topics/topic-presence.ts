import type { CancelTimer, Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";

/** How long joins and leaves of one topic are gathered before its watchers are told, all at once. */
export const presenceGatherMs = 100;
/** What a class may say of one subscriber, as JSON. */
export const presenceDataBytesMax = 1024;

/** A topic that was too large to be listed is listed again below this share of `membersMax`: not at every crossing of it. */
export const listedAgainShare = 0.9;

/** Presence of a topic is told as a topic of its own, by a name that no author can use. */
const presencePrefix = "\0presence\0";

export function presenceTopic(topic: string): string {
  return `${presencePrefix}${topic}`;
}

/** The topic whose presence is told under that name; undefined for any other name. */
export function topicOfPresence(name: string): string | undefined {
  return name.startsWith(presencePrefix) ? name.slice(presencePrefix.length) : undefined;
}

/** What a subscriber is in a topic with presence; its edge keeps it, for the object's next owner. */
export interface PresentIn {
  /** JSON of what its class says of it; undefined for nothing. */
  readonly data: string | undefined;
  /** Whether it is told who else is there. */
  readonly watches: boolean;
}

export interface TopicPresenceSetup {
  readonly clock: Clock;
  /** More than these are counted and not listed. */
  readonly membersMax: number;
  /** Tells everyone who watches. `json`: an object, as `PROTOCOL.md` has it. */
  tell(json: string): void;
}

/**
 * Who is subscribed to one topic, at its owner: told by the edges, as the subscriptions are, so that it is right again as soon as
 * those are. A join costs one entry here, and a share of a message to each edge that watches, whatever the number of subscribers.
 */
export class TopicPresence {
  readonly #setup: TopicPresenceSetup;
  /** Data as JSON, by the id of the connection. */
  readonly #members = new Map<string, string | undefined>();
  /** Since watchers were told: who has come and is still there, and who has left. */
  readonly #joined = new Set<string>();
  readonly #left = new Set<string>();
  /** What watchers have may be wrong in ways that nobody here knows: they are told everything. */
  #isStale = false;
  #wasListed = true;
  /** Whether members are listed, as those who were told last have it. */
  #isListed = true;
  #cancel: CancelTimer | undefined;
  #isOver = false;

  constructor(setup: TopicPresenceSetup) {
    this.#setup = setup;
  }

  get count(): number {
    return this.#members.size;
  }

  join(id: string, data: string | undefined): void {
    this.#members.set(id, data);
    this.#left.delete(id);
    this.#joined.add(id);
    this.#tellSoon();
  }

  /** It was there before this activation: an edge has told of it. */
  found(id: string, data: string | undefined): void {
    this.#members.set(id, data);
    this.#isStale = true;
    this.#tellSoon();
  }

  /** An edge could not be told: it will be, of everything. */
  missed(): void {
    this.#isStale = true;
    this.#tellSoon();
  }

  leave(id: string): void {
    if (!this.#members.delete(id)) return;
    this.#joined.delete(id);
    this.#left.add(id);
    this.#tellSoon();
  }

  /** Everything, for one who begins to watch: the JSON of an object. */
  snapshot(): string {
    const { size } = this.#members;
    if (!this.#lists()) {
      this.#wasListed = false; // Whoever has this can make nothing of what changes.
      return `{"count":${size}}`;
    }
    return `{"count":${size},"members":[${this.#list(this.#members.keys())}]}`;
  }

  members(): readonly { readonly id: string; readonly data: unknown }[] {
    return Array.from(this.#members, ([id, data]) => ({
      id,
      data: data === undefined ? undefined : JSON.parse(data),
    }));
  }

  stop(): void {
    this.#isOver = true;
    this.#cancel?.();
  }

  #tellSoon(): void {
    if (this.#isOver) return;
    this.#cancel ??= this.#setup.clock.after(presenceGatherMs, () => this.#tell());
  }

  #tell(): void {
    this.#cancel = undefined;
    const isListed = this.#lists();
    const isWhole = this.#isStale || !isListed || !this.#wasListed;
    const json = isWhole ? this.snapshot() : this.#changes();
    this.#isStale = false;
    this.#wasListed = isListed;
    this.#joined.clear();
    this.#left.clear();
    this.#setup.tell(json);
  }

  /** A list of thousands goes to every watcher, so a topic that hovers around the limit must not send one each time. */
  #lists(): boolean {
    const { membersMax } = this.#setup;
    const most = this.#isListed ? membersMax : Math.ceil(membersMax * listedAgainShare);
    this.#isListed = this.#members.size <= most;
    return this.#isListed;
  }

  #changes(): string {
    const left = [...this.#left].map((id) => JSON.stringify(id));
    return `{"count":${this.#members.size},"joined":[${this.#list(this.#joined)}],"left":[${left}]}`;
  }

  #list(ids: Iterable<string>): string {
    return Array.from(ids, (id) => {
      const data = this.#members.get(id);
      return `{"id":${JSON.stringify(id)}${data === undefined ? "" : `,"data":${data}`}}`;
    }).join();
  }
}

/** What a class says of a subscriber, as JSON. @throws StatefulError `bad_request` where it is too long, or no JSON. */
export function presenceData(topic: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  // Of a promise nothing but "{}" would be told.
  if (value instanceof Promise)
    throw new StatefulError(
      "bad_request",
      `What presence says of a subscriber of "${topic}" must not be awaited.`,
    );
  const json = JSON.stringify(value) as string | undefined; // undefined for a function or a symbol, whatever its type says
  if (json !== undefined && Buffer.byteLength(json) <= presenceDataBytesMax) return json;
  throw new StatefulError(
    "bad_request",
    `What presence says of a subscriber of "${topic}" must be JSON of ${presenceDataBytesMax} bytes at most.`,
  );
}
