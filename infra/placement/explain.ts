import type { HostRecord } from "../lease/directory.ts";
import type {
  DistanceSource,
  PlacementAnswer,
  PlacementPolicy,
  PlacementQuestion,
  RefusalReason,
} from "./placement.ts";
import { loadShare } from "./strategy-least-loaded.ts";

/**
 * What `GET /-/explain/:class/:id` answers about placement: the reasoning of `place` for a person who asks why an object is
 * where it is, or nowhere. Plain JSON. It carries no address of a host and no session: both are for hosts only (P8).
 */
export interface PlacementExplanation {
  readonly object: { readonly class: string; readonly id: string; readonly key: string };
  readonly askedFrom: { readonly region: string };
  /** Null where the edge that answers knows of none. */
  readonly owner: ExplainedOwner | null;
  readonly policy: PlacementPolicy;
  /** Where it would go if it started now, best first. An object that has an owner stays there. */
  readonly candidates: readonly ExplainedCandidate[];
  readonly refused: readonly ExplainedRefusal[];
}

export interface ExplainedOwner {
  readonly hostId: string;
  readonly region: string;
  readonly epoch: number;
}

export interface ExplainedCandidate {
  readonly rank: number;
  readonly hostId: string;
  readonly region: string;
  /** Rounded to hundredths. */
  readonly distanceMs: number;
  readonly distanceFrom: DistanceSource;
  /** How full the host is by its tighter limit, 0 to 1, rounded to hundredths. */
  readonly load: number;
}

export interface ExplainedRefusal {
  readonly hostId: string;
  readonly region: string;
  readonly reason: RefusalReason;
  readonly why: string;
}

/** `answer` is what `place` said, with the refusals of hosts that the edge has asked since. */
export function explain(
  question: PlacementQuestion,
  answer: PlacementAnswer,
  owner: ExplainedOwner | undefined,
): PlacementExplanation {
  const { object, policy, callerRegion } = question;
  const hosts = new Map(question.hosts.map((host) => [host.session, host]));
  return {
    object: { class: object.className, id: object.id, key: object.key },
    askedFrom: { region: callerRegion },
    // Copied by name: what the caller passes may know more than a client should.
    owner: owner ? { hostId: owner.hostId, region: owner.region, epoch: owner.epoch } : null,
    policy: { strategy: policy.strategy, regions: policy.regions },
    candidates: answer.ranked.map(({ host, distanceMs, distanceFrom }, index) => ({
      rank: index + 1,
      hostId: host.hostId,
      region: host.region,
      distanceMs: hundredths(distanceMs),
      distanceFrom,
      load: hundredths(loadShare(host.load)),
    })),
    refused: answer.refused.map(({ session, hostId, region, reason }) => ({
      hostId,
      region,
      reason,
      why: refusalInWords(reason, question, hosts.get(session)),
    })),
  };
}

/** One sentence that names the figures. `host` is missing where the record is gone since the refusal. */
export function refusalInWords(
  reason: RefusalReason,
  { object, policy }: PlacementQuestion,
  host: HostRecord | undefined,
): string {
  const load = host?.load;
  switch (reason) {
    case "class_missing":
      return `It does not have the class "${object.className}": ${classesInWords(host)}.`;
    case "outside_pinned_regions":
      return policy.regions.length === 0
        ? "The class is pinned and names no region. Set placement.regions."
        : `The class may live in ${policy.regions.join(", ")} only.`;
    case "draining":
      return "It is going away and takes nothing new.";
    case "object_limit":
      return load
        ? `It holds ${load.objects} objects of at most ${load.objectsMax}.`
        : "It is at its object limit.";
    case "memory_limit":
      return load
        ? `It uses ${mebibytes(load.memoryUsedBytes)} MiB of at most ${mebibytes(load.memoryLimitBytes)} MiB.`
        : "It is at its memory limit.";
    case "unreachable":
      return "It could not be reached from the edge that asked.";
    case "session_over":
      return "Its session in the directory was over when it was asked.";
  }
}

const classesListedMax = 20;

function classesInWords(host: HostRecord | undefined): string {
  if (!host || host.classes.length === 0) return "it runs none";
  const listed = host.classes.slice(0, classesListedMax).join(", ");
  const more = host.classes.length - classesListedMax;
  return more > 0 ? `it runs ${listed} and ${more} more` : `it runs ${listed}`;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1024 ** 2);
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
