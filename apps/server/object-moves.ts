import type { RouteCache } from "../../infra/edge/route-cache.ts";
import type { Activation } from "../../infra/host/activation.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import { arrivalsFull, type MoveResult } from "../../infra/host/move-ports.ts";
import type { HostLoad, HostRecord } from "../../infra/lease/directory.ts";
import type { Leases } from "../../infra/lease/leases.ts";
import { type Clock, sleep } from "../../infra/lib/clock.ts";
import { asStatefulError, StatefulError } from "../../infra/lib/errors.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import type { VersionRange } from "../../infra/lib/version-range.ts";
import type { FollowedTraffic } from "../../infra/placement/follow.ts";
import {
  type MoveCause,
  type MoveQuestion,
  moveTargets,
  noTargetInWords,
} from "../../infra/placement/move-targets.ts";
import type { PlacementPolicy, RefusalReason, RefusedHost } from "../../infra/placement/placement.ts";
import type { ObjectTraffic } from "./object-traffic.ts";

export interface ObjectMovesSetup {
  readonly self: { readonly hostId: string; readonly region: string; readonly version: string };
  readonly linkVersions?: VersionRange;
  readonly table: ActivationTable;
  readonly leases: Pick<Leases, "session" | "hosts">;
  readonly routes: RouteCache;
  readonly traffic: ObjectTraffic;
  readonly policyOf: (className: string) => PlacementPolicy;
  readonly roundTripMs: (host: HostRecord) => number | undefined;
  readonly clock: Clock;
}

export interface MovedTo extends MoveResult {
  readonly host: HostRecord;
}

/** Hosts that are asked to take one object, where those before refused. */
const targetsMax = 3;
/**
 * How long a drain asks the same target again where what else is on its way there leaves no room. Smaller: large objects go
 * farther away, or are stopped. Larger: they hold up the others that leave.
 */
export const roomWaitLimitMs = 3000;

/** Moves objects of this host to where placement would have them. */
export class ObjectMoves {
  readonly #setup: ObjectMovesSetup;
  /** Moves since a host's load figures are from, by session. */
  readonly #arriving = new Map<string, { readonly since: HostLoad; count: number }>();

  constructor(setup: ObjectMovesSetup) {
    this.#setup = setup;
  }

  /** What placement is asked about the object. `live`: its activation, which knows its traffic; one that sleeps has none. */
  question(
    ref: ObjectRef,
    live: Activation | undefined,
    cause: MoveCause,
    excluded?: ReadonlyMap<string, RefusalReason>,
  ): MoveQuestion {
    const { self, linkVersions, leases, policyOf, roundTripMs, traffic } = this.#setup;
    return {
      linkVersions,
      object: ref,
      policy: policyOf(ref.className),
      owner: { session: leases.session.id, version: self.version, region: self.region },
      cause,
      traffic: live ? traffic.sample(live).shares : [],
      hosts: leases.hosts,
      arriving: this.#counts(),
      excluded,
      roundTripMs,
    };
  }

  /**
   * Moves it to the first of the hosts that placement names which takes it. Rejects with `no_eligible_host` where none does,
   * with `move_failed` where it was called off here, and otherwise where it is over, or nobody knows.
   *
   * @param excluded who is not to be asked; what hosts refuse with goes in there, so that whoever moves many asks no host in vain
   */
  async move(
    ref: ObjectRef,
    cause: MoveCause,
    excluded = new Map<string, RefusalReason>(),
  ): Promise<MovedTo> {
    const { table } = this.#setup;
    /** A host that goes away tries another whatever went wrong with the first. */
    const failedAt = new Map<string, RefusalReason>();
    let refusal: StatefulError | undefined;
    for (let asked = 0; asked < targetsMax; asked++) {
      const question = this.question(ref, table.live(ref.key), cause, new Map([...excluded, ...failedAt]));
      const answer = moveTargets(question);
      const [best] = answer.ranked;
      if (best === undefined) throw refusal ?? noTarget(noTargetInWords(question, answer), answer.refused);
      try {
        return await (cause.kind === "drain"
          ? this.#awayTo(ref, best.host)
          : this.to(ref, best.host, cause.kind));
      } catch (thrown) {
        const error = asStatefulError(thrown, "move_failed");
        const reason = refusalReason(error);
        if (!this.#isHere(ref) || (reason === undefined && cause.kind !== "drain")) throw error;
        failedAt.set(best.host.session, reason ?? "unreachable");
        if (reason !== undefined) excluded.set(best.host.session, reason);
        refusal = error;
      }
    }
    throw refusal ?? new StatefulError("move_failed", `${ref.key} was not moved.`);
  }

  /** Moves it to that host. */
  async to(
    ref: ObjectRef,
    host: HostRecord,
    reason: MoveCause["kind"],
    followed?: FollowedTraffic,
  ): Promise<MovedTo> {
    const { table, routes, traffic } = this.#setup;
    const live = table.live(ref.key);
    const note = { reason, traffic: live && traffic.sample(live), followed };
    this.#count(host, 1);
    try {
      const result = await table.move(ref, host, { reason, isForced: reason === "drain", note });
      routes.put(ref.key, { session: result.toSession, epoch: result.epoch });
      return { ...result, host };
    } catch (thrown) {
      this.#count(host, -1);
      throw thrown;
    }
  }

  /** What goes away in order has nowhere to stay: it waits until there is room, and serves meanwhile. */
  async #awayTo(ref: ObjectRef, host: HostRecord): Promise<MovedTo> {
    const { clock } = this.#setup;
    const deadlineMs = clock.monotonicMs() + roomWaitLimitMs;
    for (;;) {
      try {
        return await this.to(ref, host, "drain");
      } catch (thrown) {
        const { details, retryAfterMs = 0 } = asStatefulError(thrown, "move_failed");
        const isFull = details?.reason === arrivalsFull;
        if (!isFull || clock.monotonicMs() + retryAfterMs > deadlineMs) throw thrown;
        await sleep(clock, retryAfterMs);
        if (!this.#isHere(ref)) throw thrown;
      }
    }
  }

  #isHere({ key }: ObjectRef): boolean {
    const { table } = this.#setup;
    return table.live(key) !== undefined || table.sleeping(key) !== undefined;
  }

  #count({ session, load }: HostRecord, by: 1 | -1): void {
    const known = this.#arriving.get(session);
    if (known?.since === load) known.count = Math.max(0, known.count + by);
    else if (by === 1) this.#arriving.set(session, { since: load, count: by });
  }

  /** Of those whose figures have not been renewed since. */
  #counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    const loads = new Map(this.#setup.leases.hosts.map(({ session, load }) => [session, load]));
    for (const [session, { since, count }] of this.#arriving) {
      if (loads.get(session) === since) counts.set(session, count);
      else this.#arriving.delete(session);
    }
    return counts;
  }
}

/** Why that host does not take it, where another may; undefined where the host is not to blame. */
function refusalReason({ code, details }: StatefulError): RefusalReason | undefined {
  switch (code) {
    case "host_draining":
      return "draining";
    case "host_full":
      return details?.reason === "object_limit" ? "object_limit" : "memory_limit";
    case "unknown_class":
      return "class_missing";
    case "no_eligible_host":
      return "outside_pinned_regions";
    case "session_over":
      return "session_over";
    case "owner_unreachable":
    case "link_overloaded":
      return "unreachable";
    case "version_mismatch":
    case "bad_request": // It could not read the offer: it is of a release that does not know such moves.
      return "other_protocol";
    default:
      return undefined;
  }
}

/** Without sessions, which are for hosts only. */
function noTarget(message: string, all: readonly RefusedHost[]): StatefulError {
  const asked = all.filter(({ reason }) => reason !== "not_wished");
  const refused = asked.map(({ hostId, region, reason }) => ({ hostId, region, reason }));
  return new StatefulError("no_eligible_host", message, { retryAfterMs: 1000, details: { refused } });
}
