import type { Closed, Listening, ListenerKind, Told } from "./listening.ts";
import type { PresenceTold, Watching } from "./presence-check.ts";

/** What a listener writes down of one topic, and where it would go on. */
export class Notebook implements Listening {
  readonly listener: string;
  readonly kind: ListenerKind;
  readonly address: string;
  readonly told: Told[] = [];
  /** The last position that it was given. */
  position: string | undefined;
  /** Whether it is subscribed now; of a raw socket, open. */
  isOpen = false;
  #presence: PresenceTold[] = [];

  constructor(listener: string, kind: ListenerKind, address: string) {
    this.listener = listener;
    this.kind = kind;
    this.address = address;
  }

  /** What it was told of who is there, over the connection that it has. */
  get watching(): Watching {
    return { listener: this.listener, address: this.address, told: this.#presence };
  }

  opened(): void {
    this.isOpen = true;
    this.told.push({ kind: "opened", atMs: performance.now() });
  }

  subscribed(since: string | undefined, position: string | undefined, recovered: boolean | undefined): void {
    this.isOpen = true;
    this.position = position ?? this.position;
    this.told.push({ kind: "subscribed", atMs: performance.now(), since, position, recovered });
  }

  /** @param text in which the message is, whatever the form in which it was published */
  heard(text: string, position?: string): void {
    this.position = position ?? this.position;
    this.told.push({ kind: "message", atMs: performance.now(), message: messageIn(text), position });
  }

  presence(told: PresenceTold): void {
    this.#presence.push(told);
  }

  /** It is subscribed no longer. `closed`: and did not want that. */
  ended(closed?: Pick<Closed, "edge" | "code">): void {
    if (closed && this.isOpen) this.told.push({ kind: "closed", atMs: performance.now(), ...closed });
    this.isOpen = false;
    this.#presence = [];
  }
}

/** Messages of a run are called like `p3:17`. */
function messageIn(text: string): string {
  return /\w+:\d+/.exec(text)?.[0] ?? text;
}
