/** One connection that listens to a topic. `data` is what the class says of it. */
export interface Member {
  readonly id: string;
  readonly data?: unknown;
}

export interface Presence {
  /** How many listen. A client that needs a second connection for a topic counts twice for that while. */
  readonly count: number;
  /** Undefined where there are more than the class lists. */
  readonly members: readonly Member[] | undefined;
  /** Since the last time; empty where the list begins or was replaced. */
  readonly joined: readonly Member[];
  readonly left: readonly Member[];
}

export interface PresenceFrame {
  readonly count: number;
  readonly members?: readonly Member[];
  readonly joined?: readonly Member[];
  /** Ids. */
  readonly left?: readonly string[];
}

/** Keeps the list of members from what is told of it: the whole, what has changed, or only how many there are. */
export class PresenceList {
  #members: Map<string, Member> | undefined;
  #last: Presence | undefined;

  get last(): Presence | undefined {
    return this.#last;
  }

  apply({ count, members, joined, left = [] }: PresenceFrame): Presence {
    const leaving = left.map((id) => this.#members?.get(id) ?? { id });
    if (!joined) this.#members = members && new Map(members.map((member) => [member.id, member]));
    for (const id of left) this.#members?.delete(id);
    for (const member of joined ?? []) this.#members?.set(member.id, member);
    this.#last = {
      count,
      members: this.#members && [...this.#members.values()],
      joined: joined ?? [],
      left: leaving,
    };
    return this.#last;
  }
}
