import type { HostRecord } from "../lease/directory.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { RankedHost } from "./placement.ts";

/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998): every pair of object and host has a score that all edges compute alike,
 * and the highest score comes first. So objects spread evenly over equal hosts without anyone keeping count; edges that
 * race for a fresh object ask the same host first; and a host that comes or goes changes the choice only for the objects
 * that it gains or loses. Load figures could not do this: they are a renewal interval old, so every edge would send
 * everything to the same host until the next renewal.
 */
export function spread(hosts: readonly RankedHost[], object: ObjectRef): RankedHost[] {
  const scored = hosts.map((ranked) => ({
    ranked,
    score: rendezvousScore(object.key, ranked.host.hostId),
  }));
  scored.sort((a, b) => b.score - a.score || compareText(a.ranked.host.session, b.ranked.host.session));
  return scored.map(({ ranked }) => ranked);
}

/**
 * The same in proportion to weights, which are 0 or more (Schindelhauer and Schomaker, 2005): a host's chance of coming first
 * is its share of the sum of all weights, and one whose weight changes gains or loses only the objects that this concerns.
 * Logarithms may differ in the last bit from one version of Bun to the next; here only one host asks.
 */
export function spreadByWeight(
  hosts: readonly RankedHost[],
  object: ObjectRef,
  weightOf: (host: HostRecord) => number,
): RankedHost[] {
  const scored = hosts.map((ranked) => {
    // Above 0 and below 1, whatever the score.
    const chance = (rendezvousScore(object.key, ranked.host.hostId) + 0.5) / 2 ** 32;
    return { ranked, score: weightOf(ranked.host) / -Math.log(chance) };
  });
  scored.sort((a, b) => b.score - a.score || compareText(a.ranked.host.session, b.ranked.host.session));
  return scored.map(({ ranked }) => ranked);
}

/**
 * An evenly spread number of 32 bits: FNV-1a over the two texts, then the finalizer of MurmurHash3, because FNV
 * alone leaves the scores of hosts with similar names in similar order. Written out here since hosts
 * with different versions of Bun must agree. Not a secret: whoever chooses ids can choose where they land.
 */
export function rendezvousScore(objectKey: string, hostId: string): number {
  let hash = 0x811c9dc5;
  // A key never contains a line break, so no two pairs are the same text.
  const text = `${objectKey}\n${hostId}`;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** By code unit, not by locale: the same on every machine. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
