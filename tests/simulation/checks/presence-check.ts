/** What a host says of who is subscribed: all of them, or what has changed. */
export interface PresenceFrame {
  readonly count?: number;
  readonly members?: readonly { readonly id: string }[];
  readonly joined?: readonly { readonly id: string }[];
  readonly left?: readonly string[];
}

/** What one watcher is told of who is subscribed (T7): it adds up at every moment. In the end it is looked at whether it is so. */
export class PresenceCheck {
  readonly #wrong: (what: string) => void;
  #members: Set<string> | undefined;

  constructor(wrong: (what: string) => void) {
    this.#wrong = wrong;
  }

  /** Sorted; undefined before it is told. */
  get members(): readonly string[] | undefined {
    return this.#members && [...this.#members].sort();
  }

  /** It has asked anew, and is told everybody first. */
  subscribing(): void {
    this.#members = undefined;
  }

  told({ count, members, joined = [], left = [] }: PresenceFrame): void {
    if (members) {
      this.#members = new Set(members.map(({ id }) => id));
      if (this.#members.size !== members.length) this.#wrong("was told of somebody twice in one list");
    }
    const known = this.#members;
    if (known === undefined) return this.#wrong("was told what has changed before it was told who is there");
    // What was gathered before its list was made may be in the list already.
    for (const id of left) known.delete(id);
    for (const { id } of joined) known.add(id);
    if (count !== known.size) this.#wrong(`was told that ${count} are there, and of ${known.size}`);
  }
}
