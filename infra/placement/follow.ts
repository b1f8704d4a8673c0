import { type MoveQuestion, moveTargets } from "./move-targets.ts";
import type { RankedHost } from "./placement.ts";
import { meanDistances } from "./region-distance.ts";
import type { RegionShare, TrafficSample } from "./traffic.ts";

/**
 * Whether an object should move to where its users are. Every event costs its caller a round trip from the region where it
 * came in to the host of the object; the mean of that over the traffic is what the object costs where it is, and what it
 * would cost elsewhere (P12). It follows where elsewhere is cheaper by so much that a pause of the object is worth it (P13).
 *
 * The danger is an object that goes back and forth. With one measure for all distances it cannot: it goes where the cost is
 * smallest, so from there nothing is cheaper. But each owner sees other figures, since each has measured only the ways that
 * begin at itself. So the object carries along what it moved for, and under that same traffic it moves again only to a region
 * that was not to be had then (P14).
 */
export interface FollowQuestion extends Omit<MoveQuestion, "cause" | "traffic"> {
  readonly traffic: TrafficSample;
  /** How long it has been active at this owner. */
  readonly activeForMs: number;
  /** From `followed`, where it was such a move that brought it here. Any other move or start ends it. */
  readonly followed?: FollowedTraffic | undefined;
}

/** What a follow move carries along: what it was made for, and where it could have gone. */
export interface FollowedTraffic {
  readonly shares: readonly RegionShare[];
  readonly regions: readonly string[];
}

export interface FollowLimits {
  /** It has to save this much of a round trip, in ms, */
  readonly savesMinMs: number;
  /** and this share of what a round trip costs now. */
  readonly savesMinShare: number;
  /** An activation is left where it is for this long. */
  readonly activeMinMs: number;
  /** Events in the sample, so that one request moves nothing. */
  readonly eventsMin: number;
  /** Traffic is another when this share of it comes from elsewhere. */
  readonly trafficChangedShare: number;
}

export const followLimits: FollowLimits = {
  savesMinMs: 20,
  savesMinShare: 0.3,
  activeMinMs: 5 * 60_000,
  eventsMin: 20,
  trafficChangedShare: 0.2,
};

/**
 * `pinned`, `switched_off`: the class does not want it. `few_events`: too little is known. `nowhere_else`: no other host may
 * take it. `near_enough`: none saves enough. `settled`: one would, but it has moved for this traffic already. `too_young`: it
 * will be moved, in `mayMoveInMs`. `move`: now, if the budget allows.
 */
export type FollowVerdict =
  | "pinned"
  | "switched_off"
  | "few_events"
  | "nowhere_else"
  | "near_enough"
  | "settled"
  | "too_young"
  | "move";

/** The decision, and all that it was made from. */
export interface FollowDecision {
  readonly verdict: FollowVerdict;
  readonly traffic: TrafficSample;
  /** What a round trip costs on average where it is. */
  readonly presentCostMs: number;
  /** Where it would go, and what a round trip would cost there. */
  readonly best: RankedHost | undefined;
  /** Below 0 where the best other host costs more. 0 where there is none. */
  readonly savesMs: number;
  /** What it would have to save. */
  readonly marginMs: number;
  /** How much longer it stays for its age alone. */
  readonly mayMoveInMs: number;
  /** Regions in which a host would take it, and its own. */
  readonly regions: readonly string[];
  readonly limits: FollowLimits;
}

export function shouldFollow(question: FollowQuestion, limits = followLimits): FollowDecision {
  const { traffic, owner, followed } = question;
  const asMove = followMove(question);
  const { ranked } = moveTargets(asMove);
  const presentCostMs = meanDistances(asMove).toOwner.distanceMs;
  const marginMs = Math.max(limits.savesMinMs, limits.savesMinShare * presentCostMs);
  const isWorthIt = (target: RankedHost | undefined) =>
    target !== undefined && presentCostMs - target.distanceMs >= marginMs;
  const isSettled = followed !== undefined && !hasChanged(followed, traffic, limits);
  // Under the traffic that it came for only what was not there yet counts; the first of all is shown as what it passes up.
  const open = isSettled ? ranked.find(({ host }) => !followed.regions.includes(host.region)) : ranked[0];
  const best = isWorthIt(open) ? open : ranked[0];
  const mayMoveInMs = Math.max(0, limits.activeMinMs - Math.max(0, question.activeForMs));
  const found = { isWorthIt: isWorthIt(best), isOpen: best === open, mayMoveInMs };
  return {
    verdict: switchedOff(question) ?? tooFew(traffic, limits) ?? (best ? verdictOn(found) : "nowhere_else"),
    traffic,
    presentCostMs,
    best,
    savesMs: best ? presentCostMs - best.distanceMs : 0,
    marginMs,
    mayMoveInMs,
    regions: [...new Set([owner.region, ...ranked.map(({ host }) => host.region)])],
    limits,
  };
}

/** The same question as one for targets. */
export function followMove(question: FollowQuestion): MoveQuestion {
  return { ...question, cause: { kind: "follow" }, traffic: question.traffic.shares };
}

/** What a move that is made because of this decision has to carry along. */
export function followedTraffic(question: FollowQuestion, decision: FollowDecision): FollowedTraffic {
  const { followed, traffic } = question;
  const before = followed && !hasChanged(followed, traffic, decision.limits) ? followed : undefined;
  return {
    // What it first moved for: else traffic that changes a little at every move would never be another.
    shares: before?.shares ?? traffic.shares,
    regions: [...new Set([...decision.regions, ...(before?.regions ?? [])])],
  };
}

/** The share of the traffic that would have to come from other regions to make one mix the other: 0 to 1. */
export function trafficDifference(a: readonly RegionShare[], b: readonly RegionShare[]): number {
  const difference = new Map<string, number>();
  for (const { region, share } of a) difference.set(region, (difference.get(region) ?? 0) + share);
  for (const { region, share } of b) difference.set(region, (difference.get(region) ?? 0) - share);
  return [...difference.values()].reduce((sum, share) => sum + Math.abs(share), 0) / 2;
}

function hasChanged(
  { shares }: FollowedTraffic,
  traffic: TrafficSample,
  { trafficChangedShare }: FollowLimits,
): boolean {
  return trafficDifference(shares, traffic.shares) >= trafficChangedShare;
}

function switchedOff({ policy }: FollowQuestion): FollowVerdict | undefined {
  if (policy.strategy === "pinned" || policy.regions.length === 1) return "pinned";
  return policy.follow === false ? "switched_off" : undefined;
}

function tooFew({ events }: TrafficSample, { eventsMin }: FollowLimits): FollowVerdict | undefined {
  // Also where it is not a number.
  return events >= eventsMin ? undefined : "few_events";
}

interface Found {
  readonly isWorthIt: boolean;
  readonly isOpen: boolean;
  readonly mayMoveInMs: number;
}

function verdictOn({ isWorthIt, isOpen, mayMoveInMs }: Found): FollowVerdict {
  if (!isWorthIt) return "near_enough";
  if (!isOpen) return "settled";
  return mayMoveInMs > 0 ? "too_young" : "move";
}
