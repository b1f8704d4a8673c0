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
  readonly left?: readonly (Member | string)[];
}

/** Keeps the list of members from what is told of it: the whole, or what has changed. */
export class PresenceList {
  #members: Map<string, Member> | undefined;
  #last: Presence | undefined;

  get last(): Presence | undefined {
    return this.#last;
  }

  apply({ count, members, joined = [], left = [] }: PresenceFrame): Presence {
    const known = this.#members;
    const gone = left.map((who) => (typeof who === "string" ? { id: who } : who));
    const isChange = members === undefined && joined.length + gone.length > 0;
    if (members) this.#members = new Map(members.map((member) => [member.id, member]));
    else if (!isChange && known?.size !== count) this.#members = undefined;
    const leaving = gone.map(({ id }) => known?.get(id) ?? { id });
    if (isChange) {
      for (const { id } of gone) this.#members?.delete(id);
      for (const member of joined) this.#members?.set(member.id, member);
    }
    this.#last = {
      count,
      members: this.#members && [...this.#members.values()],
      joined: members ? [] : joined,
      left: members ? [] : leaving,
    };
    return this.#last;
  }
}
