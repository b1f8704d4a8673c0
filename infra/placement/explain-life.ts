import { durationInWords, hundredths, millisecondsInWords, percentInWords } from "./figures.ts";
import {
  type FollowDecision,
  type FollowQuestion,
  type FollowVerdict,
  followMove,
  shouldFollow,
} from "./follow.ts";
import { moveTargets } from "./move-targets.ts";
import { equallyNearMs, equallyNearShare } from "./nearness.ts";
import type { RankedHost, RefusalReason } from "./placement.ts";
import { refusalInWords } from "./refusal-words.ts";
import { meanDistances } from "./region-distance.ts";
import type { RegionShare } from "./traffic.ts";

/**
 * Whether an object is where its users are, as its owner sees it (P16). Plain JSON and nothing secret (P8): the owner may
 * send it to the edge that was asked. All costs are in ms for a mean round trip, rounded to hundredths.
 */
export interface ExplainedLife {
  readonly traffic: {
    /** Counted less the longer they are ago. */
    readonly events: number;
    readonly shares: readonly RegionShare[];
  };
  readonly follow: ExplainedFollow;
  /** Regions from which its users would be served faster, best first; with the host, or why there is none. */
  readonly nearer: readonly ExplainedNearer[];
}

export interface ExplainedFollow {
  readonly moves: boolean;
  readonly verdict: FollowVerdict;
  readonly why: string;
  readonly presentCostMs: number;
  readonly best: { readonly hostId: string; readonly region: string; readonly costMs: number } | null;
  readonly savesMs: number;
  readonly marginMs: number;
  readonly mayMoveInMs: number;
}

export interface ExplainedNearer {
  readonly region: string;
  readonly hostId: string;
  readonly costMs: number;
  readonly savesMs: number;
  /** Null where this host would take it. */
  readonly refused: { readonly reason: RefusalReason; readonly why: string } | null;
}

/** Regions listed in `nearer`, and in `shares`. */
const regionsListedMax = 8;

export function explainLife(question: FollowQuestion, decision = shouldFollow(question)): ExplainedLife {
  const { traffic, presentCostMs, best, savesMs, marginMs, mayMoveInMs, verdict } = decision;
  return {
    traffic: {
      events: hundredths(traffic.events),
      shares: traffic.shares
        .slice(0, regionsListedMax)
        .map(({ region, share }) => ({ region, share: hundredths(share) })),
    },
    follow: {
      moves: verdict === "move",
      verdict,
      why: followInWords(question.owner.region, decision),
      presentCostMs: hundredths(presentCostMs),
      best: best
        ? { hostId: best.host.hostId, region: best.host.region, costMs: hundredths(best.distanceMs) }
        : null,
      savesMs: hundredths(savesMs),
      marginMs: hundredths(marginMs),
      mayMoveInMs: Math.ceil(mayMoveInMs),
    },
    nearer: nearerRegions(question, presentCostMs),
  };
}

/** `stays: 82 % of its events come from nrt; iad costs 140 ms a round trip on average, nrt 12 ms; it may move in 3 min 20 s` */
export function followInWords(ownRegion: string, decision: FollowDecision): string {
  const { traffic, verdict, mayMoveInMs, limits } = decision;
  const inGeneral: Partial<Record<FollowVerdict, string>> = {
    pinned: "its class is pinned to where it is",
    switched_off: "its class has switched following off (placement.follow)",
    few_events: `${Math.floor(traffic.events) || 0} events lately are too few to follow, ${limits.eventsMin} are needed`,
    nowhere_else: "no other host may take it",
  };
  const general = inGeneral[verdict];
  if (general !== undefined) return `stays: ${[general, ...sharesInWords(traffic.shares)].join("; ")}`;
  const ending: Partial<Record<FollowVerdict, string>> = {
    near_enough: `it would move to save ${millisecondsInWords(decision.marginMs)} or more`,
    settled:
      "it has moved for this traffic before, and moves again when that changes or a new region comes up",
    too_young: `it may move in ${durationInWords(mayMoveInMs)}`,
  };
  const parts = [...sharesInWords(traffic.shares), costsInWords(ownRegion, decision), ending[verdict]];
  return `${verdict === "move" ? "moves" : "stays"}: ${parts.filter((part) => part !== undefined).join("; ")}`;
}

function sharesInWords([most]: readonly RegionShare[]): readonly string[] {
  return most ? [`${percentInWords(most.share)} of its events come from ${most.region}`] : [];
}

function costsInWords(ownRegion: string, { presentCostMs, best }: FollowDecision): string {
  const present = `${ownRegion} costs ${millisecondsInWords(presentCostMs)} a round trip on average`;
  if (!best) return present;
  const { region, hostId } = best.host;
  const name = region === ownRegion ? `${hostId} there` : region;
  return `${present}, ${name} ${millisecondsInWords(best.distanceMs)}`;
}

/** The reasons that last longest, longest first. */
const lasting: readonly RefusalReason[] = [
  "class_missing",
  "outside_pinned_regions",
  "older_version",
  "draining",
];

/** Higher for a reason that is over sooner. */
function passes(reason: RefusalReason): number {
  const place = lasting.indexOf(reason);
  return place === -1 ? lasting.length : place;
}

/** One host for each region: the one that it would go to, else the one that is refused for what is over soonest. */
function nearerRegions(question: FollowQuestion, presentCostMs: number): readonly ExplainedNearer[] {
  const asMove = followMove(question);
  const { ranked, refused } = moveTargets(asMove);
  const { toHost } = meanDistances(asMove);
  const hosts = new Map(question.hosts.map((host) => [host.session, host]));
  const reasons = new Map(refused.map(({ session, reason }) => [session, reason]));
  const passedOver = refused
    .toSorted((a, b) => passes(b.reason) - passes(a.reason))
    .flatMap(({ session }) => hosts.get(session) ?? [])
    .map((host): RankedHost => ({ host, ...toHost(host) }))
    .filter(({ host }) => host.session !== question.owner.session);
  const atLeastMs = Math.max(equallyNearMs, presentCostMs * equallyNearShare);
  const byRegion = Map.groupBy(
    [...ranked, ...passedOver].filter(({ distanceMs }) => presentCostMs - distanceMs > atLeastMs),
    ({ host }) => host.region,
  );
  return [...byRegion.values()]
    .flatMap(([first]) => first ?? [])
    .sort((a, b) => a.distanceMs - b.distanceMs)
    .slice(0, regionsListedMax)
    .map(({ host, distanceMs }) => {
      const reason = reasons.get(host.session);
      const why = reason && refusalInWords(reason, question, host, question.owner.version);
      return {
        region: host.region,
        hostId: host.hostId,
        costMs: hundredths(distanceMs),
        savesMs: hundredths(presentCostMs - distanceMs),
        refused: reason && why ? { reason, why } : null,
      };
    });
}
