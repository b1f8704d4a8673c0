import type { HostRecord } from "../lease/directory.ts";
import { refusal, refusalReason } from "./eligibility.ts";
import { withDistances } from "./nearness.ts";
import type {
  PlacementAnswer,
  PlacementQuestion,
  PlacementStrategy,
  RefusedHost,
  StrategyName,
} from "./placement.ts";
import { compareText } from "./rendezvous.ts";
import { leastLoaded } from "./strategy-least-loaded.ts";
import { nearest } from "./strategy-nearest.ts";
import { pinned } from "./strategy-pinned.ts";

const strategies: Readonly<Record<StrategyName, PlacementStrategy>> = {
  nearest,
  pinned,
  "least-loaded": leastLoaded,
};

/**
 * Who should own this object: a pure function of the question. It answers at once and queues nothing; the answer is a
 * proposal, and only the lease decides (L2). See README.md for the rules P1-P8.
 */
export function place(question: PlacementQuestion): PlacementAnswer {
  const eligible: HostRecord[] = [];
  const refused: RefusedHost[] = [];
  for (const host of question.hosts) {
    const reason = refusalReason(host, question);
    if (reason === undefined) eligible.push(host);
    else refused.push(refusal(host, reason));
  }
  const strategy = strategies[question.policy.strategy];
  return {
    ranked: strategy(withDistances(eligible, question), question.object),
    refused: refused.sort((a, b) => compareText(a.hostId, b.hostId) || compareText(a.session, b.session)),
  };
}
