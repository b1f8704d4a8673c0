import type { ExplainedLife } from "./explain-life.ts";
import { hundredths } from "./figures.ts";
import type { MoveCause } from "./move-targets.ts";
import type {
  DistanceSource,
  PlacementAnswer,
  PlacementPolicy,
  PlacementQuestion,
  RefusalReason,
} from "./placement.ts";
import { refusalInWords } from "./refusal-words.ts";
import { loadShare } from "./strategy-least-loaded.ts";

/**
 * What `GET /-/explain/:class/:id` answers about placement: the reasoning of `place` for a person who asks why an object is
 * where it is, or nowhere. Plain JSON. It carries no address of a host and no session: both are for hosts only (P8).
 *
 * Of an object that lives, `traffic`, `follow` and `nearer` say whether it is where its users are (P16). Only its owner knows;
 * they are missing where it was not asked.
 */
export interface PlacementExplanation extends Partial<ExplainedLife> {
  readonly object: { readonly class: string; readonly id: string; readonly key: string };
  readonly askedFrom: { readonly region: string };
  /** Null where the edge that answers knows of none. */
  readonly owner: ExplainedOwnership | null;
  readonly policy: PlacementPolicy;
  /** Where it would go if it started now, best first. An object that has an owner stays there. */
  readonly candidates: readonly ExplainedCandidate[];
  readonly refused: readonly ExplainedRefusal[];
}

/** What is known about the owner. */
export interface ExplainedOwner {
  readonly hostId: string;
  readonly region: string;
  readonly epoch: number;
  /** When it started there, in ms since the Unix epoch. */
  readonly sinceMs?: number | undefined;
  /** Why it started: the `reason` that `onStart` was given. */
  readonly reason?: string | undefined;
  /** Why it was moved, where `reason` is "move". */
  readonly movedFor?: MoveCause["kind"] | undefined;
}

export interface ExplainedOwnership {
  readonly hostId: string;
  readonly region: string;
  readonly epoch: number;
  /** ISO 8601. */
  readonly since?: string;
  readonly reason?: string;
  readonly movedFor?: MoveCause["kind"];
  /** The reason in words. */
  readonly why?: string;
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

/**
 * `answer` is what `place` said, with the refusals of hosts that the edge has asked since; `life` what `explainLife` said at
 * the owner.
 */
export function explain(
  question: PlacementQuestion,
  answer: PlacementAnswer,
  owner: ExplainedOwner | undefined,
  life?: ExplainedLife,
): PlacementExplanation {
  const { object, policy, callerRegion } = question;
  const hosts = new Map(question.hosts.map((host) => [host.session, host]));
  const newest = answer.ranked[0]?.host.version;
  return {
    object: { class: object.className, id: object.id, key: object.key },
    askedFrom: { region: callerRegion },
    owner: owner ? explainOwner(owner) : null,
    policy: { strategy: policy.strategy, regions: policy.regions, ...known({ follow: policy.follow }) },
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
      why: refusalInWords(reason, question, hosts.get(session), newest),
    })),
    ...(life && { traffic: life.traffic, follow: life.follow, nearer: life.nearer }),
  };
}

/** Copied by name: what the caller passes may know more than a client should. */
function explainOwner({
  hostId,
  region,
  epoch,
  sinceMs,
  reason,
  movedFor,
}: ExplainedOwner): ExplainedOwnership {
  const why = reason === undefined ? undefined : startInWords(reason, movedFor);
  return { hostId, region, epoch, ...known({ since: isoTime(sinceMs), reason, movedFor, why }) };
}

const movesInWords: Readonly<Record<MoveCause["kind"], string>> = {
  drain: "because its host went away",
  memory: "because its host was short of memory",
  follow: "to be nearer to its users",
  operator: "by hand",
};

const startsInWords: ReadonlyMap<string, string> = new Map([
  ["create", "It was created here."],
  ["wake", "It woke up here."],
  ["crash", "It was taken over here after its host was lost."],
]);

function startInWords(reason: string, movedFor: MoveCause["kind"] | undefined): string {
  if (reason === "move") return `It was moved here${movedFor ? ` ${movesInWords[movedFor]}` : ""}.`;
  return startsInWords.get(reason) ?? `It started here (${reason}).`;
}

function isoTime(epochMs: number | undefined): string | undefined {
  const time = new Date(epochMs ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

type Known<Fields> = { readonly [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };

/** The fields that have a value: what nobody knows is missing, and not there as nothing. */
function known<Fields extends object>(fields: Fields): Known<Fields> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  // `fromEntries` forgets which names it was given; they are those of `fields`.
  return Object.fromEntries(entries) as Known<Fields>;
}
