import type { Offence } from "../offence.ts";

export interface Member {
  readonly id: string;
  readonly data?: string;
}

/** As `infra/topics/PROTOCOL.md` has it. */
export interface PresenceTold {
  readonly count: number;
  readonly members?: readonly Member[];
  readonly joined?: readonly Member[];
  readonly left?: readonly string[];
}

/** What one watcher of a topic was told over the connection that it has. */
export interface Watching {
  readonly listener: string;
  readonly address: string;
  readonly told: readonly PresenceTold[];
}

/** The names of those who are there, for one who believes all that it is told; sorted. */
export function namesIn(told: readonly PresenceTold[]): string[] {
  const there = new Map<string, string>();
  for (const { members, joined = [], left = [] } of told) {
    if (members) there.clear();
    for (const id of left) there.delete(id);
    for (const { id, data } of members ?? joined) there.set(id, data ?? id);
  }
  return [...there.values()].sort();
}

/** Once nobody comes or leaves any more: whether every watcher's list is who is there. @param connected names, by address */
export function checkPresence(
  watchings: readonly Watching[],
  connected: ReadonlyMap<string, readonly string[]>,
): Offence[] {
  return watchings.flatMap(({ listener, address, told }): Offence[] => {
    const there = (connected.get(address) ?? []).toSorted();
    const seen = namesIn(told);
    const count = told.at(-1)?.count;
    if (seen.join() === there.join() && count === there.length) return [];
    const missing = there.filter((name) => !seen.includes(name));
    const gone = seen.filter((name, index) => !there.includes(name) || seen.indexOf(name) !== index);
    const text = `${address}: ${count} are there of ${there.length}; missing: ${missing.join(" ") || "none"}; too many: ${gone.join(" ") || "none"}`;
    return [{ kind: "absent", client: listener, text }];
  });
}
