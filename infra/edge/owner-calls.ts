import type { Activation } from "../host/activation.ts";
import type { HostRecord } from "../lease/directory.ts";
import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Link } from "../link/link.ts";
import type { MoveWish } from "../placement/move-targets.ts";
import { acceptTimeoutMs } from "./forward-client.ts";
import { askOwner } from "./owner-channel.ts";
import { decodeAccount, decodeMoved, type MovedObject, type OwnerAccount } from "./owner-protocol.ts";
import { activating, OwnerSearch, type SearchSetup } from "./owner-search.ts";

/** What this host does, as an owner, for whoever asks. */
export interface OwnedObjects {
  /** Moves a live object of this host. Rejects with `move_failed` or `no_eligible_host` where it stays. */
  move(activation: Activation, wish: MoveWish): Promise<MovedObject>;
  /** How an object is that lives or sleeps here; undefined for any other. Wakes nothing. */
  account(ref: ObjectRef): OwnerAccount | undefined;
}

export interface OwnerCallsSetup extends SearchSetup {
  readonly links: { to(host: HostRecord): Promise<Link> };
  readonly objects: OwnedObjects;
  readonly clock: Clock;
  /** See `DispatcherSetup`. */
  readonly placementBudgetMs: number;
}

/** Hosts that are asked about one object. */
const offersMax = 8;
/**
 * From asking to the end of a move: the target's preparing, `moveQuiesceMs`, the hooks of both sides and the bytes, each of
 * which has a limit of its own.
 */
export const moveCallLimitMs = 120_000;
/** How long an explanation waits for the owner; without its word it says the rest. */
export const accountLimitMs = 1500;

/** Asks the owners of objects what is no event of theirs, wherever they are. */
export class OwnerCalls {
  readonly #setup: OwnerCallsSetup;

  constructor(setup: OwnerCallsSetup) {
    this.#setup = setup;
  }

  /** Resolves after the move. An object that lives nowhere is started first, like by any other call, and then moved. */
  async move(ref: ObjectRef, wish: MoveWish): Promise<MovedObject> {
    const { clock, placementBudgetMs, routes, objects, table } = this.#setup;
    const search = new OwnerSearch(this.#setup, ref, activating(table, ref));
    const deadlineMs = clock.monotonicMs() + placementBudgetMs;
    const late = () => search.late(acceptTimeoutMs);
    let last: HostRecord | undefined;
    for (let offers = 0; offers < offersMax && clock.monotonicMs() < deadlineMs; offers++) {
      const location = await withTimeLimit(clock, acceptTimeoutMs, search.next(), late);
      if (location.kind === "here") return objects.move(location.here, wish);
      last = location.host;
      const link = await this.#setup.links.to(location.host).catch(unreachableAs);
      if (link instanceof StatefulError) {
        search.unreachable(location, link);
        continue;
      }
      const { intent } = location;
      const asked = { question: "move", ref, intent, wish } as const;
      const answer = await askOwner(link, asked, clock, moveCallLimitMs);
      if (answer instanceof Uint8Array) {
        const moved = decodeMoved(answer);
        routes.put(ref.key, moved);
        return moved;
      }
      search.refused(location, answer.error, answer.owner);
    }
    throw search.exhausted(placementBudgetMs, offersMax, last);
  }

  /** What its owner says of it, if that is here or answers soon. Starts and wakes nothing. */
  async account(ref: ObjectRef, owner: HostRecord | undefined): Promise<OwnerAccount | undefined> {
    const { clock, leases, objects, links } = this.#setup;
    const here = objects.account(ref);
    if (here || owner === undefined || owner.session === leases.session.id) return here;
    const late = () => new StatefulError("owner_unreachable", "The owner did not answer in time.");
    const asked = async () => {
      const link = await links.to(owner);
      const answer = await askOwner(link, { question: "explain", ref }, clock, accountLimitMs);
      return answer instanceof Uint8Array ? decodeAccount(answer) : undefined;
    };
    return withTimeLimit(clock, accountLimitMs, asked(), late).catch(() => undefined);
  }
}

function unreachableAs(thrown: unknown): StatefulError {
  return asStatefulError(thrown, "owner_unreachable");
}
