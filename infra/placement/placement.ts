import type { HostRecord } from "../lease/directory.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { VersionRange } from "../lib/version-range.ts";

/** What a class asks of placement. */
export interface PlacementPolicy {
  /** `nearest`: to the caller. `pinned`: nearest, within `regions`. `least-loaded`: emptiest host in the nearest region. */
  readonly strategy: StrategyName;
  /**
   * Regions the object may live in, whatever the strategy. Empty: anywhere; except under `pinned`, where it is a mistake
   * and no host is eligible, because an object that was to be kept in place must not wander (P2).
   */
  readonly regions: readonly string[];
  /** Whether objects move after their users (P13). Missing: they do. Under `pinned` they never do. */
  readonly follow?: boolean | undefined;
}

export type StrategyName = "nearest" | "pinned" | "least-loaded";

export interface PlacementQuestion {
  readonly object: ObjectRef;
  readonly policy: PlacementPolicy;
  /** Region of the edge that the caller came in at. */
  readonly callerRegion: string;
  /** Hosts whose sessions are alive, as far as the asking edge knows. No session twice. */
  readonly hosts: readonly HostRecord[];
  /**
   * Hosts that were asked and did not take it, by session, and why. They belong here and not in a filter behind `place`:
   * a newest version of which no host takes the object must not make the older ones ineligible (P9).
   */
  readonly excluded?: ReadonlyMap<string, RefusalReason> | undefined;
  /** Versions of the links between hosts that the asking host speaks. Missing: whatever the hosts speak will do. */
  readonly linkVersions?: VersionRange | undefined;
  /** Measured round trip from the asking edge to a host, where there is one. 0 for the edge itself. */
  roundTripMs(host: HostRecord): number | undefined;
}

export interface PlacementAnswer {
  /** Best first. Empty where nobody is eligible. */
  readonly ranked: readonly RankedHost[];
  /** Every host that was passed over, with the reason; what `no_eligible_host` and explain show. */
  readonly refused: readonly RefusedHost[];
}

export interface RankedHost {
  readonly host: HostRecord;
  /** What the ranking went by. */
  readonly distanceMs: number;
  readonly distanceFrom: DistanceSource;
}

/**
 * `measured`: on the link to this very host. `neighbour`: the smallest that was measured to another host of its region.
 * `estimated`: from the great circle between the regions.
 */
export type DistanceSource = "measured" | "neighbour" | "estimated";

export interface RefusedHost {
  readonly session: string;
  readonly hostId: string;
  readonly region: string;
  readonly reason: RefusalReason;
}

/**
 * `present_owner`, `not_wished` and `little_room` are found for moves only. `unreachable` and `session_over` are never found
 * here: the edge learns them by asking the host.
 */
export type RefusalReason =
  | "class_missing"
  | "outside_pinned_regions"
  | "older_version"
  | "other_protocol"
  | "draining"
  | "object_limit"
  | "memory_limit"
  | "overloaded"
  | "present_owner"
  | "not_wished"
  | "little_room"
  | "unreachable"
  | "session_over";

/** One way to order the hosts that are eligible. Pure, and blind to the order in which it gets them (P5). */
export type PlacementStrategy = (eligible: readonly RankedHost[], object: ObjectRef) => readonly RankedHost[];
