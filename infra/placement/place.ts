import type { HostRecord } from "../lease/directory.ts";
import { inOrder, refusal, refusalReason } from "./eligibility.ts";
import { withDistances } from "./nearness.ts";
import type {
  PlacementAnswer,
  PlacementQuestion,
  PlacementStrategy,
  RefusedHost,
  StrategyName,
} from "./placement.ts";
import { leastLoaded } from "./strategy-least-loaded.ts";
import { nearest } from "./strategy-nearest.ts";
import { pinned } from "./strategy-pinned.ts";
import { newestVersion } from "./version-order.ts";

const strategies: Readonly<Record<StrategyName, PlacementStrategy>> = {
  nearest,
  pinned,
  "least-loaded": leastLoaded,
};

/**
 * Who should own this object: a pure function of the question. It answers at once and queues nothing; the answer is a
 * proposal, and only the lease decides (L2). See README.md for the rules P1-P9.
 */
export function place(question: PlacementQuestion): PlacementAnswer {
  const eligible: HostRecord[] = [];
  const refused: RefusedHost[] = [];
  for (const host of question.hosts) {
    const reason = refusalReason(host, question) ?? question.excluded?.get(host.session);
    if (reason === undefined) eligible.push(host);
    else refused.push(refusal(host, reason));
  }
  // Only now: a host that may not take the object must not keep those of older versions from it (P9).
  const newest = newestVersion(new Set(eligible.map(({ version }) => version)));
  const { current = [], older = [] } = Object.groupBy(eligible, ({ version }) =>
    version === newest ? "current" : "older",
  );
  refused.push(...older.map((host) => refusal(host, "older_version")));
  const strategy = strategies[question.policy.strategy];
  return {
    ranked: strategy(withDistances(current, question), question.object),
    refused: inOrder(refused),
  };
}
