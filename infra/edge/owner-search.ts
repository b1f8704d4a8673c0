import type { Activation } from "../host/activation.ts";
import type { ActivationTable, Elsewhere } from "../host/activation-table.ts";
import type { HostRecord, LeaseHint } from "../lease/directory.ts";
import type { Leases } from "../lease/leases.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { VersionRange } from "../lib/version-range.ts";
import { place } from "../placement/place.ts";
import type {
  PlacementAnswer,
  PlacementPolicy,
  PlacementQuestion,
  RefusalReason,
} from "../placement/placement.ts";
import type { RouteCache } from "./route-cache.ts";

export interface SearchSetup {
  readonly region: string;
  readonly table: ActivationTable;
  readonly leases: Leases;
  readonly routes: RouteCache;
  readonly policyOf: (className: string) => PlacementPolicy;
  /** Whether any host has ever been seen to run the class. */
  readonly isKnownClass: (className: string) => boolean;
  /** Asks the directory which hosts are alive, unless that was done a moment ago. Never rejects. */
  readonly refreshHosts: () => Promise<unknown>;
  readonly roundTripMs: (host: HostRecord) => number | undefined;
  /** Versions of the links between hosts that this one speaks. Missing: whatever the hosts speak will do. */
  readonly linkVersions?: VersionRange | undefined;
}

/** Where the next offer goes. `own`: to the owner that somebody knows of. `place`: to a host that may take the object. */
export type Location<Here> =
  | { readonly kind: "here"; readonly here: Here }
  | {
      readonly kind: "there";
      readonly host: HostRecord;
      readonly intent: "own" | "place";
      readonly route: KnownOwner | undefined;
    };

/** What a search is for: an event wants a live activation; sockets that lost their owner want the object's edges, asleep or not. */
export interface Taking<Here> {
  /** Where it is here already. */
  live(): Here | undefined;
  /** Takes the object for this host, or tells who has it. */
  take(when: "free" | "mine"): Promise<Here | Elsewhere>;
}

/** `chain`: the objects that wait for the answer. A call back to one of them while it starts or stops would wait for ever. */
export function activating(
  table: ActivationTable,
  ref: ObjectRef,
  chain: readonly string[] = [],
): Taking<Activation> {
  return { live: () => table.live(ref.key), take: (when) => table.activate(ref, when, chain) };
}

/** `certain`: the primary said so, in this search. */
interface KnownOwner extends LeaseHint {
  readonly certain: boolean;
}

/** Errors after which another host may be asked to take the object. */
const askAnother: ReadonlySet<string> = new Set([
  "host_full",
  "host_draining",
  "unknown_class",
  "no_eligible_host",
]);

/**
 * The look-up path of an edge (rule L5): own activations → route cache → replica → the primary, by trying to take the
 * object where placement wants it. Everything before the last step may be stale, and then costs one hop: the host that
 * was asked refuses and says whom it knows, and the search goes on from there.
 *
 * One search serves one request, or the sockets of one object. It never takes an object over: a lease that is alive is obeyed even where its owner
 * cannot be reached.
 */
export class OwnerSearch<Here extends object> {
  readonly #setup: SearchSetup;
  readonly #ref: ObjectRef;
  readonly #taking: Taking<Here>;
  #learned: KnownOwner | undefined;
  /** Why a host that seems to be the owner was passed over: the better answer where nobody else may take the object. */
  #unreachable: { readonly session: string; readonly error: StatefulError } | undefined;
  /** What `next` waits for, should that take too long. */
  #waitsFor = "the directory";
  #hasAskedCache = false;
  #hasAskedReplica = false;
  readonly #excluded = new Map<string, RefusalReason>();
  /**
   * Sessions that were asked as owners and were not, with the epoch of whoever named them: no hint leads there twice, unless
   * it is of a later epoch, since an object may have moved there meanwhile.
   */
  readonly #notOwners = new Map<string, number>();

  constructor(setup: SearchSetup, ref: ObjectRef, taking: Taking<Here>) {
    this.#setup = setup;
    this.#ref = ref;
    this.#taking = taking;
  }

  /** @throws StatefulError `unknown_class`, `no_eligible_host`, `owner_unreachable`, or why the directory refused. */
  async next(): Promise<Location<Here>> {
    const { table, leases, isKnownClass, refreshHosts } = this.#setup;
    const live = this.#taking.live();
    if (live) return { kind: "here", here: live };
    table.checkNotWaiting(this.#ref);
    if (!isKnownClass(this.#ref.className)) {
      this.#waitsFor = "the directory, asked which hosts are alive,";
      await refreshHosts();
    }
    if (!isKnownClass(this.#ref.className)) throw unknownClass(this.#ref);
    // What starts, moves or sleeps here is waited for, or woken: nobody else could say more of it.
    if (table.isChanging(this.#ref.key) || table.sleeping(this.#ref.key)) {
      const mine = await this.#takeHere("mine");
      if (mine) return mine;
    }
    for (;;) {
      const route = await this.#knownOwner();
      if (route === undefined) return this.#place();
      if (route.session === leases.session.id) {
        const mine = await this.#takeHere("mine");
        if (mine) return mine;
        continue;
      }
      const host = leases.host(route.session) ?? (await this.#newlyKnown(route));
      if (host) return { kind: "there", host, intent: "own", route };
      if (route.certain)
        throw unreachable(
          this.#ref,
          "Its host is not among those alive; once its lease has run out another takes over.",
        );
      this.#forget(route);
    }
  }

  /** The host that was asked does not have the object, or does not take it. */
  refused(location: Location<Here>, error: StatefulError, owner: LeaseHint | undefined): void {
    if (location.kind === "here") return;
    const isAnswer = error.code === "not_owner" || askAnother.has(error.code);
    if (location.route && isAnswer) this.#forget(location.route);
    if (location.route && !isAnswer) this.#setup.routes.doubt(this.#ref.key, location.route);
    if (!isAnswer) throw error;
    if (error.code !== "not_owner") this.#excluded.set(location.host.session, reasonOf(error));
    if (owner && !this.#isKnownNot(owner)) this.#learned = { ...owner, certain: true };
  }

  /** The host that was asked cannot be reached from here. */
  unreachable(location: Location<Here>, error: StatefulError): void {
    if (location.kind === "here") return;
    const { session, hostId, region } = location.host;
    const isOtherVersion = error.code === "version_mismatch";
    const seen = isOtherVersion
      ? otherVersion(this.#ref, `${hostId} (${region})`, error)
      : unreachable(this.#ref, `No link to ${hostId} (${region}) can be had.`, error);
    if (location.route?.certain) throw seen;
    if (location.route) {
      // It may be the owner all the same: the next who names it is believed.
      this.#setup.routes.doubt(this.#ref.key, location.route);
      this.#unreachable = { session, error: seen };
    }
    if (location.intent === "place")
      this.#excluded.set(session, isOtherVersion ? "other_protocol" : "unreachable");
  }

  /** Why nothing came of it, where the time for finding a host is over while `next` waits. */
  late(budgetMs: number): StatefulError {
    const message = `No host for ${this.#ref.key} was found within ${budgetMs} ms: ${this.#waitsFor} has not answered.`;
    return new StatefulError("directory_unavailable", message, { retryAfterMs: 1000 });
  }

  /** Why no host took the object, where the time or the offers are used up. */
  exhausted(budgetMs: number, offers: number, last: HostRecord | undefined): StatefulError {
    if (this.#unreachable) return this.#unreachable.error;
    const asked = last ? ` The last that was asked is ${last.hostId} (${last.region}).` : "";
    const message = `No host took ${this.#ref.key} within ${budgetMs} ms and ${offers} offers.${asked}`;
    return new StatefulError("no_eligible_host", message, { retryAfterMs: 1000 });
  }

  async #knownOwner(): Promise<KnownOwner | undefined> {
    const { routes, leases } = this.#setup;
    if (this.#learned) {
      const learned = this.#learned;
      this.#learned = undefined;
      return learned;
    }
    if (!this.#hasAskedCache) {
      this.#hasAskedCache = true;
      const cached = routes.get(this.#ref.key);
      // The primary knows better than a doubtful one, where it can be asked.
      if (cached && !(cached.isDoubtful && leases.session.isValid())) return { ...cached, certain: false };
    }
    if (!this.#hasAskedReplica && leases.hasHints) {
      this.#hasAskedReplica = true;
      this.#waitsFor = "the directory, asked for the object's owner,";
      const found = await leases.find(this.#ref);
      if (found && !this.#isKnownNot(found)) return { ...found, certain: false };
    }
    return undefined;
  }

  /**
   * A host that this edge does not know yet, since it started a moment ago; or one that lost its session and opened the next: it
   * may be adopting the object, and nobody should be faster than that.
   */
  async #newlyKnown(route: KnownOwner): Promise<HostRecord | undefined> {
    const { leases, refreshHosts } = this.#setup;
    const { session } = route;
    if (leases.successor(session) === undefined) {
      this.#waitsFor = "the directory, asked which hosts are alive,";
      await refreshHosts();
    }
    const named = leases.host(session);
    if (named) return named;
    if (route.certain && this.#isKnownNot(route)) return undefined;
    const successor = leases.successor(session);
    return successor?.session === leases.session.id ? undefined : successor;
  }

  #isKnownNot({ session, epoch }: LeaseHint): boolean {
    return (this.#notOwners.get(session) ?? -1) >= epoch;
  }

  #forget(route: KnownOwner): void {
    this.#notOwners.set(route.session, Math.max(route.epoch, this.#notOwners.get(route.session) ?? 0));
    this.#setup.routes.drop(this.#ref.key, route);
  }

  async #place(): Promise<Location<Here>> {
    const { leases } = this.#setup;
    for (;;) {
      const answer = this.placement();
      const [best] = answer.ranked;
      if (best === undefined) throw (await this.#aliveButUnreachable()) ?? noEligibleHost(this.#ref, answer);
      if (best.host.session !== leases.session.id) {
        return { kind: "there", host: best.host, intent: "place", route: undefined };
      }
      const here = await this.#takeHere("free");
      if (here) return here;
      if (this.#learned) return this.next();
    }
  }

  /** The owner that could not be reached, unless the directory says that it is gone. */
  async #aliveButUnreachable(): Promise<StatefulError | undefined> {
    if (this.#unreachable === undefined) return undefined;
    const { leases, refreshHosts } = this.#setup;
    this.#waitsFor = "the directory, asked which hosts are alive,";
    await refreshHosts();
    return leases.host(this.#unreachable.session) && this.#unreachable.error;
  }

  /** What placement says now, with the refusals of this search. */
  placement(): PlacementAnswer {
    return place(this.question());
  }

  question(): PlacementQuestion {
    const { region, leases, policyOf, roundTripMs, linkVersions } = this.#setup;
    const policy = policyOf(this.#ref.className);
    const { hosts } = leases;
    const asking = { callerRegion: region, linkVersions, roundTripMs };
    return { object: this.#ref, policy, hosts, excluded: this.#excluded, ...asking };
  }

  async #takeHere(when: "free" | "mine"): Promise<Location<Here> | undefined> {
    const { leases } = this.#setup;
    this.#waitsFor = "the directory's primary, asked for the object's lease,";
    try {
      const taken = await this.#taking.take(when);
      if (!("owned" in taken)) return { kind: "here", here: taken };
      this.#learnFrom(taken);
    } catch (thrown) {
      const error = asStatefulError(thrown);
      if (!askAnother.has(error.code)) throw error;
      this.#excluded.set(leases.session.id, reasonOf(error));
    }
    return undefined;
  }

  #learnFrom(elsewhere: Elsewhere): void {
    if (elsewhere.session === "" || elsewhere.session === this.#setup.leases.session.id) return;
    this.#learned = { session: elsewhere.session, epoch: elsewhere.epoch, certain: true };
  }
}

function reasonOf(error: StatefulError): RefusalReason {
  const reason = error.details?.reason;
  if (error.code === "host_draining") return "draining";
  if (error.code === "unknown_class") return "class_missing";
  const isKnown = reason === "memory_limit" || reason === "overloaded" || reason === "outside_pinned_regions";
  return isKnown ? reason : "object_limit";
}

function unknownClass(ref: ObjectRef): StatefulError {
  const message = `No host runs a class "${ref.className}". Classes are the files in objects/.`;
  return new StatefulError("unknown_class", message);
}

function noEligibleHost(ref: ObjectRef, answer: PlacementAnswer): StatefulError {
  const refused = answer.refused.map(({ hostId, region, reason }) => ({ hostId, region, reason }));
  const reasons = refused.map(({ hostId, region, reason }) => `${hostId} (${region}): ${reason}`).join("; ");
  const message = `No host can take ${ref.key}. ${reasons || "No host is alive."}`;
  return new StatefulError("no_eligible_host", message, { retryAfterMs: 1000, details: { refused } });
}

/** A client reads `why`: it names hosts and regions, never addresses or sessions. Those are in the cause, for the log. */
function unreachable(ref: ObjectRef, why: string, cause?: StatefulError): StatefulError {
  const message = `The host that owns ${ref.key} cannot be reached from here. ${why}`;
  return new StatefulError("owner_unreachable", message, { cause, retryAfterMs: 1000 });
}

/** The cause says which versions, and is fit for a client as it is. */
function otherVersion(ref: ObjectRef, host: string, cause: StatefulError): StatefulError {
  const message = `${ref.key} is at ${host}, which this host cannot ask. ${cause.message}`;
  return new StatefulError("version_mismatch", message, { cause, retryAfterMs: 1000 });
}
