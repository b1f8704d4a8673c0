import type { HostRecord } from "../lease/directory.ts";
import type { ObjectRef } from "../lib/object-ref.ts";

/** What a class asks of placement. */
export interface PlacementPolicy {
  /** `nearest`: to the caller. `pinned`: nearest, within `regions`. `least-loaded`: emptiest host in the nearest region. */
  readonly strategy: StrategyName;
  /**
   * Regions the object may live in, whatever the strategy. Empty: anywhere; except under `pinned`, where it is a mistake
   * and no host is eligible, because an object that was to be kept in place must not wander (P2).
   */
  readonly regions: readonly string[];
}

export type StrategyName = "nearest" | "pinned" | "least-loaded";

export interface PlacementQuestion {
  readonly object: ObjectRef;
  readonly policy: PlacementPolicy;
  /** Region of the edge that the caller came in at. */
  readonly callerRegion: string;
  /** Hosts whose sessions are alive, as far as the asking edge knows. No session twice. */
  readonly hosts: readonly HostRecord[];
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

/** The last two are never found by `place`: the edge learns them by asking the host, and adds them to the answer. */
export type RefusalReason =
  | "class_missing"
  | "draining"
  | "outside_pinned_regions"
  | "object_limit"
  | "memory_limit"
  | "unreachable"
  | "session_over";

/** One way to order the hosts that are eligible. Pure, and blind to the order in which it gets them (P5). */
export type PlacementStrategy = (eligible: readonly RankedHost[], object: ObjectRef) => readonly RankedHost[];
